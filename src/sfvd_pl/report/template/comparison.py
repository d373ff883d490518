"""The template of the page on several runs."""

from sfvd_pl.report.template.parts import BAR, MACROS, head

_TOP = (
    head("{{ names | join(', ') }} – SF-VD reconstruction")
    + """<a class="skip" href="#{{ views[0].anchor }}">To the summary</a>
<header>
<h1>Runs side by side</h1>
<p class="meta">A reconstruction, chosen by this project, of SF-VD. {% for run in runs %}{% if run.link %}<a
href="{{ run.link }}">{{ run.name }}</a>{% else %}{{ run.name }}{% endif %}{{ ", " if not loop.last }}{% endfor %}.</p>
{% if not one_source %}
<p class="meta"><b>These runs have different data sets.</b> A difference between them may be one of the data alone.</p>
{% endif %}
</header>
"""
    + BAR
    + """
<main>
"""
)

_SECTIONS = """
{% for view in views %}
{{ section(view) }}
{% endfor %}
{{ not_concluded(cautions) }}
</main>
<footer>A reconstruction, chosen by this project. What each number means: docs/metrics.md.</footer>
</body>
</html>
"""

PAGE = MACROS.lstrip() + _TOP + _SECTIONS
"""The whole page; what it needs is passed by :func:`sfvd_pl.report.comparison.render`."""
