/** The page's style sheet, in light and dark. */
export const PAGE_STYLE = `
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2430; --faint: #5c6675; --line: #d8dee6; --warren: #0b6bcb; --kernel: #7a8699;
  --roofline: #c77700; --userspace: #6b4fa0; --bare: #b9c2ce; --met: #14733a; --missed: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #12161c; --ink: #e4e8ee; --faint: #9aa5b4; --line: #303945;
  --warren: #4aa3ff; --kernel: #8b97a8; --roofline: #f0a63c; --userspace: #a98de0; --bare: #56616f; --met: #5fd38d;
  --missed: #ff8a80; } }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
.machine { color: var(--faint); }
figure { margin: 1.2rem 0; } figcaption { margin-bottom: .3rem; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); } .label { text-anchor: end; } .tick { text-anchor: middle; fill: var(--faint); }
.grid { stroke: var(--line); } .whisker { stroke: var(--ink); stroke-width: 1.5; }
.halo { stroke: var(--paper); stroke-width: 4; opacity: .75; }
.pale { opacity: .55; }
polyline { fill: none; stroke: currentColor; stroke-width: 1.5; } .line-sender { color: var(--warren); }
.line-receiver { color: var(--roofline); } svg .faint polyline { stroke-width: 1; opacity: .7; } svg g[class^=line] text { fill: currentColor; }
.limit { stroke: var(--missed); stroke-dasharray: 5 4; }
.bar-warren { fill: var(--warren); background: var(--warren); }
.bar-kernel { fill: var(--kernel); background: var(--kernel); }
.bar-roofline { fill: var(--roofline); background: var(--roofline); }
.bar-userspace { fill: var(--userspace); background: var(--userspace); }
.bar-bare { fill: var(--bare); background: var(--bare); }
.legend span { margin-right: 1.2rem; white-space: nowrap; }
.swatch { display: inline-block; width: .8rem; height: .8rem; margin-right: .35rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--faint); vertical-align: bottom; } td:first-child { white-space: nowrap; }
.number { text-align: right; } td.number { white-space: nowrap; font-variant-numeric: tabular-nums; }
small { color: var(--faint); }
.met { color: var(--met); font-weight: 600; } .missed { color: var(--missed); font-weight: 600; }
.none { color: var(--faint); }
`;
