/** Files of the host that may not be there, or that this process may not read: then there is nothing in them. */
import { readdirSync, readFileSync } from 'node:fs';

export function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
