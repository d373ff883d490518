"""The style sheet of every page: for a laptop's screen, a phone's, and paper."""

STYLE = """
:root { --ink: #1f252c; --soft: #535b66; --line: #dce0e5; --panel: #f5f6f8; --real: #235d90; --synthetic: #a8530a;
  --yes: #1d6b3a; --partly: #8a5a00; --no: #a4231b; --unknown: #535b66; }
* { box-sizing: border-box; }
html { scroll-padding-top: 64px; }
body { margin: 0; color: var(--ink); background: #fff; font: 16px/1.55 system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", "DejaVu Sans", sans-serif; }
main, header, footer, .bar > div { max-width: 1120px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 32px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 22px; line-height: 1.3; margin: 48px 0 10px; padding-top: 20px; border-top: 1px solid var(--line); }
main > section:first-child h2 { border-top: 0; margin-top: 14px; }
h3 { font-size: 16px; margin: 26px 0 8px; }
p, ul { max-width: 78ch; margin: 8px 0; }
ul { padding-left: 20px; } li { margin: 4px 0; }
.meta, figcaption, .soft { color: var(--soft); font-size: 14px; }
a { color: var(--real); } a:focus-visible, summary:focus-visible, input:focus-visible { outline: 3px solid #1a73e8;
  outline-offset: 2px; border-radius: 2px; }
.skip { position: absolute; left: -9999px; } .skip:focus { left: 12px; top: 12px; background: #fff; padding: 8px;
  z-index: 9; }
.bar { position: sticky; top: 0; z-index: 2; background: #fffffff2; border-bottom: 1px solid var(--line);
  margin-top: 18px; }
.bar > div { display: flex; flex-wrap: wrap; gap: 4px 18px; align-items: center; padding-top: 8px; padding-bottom: 8px;
  font-size: 14px; }
.bar nav { display: flex; flex-wrap: wrap; gap: 2px 14px; flex: 1; } nav a { white-space: nowrap; }
nav.list a { margin-right: 14px; font-size: 14px; }
.switches { display: flex; gap: 16px; border: 0; margin: 0; padding: 0; }
.switches label { cursor: pointer; white-space: nowrap; } .switches input { accent-color: var(--real); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 12px; margin: 20px 0; }
.tile { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.tile .label { font-size: 13px; color: var(--soft); } .tile .value { font-size: 28px; line-height: 1.25;
  font-weight: 600; font-variant-numeric: tabular-nums; } .tile .detail { font-size: 13px; color: var(--soft); }
.verdicts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 14px;
  margin: 20px 0; }
.verdict-card { border: 1px solid var(--line); border-left: 6px solid var(--unknown); border-radius: 8px;
  padding: 12px 18px; }
.verdict-card h3 { margin: 0; font-size: 15px; font-weight: 500; color: var(--soft); }
.verdict-card .words { font-size: 20px; line-height: 1.3; font-weight: 650; margin: 2px 0 8px; color: var(--unknown); }
.verdict-card ul { list-style: none; padding: 0; margin: 0; font-size: 14px; line-height: 1.45; }
.verdict-card li { padding-left: 22px; position: relative; margin: 5px 0; }
.verdict-card .mark { position: absolute; left: 0; font-weight: 700; }
.verdict-card .rule { font-size: 13px; color: var(--soft); margin: 8px 0 0; }
.yes { border-left-color: var(--yes); } .yes .words, .mark.holds { color: var(--yes); }
.partly { border-left-color: var(--partly); } .partly .words { color: var(--partly); }
.no { border-left-color: var(--no); } .no .words, .mark.fails { color: var(--no); }
.caution { background: #fff8ec; border: 1px solid #ecd5a8; border-radius: 8px; padding: 12px 18px; margin: 18px 0; }
.caution h2, .caution h3 { margin: 2px 0 4px; padding: 0; border: 0; font-size: 17px; }
.caution li { font-size: 15px; }
figure { margin: 14px 0; } figure img { display: block; max-width: 100%; height: auto; }
figcaption { margin-top: 6px; max-width: 78ch; line-height: 1.4; }
.plots, .row { display: flex; flex-wrap: wrap; gap: 8px 28px; align-items: flex-start; }
.plots figure { margin: 10px 0; max-width: 100%; } .row .table { flex: none; }
.stills img { width: 100%; }
.clips { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 16px 12px; }
.clips figure { margin: 0; max-width: 192px; }
.clips img { width: 100%; } .clips figcaption { font-size: 13px; line-height: 1.35; overflow-wrap: anywhere; }
.table { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; margin: 10px 0; }
caption { text-align: left; color: var(--soft); padding-bottom: 4px; max-width: 78ch; }
th, td { text-align: left; padding: 6px 18px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { font-weight: 600; color: var(--soft); white-space: nowrap; }
tbody th { font-weight: 500; } td.n { white-space: nowrap; }
td small { display: block; color: var(--soft); font-size: 12px; white-space: nowrap; }
code { font: 13px ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
pre { font: 12px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; background: var(--panel); padding: 12px;
  border-radius: 6px; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--real); margin: 10px 0; font-size: 14px; }
footer { padding: 30px 24px 48px; color: var(--soft); font-size: 13px; }
"""

FILMS = """
.films { display: grid; grid-template-columns: repeat(auto-fill, minmax(158px, 1fr)); gap: 18px 14px; }
.films figure { margin: 0; } .films figcaption { font-size: 13px; overflow-wrap: anywhere; }
.screen { position: relative; overflow: hidden; width: 100%; background: #000; aspect-ratio: var(--ratio); }
figure .screen img { position: absolute; left: 0; top: 0; width: calc(100% * var(--frames)); height: 100%;
  max-width: none; image-rendering: pixelated; will-change: transform; }
figure .screen .lines { image-rendering: auto; }
.several img { animation: film calc(var(--frames) / 7.5 * 1s) steps(var(--frames), jump-none) infinite; }
@keyframes film { from { transform: none; }
  to { transform: translateX(calc(-100% * (var(--frames) - 1) / var(--frames))); } }
body:has(#outlines:not(:checked)) .lines { visibility: hidden; }
body:has(#playing:not(:checked)) .several img { animation-play-state: paused; }
"""
"""Films play by moving a strip of frames behind a window; two boxes to tick stop them and hide the outlines."""

STILL = """
.films { grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)); }
.screen { aspect-ratio: calc(var(--ratio) * var(--frames)); }
.several img { animation: none; } figure .screen img { width: 100%; }
.switches .motion { display: none; }
"""
"""Where nothing moves, on paper or by the reader's wish, a film shows all of its frames side by side."""

PRINT = """
@page { margin: 14mm; }
body { font-size: 10.5pt; } .bar, .skip, summary { display: none; }
main, header, footer { max-width: none; padding: 0; }
h1 { font-size: 20pt; } h2 { font-size: 15pt; margin-top: 22pt; }
figure, .tile, .caution, .verdict-card, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
thead { display: table-header-group; } table { font-size: 8.5pt; } th, td { padding: 3px 8px 3px 0; }
thead th, td small { white-space: normal; } td small { font-size: 6.5pt; } .table { overflow: visible; }
.verdict-card { padding: 8px 12px; } .verdict-card .words { font-size: 13pt; margin: 0 0 4px; }
.verdict-card ul { font-size: 8.5pt; } .verdict-card .rule { font-size: 7.5pt; } .verdict-card li { margin: 2px 0; }
.tile, .caution { background: #fff; } .tiles { grid-template-columns: repeat(3, 1fr); }
.verdicts, .films { grid-template-columns: 1fr 1fr; } .plots { gap: 4px 14px; } .plots figure { max-width: 48%; }
.stills figure { max-width: 100%; } * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
"""

SHEET = (
    STYLE
    + FILMS
    + "@media (prefers-reduced-motion: reduce) {"
    + STILL
    + "}\n@media print {"
    + STILL
    + PRINT
    + "}\n"
)
"""All of it."""
