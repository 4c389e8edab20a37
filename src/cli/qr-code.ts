/** Text as a QR code in a terminal, for the camera of a phone. What makes it is loaded when it is asked for. */
import type { CliIo } from '../terminal/io.ts';

/** Modules of light around it: the standard has four, and readers do with two. */
const BORDER = 2;

/**
 * Two modules in each character, light ones drawn. On a terminal with colours it says which, for an inverted code is one
 * that some cameras do not read.
 */
export async function qrCode(text: string, env: CliIo['env']): Promise<string> {
  const { renderUnicodeCompact } = await import('uqr');
  // The lowest correction makes the smallest code, and nothing smears a screen.
  const code = renderUnicodeCompact(text, { ecc: 'L', border: BORDER });
  if (env.NO_COLOR || env.TERM === 'dumb') return `${code}\n`;
  return code
    .split('\n')
    .map((line) => `\x1b[97;40m${line}\x1b[0m\n`)
    .join('');
}
