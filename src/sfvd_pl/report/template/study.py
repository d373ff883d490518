"""The template of the page on a label-efficiency study."""

from sfvd_pl.report.template.parts import MACROS, head

PAGE = (
    MACROS.lstrip()
    + head("{{ study.study }} – SF-VD reconstruction")
    + """<header>
<h1>Label efficiency: {{ study.study }}</h1>
<p class="meta">A reconstruction, chosen by this project, of SF-VD. Preset {{ study.preset }}, {{ study.runs | length }}
runs. Each holds patients out and learns from few labelled clips of the others, whose other clips lack labels.</p>
</header>
<main>
{{ section(view) }}
{{ not_concluded(cautions) }}
</main>
<footer>What each number means: docs/metrics.md. The same figures: study.json, study.csv.</footer>
</body>
</html>
"""
)
"""The whole page; what it needs is passed by :func:`sfvd_pl.report.study.write_study`."""
