"""The page's template, in Jinja with everything escaped; a module, so that it goes where the package goes."""

STYLE = """
:root { --ink: #22272e; --soft: #5b636e; --line: #dfe2e6; --panel: #f6f7f8; --real: #2b6ca3; --synthetic:
#b85f0e; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; font: 16px/1.55 system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", "DejaVu Sans", sans-serif; }
main, header, footer { max-width: 1080px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 36px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 21px; margin: 44px 0 10px; padding-top: 18px; border-top: 1px solid var(--line); }
h3 { font-size: 16px; margin: 22px 0 8px; }
p, ul { max-width: 76ch; margin: 8px 0; }
ul { padding-left: 20px; } li { margin: 4px 0; }
.meta, figcaption, .soft { color: var(--soft); font-size: 14px; }
nav { margin: 14px 0 0; font-size: 14px; } nav a { margin-right: 14px; white-space: nowrap; }
a { color: var(--real); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 12px; margin: 20px
0; }
.tile { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.tile .label { font-size: 13px; color: var(--soft); } .tile .value { font-size: 28px; line-height: 1.25;
  font-weight: 600; font-variant-numeric: tabular-nums; } .tile .detail { font-size: 13px; color: var(--soft);
}
.caution { background: #fff8ec; border: 1px solid #f0dcb8; border-radius: 8px; padding: 12px 18px; margin:
18px 0; }
.caution h3 { margin: 2px 0 4px; }
figure { margin: 14px 0; } figure img { display: block; max-width: 100%; height: auto; }
figcaption { margin-top: 6px; max-width: 76ch; }
.plots, .row { display: flex; flex-wrap: wrap; gap: 8px 28px; align-items: flex-start; }
.plots figure { margin: 10px 0; max-width: 100%; } .row .table { flex: none; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 0 40px; }
.clips { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 16px 12px; }
.clips figure { margin: 0; max-width: 192px; }
.clips img { width: 100%; } .clips figcaption { font-size: 13px; line-height: 1.35; overflow-wrap: anywhere; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; margin: 10px 0; }
th, td { text-align: left; padding: 6px 18px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top;
}
th { font-weight: 600; color: var(--soft); white-space: nowrap; } td.n { white-space: nowrap; }
code { font: 13px ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--real); margin: 10px 0; font-size: 14px; }
footer { padding: 30px 24px 48px; color: var(--soft); font-size: 13px; }
@media print { body { font-size: 11pt; } nav { display: none; } main, header, footer { max-width: none;
padding: 0; }
  figure, .tile, .caution, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .tile, .caution { background: #fff; } .tiles { grid-template-columns: repeat(3, 1fr); } }
"""

MACROS = """
{% macro figures(pictures, kind) %}
<div class="{{ kind }}">
{% for picture in pictures %}
<figure{% if picture.width %} style="width: {{ picture.width }}px"{% endif %}><img src="{{ picture.uri }}"
alt="{{ picture.alt }}"><figcaption>{{ picture.caption }}</figcaption></figure>
{% endfor %}
</div>
{% endmacro %}
{% macro absent(what) %}<p class="soft">{{ what }} in this run.</p>{% endmacro %}
"""

_HEAD = (
    """<!DOCTYPE html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{{ metrics.run }} – SF-VD reconstruction</title>
<style>"""
    + STYLE
    + """</style>
</head>
<body>
<header>
<h1>Synthetic guidewire clips: {{ metrics.run }}</h1>
<p class="meta">A reconstruction, chosen by this project, of SF-VD (label-efficient augmentation with video
diffusion
for guidewire segmentation). Preset {{ metrics.preset }}, seed {{ metrics.seed }}.</p>
<nav><a href="#pictures">Pictures</a><a href="#clips">Clips</a><a href="#labels">Labels</a><a
href="#noise">Noise</a><a href="#visibility">Visibility</a><a href="#gate">Gate</a><a
href="#segmentation">Segmentation</a><a href="#worst">Worst clips</a><a href="#ran">What ran</a></nav>
</header>
<main>
"""
)

_SUMMARY = """
<div class="tiles">
{% for tile in tiles %}
<div class="tile"><div class="label">{{ tile.label }}</div><div class="value">{{ tile.value }}</div>
<div class="detail">{{ tile.detail }}</div></div>
{% endfor %}
</div>
<ul>
{% for finding in findings %}
<li><b>{{ finding.topic }}:</b> {{ finding.text }}</li>
{% endfor %}
</ul>
<div class="caution">
<h3>What must not be concluded</h3>
<ul>
{% for sentence in cautions %}
<li>{{ sentence }}</li>
{% endfor %}
</ul>
</div>
"""

_PICTURES = """
<h2 id="pictures">Real beside synthetic</h2>
{% if stills %}{{ figures(stills, "stills") }}{% else %}{{ absent("No frames were kept") }}{% endif %}

<h2 id="clips">Playing clips</h2>
{% for title, pictures in playing %}
<h3>{{ title }}</h3>
{{ figures(pictures, "clips") }}
{% else %}
{{ absent("No clips were kept") }}
{% endfor %}
{% if rejected %}
<h3>Rejected by the gate</h3>
{{ figures(rejected, "clips") }}
{% endif %}
"""

_LABELS = """
<h2 id="labels">Are the labels true?</h2>
{% if metrics.label_fidelity is defined %}
{% set f = metrics.label_fidelity %}
<p>A segmenter that played no part in generation looks for the wire. On a synthetic clip it is scored against
the mask
that drove the clip; on held-out real clips against their labels. Shuffled: against the mask of another
clip.</p>
<div class="row">
<div class="table"><table>
<tr><th></th><th>Dice</th><th>clDice</th><th>tip error (px)</th><th>clips</th></tr>
{% for row in f.rows %}
<tr><td>{{ fidelity_titles.get(row.name, "real, " ~ row.name) }}</td><td class="n">{{ row.dice | interval }}</td>
<td class="n">{{ row.cldice | interval }}</td><td class="n">{{ row.tip_error_px | interval }}</td>
<td>{{ row.n }}</td></tr>
{% endfor %}
<tr><td>synthetic / real</td><td class="n">{{ f.ratio.dice | number }}</td><td
class="n">{{ f.ratio.cldice | number }}</td><td></td><td></td></tr>
<tr><td>last frame / first, synthetic</td><td class="n">{{ made_row.drift | number }}</td>
<td></td><td></td><td></td></tr>
</table></div>
{{ figures(fidelity_plots[:1], "plots") }}
</div>
{{ figures(fidelity_plots[1:], "plots") }}
{% else %}{{ absent("Label fidelity was not measured") }}{% endif %}
"""

_NOISE = """
<h2 id="noise">Is the noise real?</h2>
{% if metrics.noise is defined %}
{% set n = metrics.noise %}
<p>Intensities as a share of full scale. The residual is a frame minus its own blur, away from the wire: its
grain.</p>
<div class="row">
<div class="table"><table>
<tr><th></th><th>real</th><th>synthetic</th><th>synthetic / real</th></tr>
{% for label, row in [("all pixels, standard deviation", n.pixel_std), ("residual, standard deviation",
n.residual_std)] %}
<tr><td>{{ label }}</td><td>{{ row.real | number(4) }}</td><td>{{ row.synthetic | number(4) }}</td>
<td>{{ row.ratio | number }}</td></tr>
{% endfor %}
</table></div>
{{ figures(noise_plots, "plots") }}
</div>
{% else %}{{ absent("Noise was not measured") }}{% endif %}
"""

_VISIBILITY = """
<div class="pair">
<section>
<h2 id="visibility">Does visibility obey?</h2>
{% if metrics.visibility is defined %}
<p>Visibility is the wire's contrast-to-noise ratio (CNR) against the ring around it. Spearman's rank
correlation
between request and measurement is {{ metrics.visibility.spearman | number }}
({{ metrics.visibility.n }} clips).</p>
{{ figures(visibility_plots, "plots") }}
{% else %}{{ absent("Visibility was not measured") }}{% endif %}
</section>
<section>
<h2 id="gate">What did the gate reject?</h2>
{% if metrics.gate is defined %}
{% set g = metrics.gate %}
<p>A clip is rejected if an independent segmenter finds its wire with Dice below
{{ g.dice_threshold | number }}, or its
visibility is below {{ g.visibility_threshold | number }}.</p>
{{ figures(gate_plots, "plots") }}
{% else %}{{ absent("There was no gate") }}{% endif %}
</section>
</div>
"""

_SEGMENTATION = """
<h2 id="segmentation">Does it help segmentation?</h2>
{% if metrics.segmentation is defined and metrics.segmentation.arms %}
{% set s = metrics.segmentation %}
<p>Held-out test patients: {{ s.n_patients }}. Frames are averaged within clips, clips within patients, then
training
seeds ({{ s.seeds | join(", ") }}). Intervals resample patients.</p>
<div class="table"><table>
<tr><th>arm</th>{% for name in measures.values() %}<th>{{ name }}</th>{% endfor %}<th>Dice against
reference</th></tr>
{% for arm in s.arms %}
<tr><td>{{ arm.name }}</td>
{% for key in measures %}<td class="n">{{ arm[key] | interval }}</td>{% endfor %}
<td>{% if arm.difference is defined %}{{ verdict(arm.difference.dice) }}
{{ arm.difference.reference }}{% else %}–{%
endif %}</td></tr>
{% endfor %}
</table></div>
{{ figures(arms_plots, "plots") }}
<details><summary>By visibility of the wire</summary>
<div class="table"><table>
<tr><th>arm</th><th>CNR</th><th>frames</th><th>patients</th>{% for name in measures.values() %}<th>{{ name }}</th>{%
endfor %}</tr>
{% for arm in s.arms %}{% for row in arm.by_visibility if row.n_frames %}
<tr><td>{{ arm.name }}</td><td>{{ row.low | number(1) }} to {{ row.high | number(1) }}</td><td>{{ row.n_frames }}</td>
<td>{{ row.n_patients }}</td>{% for key in measures %}<td class="n">{{ row[key] | interval }}</td>{% endfor %}</tr>
{% endfor %}{% endfor %}
</table></div></details>
{% if s.tests.rows %}
<details><summary>Tests</summary>
<p>{{ s.tests.method }}, {{ s.tests.family }} tests. The smallest p that so few patients can give is
{{ s.tests.smallest_p | number(3) }}, corrected {{ s.tests.smallest_p_holm | number(3) }}.</p>
<div class="table"><table>
<tr><th>arm</th><th>measure</th><th>patients</th><th>p</th><th>p, corrected</th></tr>
{% for row in s.tests.rows %}
<tr><td>{{ row.arm }}</td><td>{{ measures[row.measure] }}</td><td>{{ row.n_patients }}</td>
<td>{{ row.p | number(3) }}</td><td>{{ row.p_holm | number(3) }}</td></tr>
{% endfor %}
</table></div></details>
{% endif %}
{% if other_measures %}
<details><summary>Other measures</summary>
<div class="table"><table>
<tr><th>arm</th>{% for name in other_measures.values() %}<th>{{ name }}</th>{% endfor %}</tr>
{% for arm in s.arms %}
<tr><td>{{ arm.name }}</td>
{% for key in other_measures %}<td class="n">{{ arm[key] | interval }}</td>{% endfor %}</tr>
{% endfor %}
</table></div></details>
{% endif %}
<details><summary>Each patient</summary>
<div class="table"><table>
<tr><th>arm</th><th>patient</th><th>Dice</th><th>clDice</th><th>tip error (px)</th></tr>
{% for arm in s.arms %}{% for patient, row in arm.patients | dictsort %}
<tr><td>{{ arm.name }}</td><td>{{ patient }}</td>
<td>{{ row.dice | number }}</td><td>{{ row.cldice | number }}</td>
<td>{{ row.tip_error_px | number(1) }}</td></tr>
{% endfor %}{% endfor %}
</table></div></details>
{% else %}{{ absent("No segmenters were compared") }}{% endif %}

<h2 id="worst">The worst clips</h2>
{% if worst %}
<p>Test clips segmented worst. Above plain; below with the label in yellow and the prediction in magenta.</p>
{{ figures(worst, "clips") }}
{% else %}{{ absent("No test clips were kept") }}{% endif %}
"""

_RAN = """
<h2 id="ran">What ran</h2>
<div class="table"><table>
<tr><th>stage</th><th>time</th><th>made</th><th>content hash</th><th>learned from</th></tr>
{% for stage in metrics.stages %}
{% for made in stage.made %}
<tr><td>{{ stage.name if loop.first }}</td><td class="n">{{ stage.seconds | duration if loop.first }}</td>
<td><code>{{ made.name }}</code></td><td><code
title="{{ made.content_hash }}">{{ made.content_hash[:12] }}</code></td>
<td>{{ made.patients | length }} patient{{ "" if made.patients | length == 1 else "s" }}</td></tr>
{% else %}
<tr><td>{{ stage.name }}</td><td
class="n">{{ stage.seconds | duration }}</td><td>–</td><td></td><td></td></tr>
{% endfor %}
{% endfor %}
</table></div>
<p>Patients that anything was learned from ({{ patients | length }}):
{{ patients | join(", ") if patients else "none" }}.</p>
<div class="table"><table>
{% for key, value in metrics.machine | dictsort %}
<tr><th>{{ key }}</th><td>{{ value }}</td></tr>
{% endfor %}
</table></div>
</main>
<footer>A reconstruction, chosen by this project. What each number means: docs/metrics.md.</footer>
</body>
</html>
"""

PAGE = "".join(
    [MACROS.lstrip(), _HEAD, _SUMMARY, _PICTURES, _LABELS, _NOISE, _VISIBILITY, _SEGMENTATION, _RAN]
)
"""The whole page; what it needs is passed by :func:`sfvd_pl.report.html.render`."""
