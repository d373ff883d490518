"""The template of the page on a run."""

from sfvd_pl.report.template.parts import BAR, MACROS, head

_TOP = (
    head("{{ metrics.run }} – SF-VD reconstruction")
    + """<a class="skip" href="#summary">To the summary</a>
<header>
<h1>Synthetic guidewire clips: {{ metrics.run }}</h1>
<p class="meta">A reconstruction, chosen by this project, of SF-VD (label-efficient augmentation with video diffusion
for guidewire segmentation). Preset {{ metrics.preset }}, seed {{ metrics.seed }}{% if made %}; {{ made }}{% endif
%}.</p>
{% for study in studies %}
<p class="meta">How many labels it takes: the study <a href="../../{{ study }}/report/index.html">{{ study }}</a>.</p>
{% endfor %}
</header>
"""
    + BAR
    + """
<main>
"""
)

SUMMARY = """
<section aria-labelledby="summary">
<h2 id="summary">In a minute</h2>
{% if notes %}
<div class="caution">
{% for note in notes %}
<p>{{ note }}</p>
{% endfor %}
</div>
{% endif %}
<div class="verdicts">
{% for verdict in verdicts %}
<div class="verdict-card {{ verdict.answer }}">
<h3>{{ verdict.question }}</h3>
<p class="words">{{ verdict.words }}</p>
<ul>
{% for reason in verdict.reasons %}
<li>{% if reason.holds is none %}<span class="mark" role="img" aria-label="not judged">·</span>{% elif reason.holds
%}<span class="mark holds" role="img" aria-label="holds">✓</span>{% else %}<span class="mark fails" role="img"
aria-label="does not hold">✗</span>{% endif %}{{ reason.text }}</li>
{% endfor %}
</ul>
<p class="rule">{{ verdict.rule }}</p>
</div>
{% endfor %}
</div>
{{ not_concluded(cautions) }}
{% if left_out %}
<h3>Not measured</h3>
<ul>
{% for name, why in left_out %}
<li>{{ name }}: {{ why }}</li>
{% endfor %}
</ul>
{% endif %}
</section>
"""

_SECTIONS = """
{% for view in views if view.blocks %}
{{ section(view) }}
{% endfor %}
</main>
<footer>A reconstruction, chosen by this project. What each number means: docs/metrics.md.</footer>
</body>
</html>
"""

PAGE = MACROS.lstrip() + _TOP + SUMMARY + _SECTIONS
"""The whole page; what it needs is passed by :func:`sfvd_pl.report.html.render`."""
