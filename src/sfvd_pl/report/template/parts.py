"""What the pages share: their first lines, and how pictures, tables, clips and sections are written."""

from sfvd_pl.report.template.style import SHEET

MACROS = """
{% macro figures(pictures, kind) %}
<div class="{{ kind }}">
{% for picture in pictures %}
<figure{% if picture.width %} style="width: {{ picture.width }}px"{% endif %}><img src="{{ picture.uri }}"
alt="{{ picture.alt }}"><figcaption>{{ picture.caption }}</figcaption></figure>
{% endfor %}
</div>
{% endmacro %}
{% macro not_concluded(sentences) %}
<div class="caution">
<h3>What must not be concluded</h3>
<ul>
{% for sentence in sentences %}
<li>{{ sentence }}</li>
{% endfor %}
</ul>
</div>
{% endmacro %}
{% macro playing(films) %}
<div class="films">
{% for film in films %}
<figure><div class="screen{% if film.frames > 1 %} several{% endif %}" style="--frames: {{ film.frames }}; --ratio: {{
film.ratio }}"><img src="{{ film.uri }}" alt="{{ film.alt }}">{% if film.outlines %}<img class="lines"
src="{{ film.outlines }}" alt="">{% endif %}</div><figcaption>{{ film.caption }}</figcaption></figure>
{% endfor %}
</div>
{% endmacro %}
{% macro cell(value) %}{% if value is string %}{{ value }}{% else %}{{ value.text }}{% if value.detail %}<small>{{
value.detail }}</small>{% endif %}{% endif %}{% endmacro %}
{% macro grid(table) %}
<div class="table" tabindex="0" role="region" aria-label="{{ table.caption }}"><table>
<caption>{{ table.caption }}</caption>
<thead><tr>{% for name in table.head %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows %}
<tr><th scope="row">{{ cell(row[0]) }}</th>{% for value in row[1:] %}<td class="n">{{ cell(value) }}</td>{% endfor
%}</tr>
{% endfor %}
</tbody></table></div>
{% endmacro %}
{% macro filled(block) %}
{% for paragraph in block.text %}
<p>{{ paragraph }}</p>
{% endfor %}
{% for table in block.tables %}{{ grid(table) }}{% endfor %}
{% if block.pictures %}{{ figures(block.pictures, "stills" if not block.pictures[0].width else "plots") }}{% endif %}
{% if block.films %}{{ playing(block.films) }}{% endif %}
{% if block.code %}<pre>{{ block.code }}</pre>{% endif %}
{% endmacro %}
{% macro section(view) %}
<section aria-labelledby="{{ view.anchor }}">
<h2 id="{{ view.anchor }}">{{ view.title }}</h2>
{% for block in view.blocks %}
{% if block.closed %}
<details><summary>{{ block.title }}</summary>{{ filled(block) }}</details>
{% else %}
{% if block.title %}<h3>{{ block.title }}</h3>{% endif %}
{{ filled(block) }}
{% endif %}
{% endfor %}
</section>
{% endmacro %}
"""

BAR = """
<div class="bar"><div>
<nav aria-label="Contents">{% for view in views %}<a href="#{{ view.anchor }}">{{ view.short }}</a>{% endfor %}</nav>
<fieldset class="switches" aria-label="Clips">
<label><input type="checkbox" id="outlines" checked> outlines of the wire</label>
<label class="motion"><input type="checkbox" id="playing" checked> play clips</label>
</fieldset>
</div></div>
"""
"""The list of contents, and what stops clips and hides outlines; stays in sight."""


def head(title: str, style: str = "") -> str:
    """The first lines of a page, up to its body.

    Args:
        title: Of the window, as a template.
        style: Of this page alone.
    """
    return f"""<!DOCTYPE html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{SHEET}{style}</style>
</head>
<body>
"""
