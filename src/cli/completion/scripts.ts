/**
 * What a shell reads once so that it completes `warren`. Each script only asks `warren completion SHELL -- WORDS` with
 * the words up to the cursor, and offers files where that knows nothing. It prints no errors into somebody's prompt.
 */

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

// mapfile needs bash 4, and neither splits nor expands what it reads.
const BASH = `# Completion of warren for bash 4 and later: source <(warren completion bash)
_warren() {
  mapfile -t COMPREPLY < <("\${COMP_WORDS[0]}" completion bash -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _warren warren
`;

const ZSH = `#compdef warren
# Completion of warren for zsh: source <(warren completion zsh), after compinit
_warren() {
  local -a found
  found=(\${(f)"$("\${words[1]}" completion zsh -- "\${(@Q)words[2,CURRENT]}" 2>/dev/null)"})
  if (( \${#found} )); then _describe warren found; else _files; fi
}
if [[ \${funcstack[1]} == _warren ]]; then _warren "$@"; else compdef _warren warren; fi
`;

const FISH = `# Completion of warren for fish 3.4 and later: warren completion fish | source
function __warren_complete
    set -l words (commandline -opc) "$(commandline -ct)"
    set -l found ($words[1] completion fish -- $words[2..-1] 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\\n' $found
    else
        __fish_complete_path "$(commandline -ct)"
    end
end
complete -c warren -f -a '(__warren_complete)'
`;

export const COMPLETION_SCRIPTS: Readonly<Record<Shell, string>> = { bash: BASH, zsh: ZSH, fish: FISH };
