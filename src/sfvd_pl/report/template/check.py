"""The template of the page on a quality control."""

from sfvd_pl.report.template.parts import MACROS, head

_STYLE = """
.finding { border: 1px solid var(--line); border-left: 5px solid var(--line); border-radius: 8px; padding: 12px 18px;
  margin: 14px 0; }
.finding.error { border-left-color: #b3261e; } .finding.warning { border-left-color: #d2951b; }
.finding.accepted { border-left-color: #8a8f98; }
.finding h3 { margin: 0 0 2px; } .finding p { margin: 4px 0; } .finding figure { margin: 10px 0 4px; }
.badge { display: inline-block; font-size: 12px; font-weight: 600; padding: 1px 8px; border-radius: 10px; color: #fff;
  background: #8a8f98; vertical-align: 2px; margin-right: 6px; }
.badge.error { background: #b3261e; } .badge.warning { background: #9a6a08; }
.finding .clips { grid-template-columns: none; display: flex; flex-wrap: wrap; gap: 14px; }
.finding .clips figure { max-width: 100%; } .finding .clips img { width: auto; max-width: 100%; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 16px 12px; }
.sheet figure { margin: 0; max-width: 230px; } .sheet img { width: 100%; }
.sheet figcaption { font-size: 13px; overflow-wrap: anywhere; }
.none { color: var(--soft); } td.found { font-weight: 600; } .verdict { font-size: 18px; margin: 14px 0; }
@media print { .finding { break-inside: avoid; } }
"""

_HEAD = (
    head("Quality control – {{ check.path.name }}", _STYLE)
    + """<header>
<h1>Quality control: {{ check.path.name }}</h1>
<p class="meta">Content hash <code title="{{ check.content_hash }}">{{ check.content_hash[:12] }}</code>. What each
finding means, how it is measured and how to accept it: docs/check.md.</p>
<nav class="list" aria-label="Contents"><a href="#findings">Findings</a><a href="#coverage">Coverage</a><a
href="#exposure">Exposure and visibility</a><a href="#sheet">Pictures</a><a href="#looked">What was looked for</a></nav>
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
{% if check.of("error") %}
<p class="verdict"><b>These data would make results false.</b> Mend what is marked as an error, or accept
it knowingly.</p>
{% elif check.findings %}
<p class="verdict">Nothing stops these data from being used. Look at the findings below first.</p>
{% else %}
<p class="verdict">Nothing was found.</p>
{% endif %}
{% if check.notes %}
<ul>
{% for note in check.notes %}
<li>{{ note }}</li>
{% endfor %}
</ul>
{% endif %}
"""

_FINDINGS = """
<h2 id="findings">Findings</h2>
{% for row in rows %}
{% set f = row.finding %}
<div class="finding {{ f.severity }}">
<h3><span class="badge {{ f.severity }}">{{ f.severity }}</span>{{ f.title }}</h3>
<p>{% if f.clip %}<b>{{ f.clip }}</b>{% if row.where %}, {{ row.where }}{% endif %}{% if f.other %} and
<b>{{ f.other }}</b>{% if row.other %}, {{ row.other }}{% endif %}{% endif %}. {% endif %}<code>{{ f.code }}</code></p>
<p>Measured: {{ f.measured }}. Limit: {{ f.limit }}.</p>
<p class="soft">{{ f.remedy[0] | upper }}{{ f.remedy[1:] }}.</p>
{% if row.pictures %}{{ figures(row.pictures, "clips") }}{% endif %}
</div>
{% else %}
<p class="soft">None.</p>
{% endfor %}
"""

_COVERAGE = """
{% macro coverage(rows, first, second) %}
<div class="table"><table>
<tr><th>{{ first }}</th><th>{{ second }}</th><th>clips</th><th>frames</th><th>annotated frames</th>
<th>labelled clips</th><th>visibility (CNR)</th></tr>
{% for row in rows %}
<tr><td>{{ row.name }}</td><td>{{ row.patients if second == "patients" else row.split }}</td><td>{{ row.clips }}</td>
<td>{{ row.frames }}</td><td>{{ row.annotated }}</td><td>{{ row.labelled }}</td>
<td>{% if row.visibility == row.visibility %}{{ row.visibility | number }}{% else %}–{% endif %}</td></tr>
{% endfor %}
</table></div>
{% endmacro %}
<h2 id="coverage">Coverage</h2>
<p>Labelled: training may use the clip's masks, and they hold a wire. Visibility: median over clips.</p>
{{ coverage(check.splits(), "split", "patients") }}
<details{% if check.patients() | length <= 30 %} open{% endif %}><summary>Each patient</summary>
{{ coverage(check.patients(), "patient", "split") }}
</details>

<h2 id="exposure">Exposure and visibility</h2>
{{ figures(plots, "plots") }}

<h2 id="sheet">One clip of each patient</h2>
{{ figures(sheet, "sheet") }}
"""

_LOOKED = """
<h2 id="looked">What was looked for</h2>
<p>Every kind of finding, and how many there were. Pictures are shown for the first {{ pictured }} of a kind.</p>
<div class="table"><table>
<tr><th>topic</th><th>code</th><th>what</th><th>found</th></tr>
{% for topic, codes in topics.items() %}
{% for code, title, count in codes %}
<tr><td>{{ topic if loop.first }}</td><td><code>{{ code }}</code></td><td>{{ title }}</td>
<td class="{{ "found" if count else "none" }}">{{ count or "none" }}</td></tr>
{% endfor %}
{% endfor %}
</table></div>
</main>
<footer>A clean page means that these faults were not found, not that there are none.</footer>
</body>
</html>
"""

PAGE = "".join([MACROS.lstrip(), _HEAD, _SUMMARY, _FINDINGS, _COVERAGE, _LOOKED])
"""The whole page; what it needs is passed by :func:`sfvd_pl.report.check.render`."""
