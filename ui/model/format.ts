/** Numbers and times as people read them. */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** `1.2 MB`: three figures at most. */
export function bytes(value: number): string {
  let unit = 0;
  let rest = Math.max(0, value);
  while (rest >= 999.5 && unit < UNITS.length - 1) {
    rest /= 1000;
    unit++;
  }
  return `${figures(rest)} ${UNITS[unit]}`;
}

export function byteRate(value: number): string {
  return `${bytes(value)}/s`;
}

export function count(value: number): string {
  return Math.round(value).toLocaleString('en-GB');
}

export function packetRate(value: number): string {
  return `${value >= 1000 ? `${figures(value / 1000)}k` : figures(value)}/s`;
}

function figures(value: number): string {
  if (value === 0) return '0';
  if (value < 10) return String(Math.round(value * 10) / 10);
  return String(Math.round(value));
}

/** `3 d 4 h`, `12 min`, `40 s`. */
export function duration(seconds: number): string {
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [Math.floor(seconds) % 60, 's'],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  if (first < 0) return '0 s';
  return parts
    .slice(first, first + (first < 2 ? 2 : 1))
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(' ');
}

export function clockTime(timeMs: number): string {
  return new Date(timeMs).toLocaleTimeString('en-GB');
}

export function dateTime(timeMs: number): string {
  const date = new Date(timeMs);
  return `${date.toLocaleDateString('en-CA')} ${date.toLocaleTimeString('en-GB')}`;
}

export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}
