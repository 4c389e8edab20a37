/** Dark or light: as the system says, unless somebody chose otherwise here. */

export type Theme = 'auto' | 'light' | 'dark';
const KEY = 'warren-theme';

export function storedTheme(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === 'light' || value === 'dark' ? value : 'auto';
  } catch {
    return 'auto';
  }
}

export function applyTheme(theme: Theme): void {
  const root = document.documentElement;
  if (theme === 'auto') delete root.dataset.theme;
  else root.dataset.theme = theme;
  try {
    if (theme === 'auto') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // It lasts as long as the page does.
  }
  window.dispatchEvent(new Event('warren-theme'));
}

/** Calls back when what is drawn on a canvas has other colours. */
export function onThemeChange(listener: () => void): () => void {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  dark.addEventListener('change', listener);
  window.addEventListener('warren-theme', listener);
  return () => {
    dark.removeEventListener('change', listener);
    window.removeEventListener('warren-theme', listener);
  };
}

/** A custom property of the page's style, such as `--ink`. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
