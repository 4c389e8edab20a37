/** One box that finds nodes, peers and pods; `/` goes there. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { NodeView } from '../model/nodes.ts';
import { search } from '../model/search.ts';

/** Types know a combobox only with a list that the browser shows. */
function combobox(isExpanded: boolean, active: string | undefined): object {
  return {
    role: 'combobox',
    'aria-autocomplete': 'list',
    'aria-controls': 'found',
    'aria-expanded': isExpanded,
    'aria-activedescendant': active,
  };
}

export function SearchBox({ nodes }: { nodes: readonly NodeView[] }) {
  const [text, setText] = useState('');
  const [isOpen, setOpen] = useState(false);
  const [chosen, setChosen] = useState(0);
  const input = useRef<HTMLInputElement>(null);
  const found = useMemo(() => search(nodes, text), [nodes, text]);
  const isShown = isOpen && text.trim() !== '';
  const at = Math.min(chosen, found.length - 1);

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const isTyping = event.target instanceof HTMLInputElement;
      if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      input.current?.focus();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);

  const go = (href: string) => {
    setOpen(false);
    setText('');
    location.hash = href;
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'ArrowDown') setChosen(Math.min(at + 1, found.length - 1));
    else if (event.key === 'ArrowUp') setChosen(Math.max(at - 1, 0));
    else if (event.key === 'Enter' && found[at]) go(found[at].href);
    else if (event.key === 'Escape') setOpen(false);
    else return;
    event.preventDefault();
  };

  return (
    <search class="search">
      <input
        ref={input}
        type="search"
        {...combobox(isShown, isShown && found[at] ? `found-${at}` : undefined)}
        aria-label="Search nodes, pods, addresses"
        placeholder="Search nodes, pods, addresses  ( / )"
        autocomplete="off"
        spellcheck={false}
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setChosen(0);
          setOpen(true);
        }}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={onKeyDown}
      />
      <div id="found" role="listbox" aria-label="Found" class="found" hidden={!isShown || found.length === 0}>
        {found.map((one, i) => (
          <div
            key={one.href}
            id={`found-${i}`}
            role="option"
            tabIndex={-1}
            aria-selected={i === at}
            class="one"
            // Before the box loses the focus, and the list goes.
            onMouseDown={(event) => {
              event.preventDefault();
              go(one.href);
            }}
          >
            <span class={`kind ${one.what}`}>{one.what}</span>
            <span class="title">{one.title}</span>
            <span class="quiet">{one.detail}</span>
          </div>
        ))}
      </div>
      {isShown && found.length === 0 && <output class="found none">nothing is called so</output>}
    </search>
  );
}
