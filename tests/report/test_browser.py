"""The page in a real browser: nothing fetched, nothing complained of, all pictures decoded, the keyboard works."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, find_chromium

from sfvd_pl.report.comparison import ReportedRun, write_comparison
from sfvd_pl.report.html import write_report
from sfvd_pl.report.media import ReportMedia

PROGRAM = find_chromium()
pytestmark = pytest.mark.skipif(
    PROGRAM is None and not os.environ.get("SFVD_NEEDS_CHROMIUM"),
    reason="there is no Chromium on the path: apt-get install chromium",
)
TAB, SPACE = ("Tab", 9), (" ", 32)


@pytest.fixture(scope="module")
def page(original_metrics: dict[str, Any], media: ReportMedia, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("a report"), original_metrics, media)


@pytest.fixture(scope="module")
def browser(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PROGRAM is not None, "SFVD_NEEDS_CHROMIUM is set, but there is none"
    with Browser(PROGRAM, tmp_path_factory.mktemp("profile")) as opened:
        opened.open(page.as_uri())
        yield opened


def requests(browser: Browser) -> list[str]:
    """Addresses asked for that lie outside the page."""
    asked = [facts["request"]["url"] for method, facts in browser.events if method == "Network.requestWillBeSent"]
    return [url for url in asked if not url.startswith(("data:", "about:"))]


def complaints(browser: Browser) -> list[dict[str, Any]]:
    return [
        facts
        for method, facts in browser.events
        if method in ("Runtime.exceptionThrown", "Log.entryAdded")
        or (method == "Runtime.consoleAPICalled" and facts["type"] in ("error", "warning", "assert"))
    ]


def test_nothing_is_asked_for_and_nothing_complained_of(browser: Browser, page: Path) -> None:
    assert set(requests(browser)) == {page.as_uri()}
    assert complaints(browser) == []


def test_every_picture_decodes(browser: Browser) -> None:
    sizes = browser.evaluate(
        "Promise.all([...document.images].map(i => i.decode().then(() => [i.naturalWidth, i.naturalHeight])))"
    )
    assert len(sizes) > 20 and all(width > 0 and height > 0 for width, height in sizes)


def test_clips_play_and_show_one_frame_at_a_time(browser: Browser) -> None:
    film = "document.querySelector('.several img')"
    shown = browser.evaluate(
        f"(() => {{ const i = {film}, s = i.parentElement; return [i.offsetWidth / s.offsetWidth, "
        "getComputedStyle(i).animationName, getComputedStyle(i).animationPlayState] })()"
    )
    assert shown == [4, "film", "running"]
    places = browser.evaluate(
        f"(() => {{ const a = {film}.getAnimations()[0], w = {film}.parentElement.offsetWidth; a.pause(); "
        "const found = [0, 1, 2, 3].map(k => { a.currentTime = (k + 0.5) * 1000 / 7.5; "
        f"return Math.round(-new DOMMatrix(getComputedStyle({film}).transform).e / w) }}); a.play(); return found }})()"
    )
    assert places == [0, 1, 2, 3]


def test_outlines_and_playing_are_switched_by_the_keyboard(browser: Browser) -> None:
    browser.evaluate("document.querySelector('.bar nav a:last-child').focus()")
    for name, state in (
        ("outlines", "getComputedStyle(document.querySelector('.lines')).visibility == 'visible'"),
        ("playing", "getComputedStyle(document.querySelector('.several img')).animationPlayState == 'running'"),
    ):
        browser.press(*TAB)
        assert browser.evaluate("document.activeElement.id") == name
        assert browser.evaluate(state) is True
        browser.press(*SPACE)
        assert browser.evaluate(state) is False
        browser.press(*SPACE)
        assert browser.evaluate(state) is True


REDUCED = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}


@pytest.mark.parametrize("how", [{"media": "print"}, REDUCED], ids=["print", "reduced motion"])
def test_where_nothing_may_move_all_frames_are_shown(browser: Browser, how: dict[str, Any]) -> None:
    browser.call("Emulation.setEmulatedMedia", **how)
    shown = browser.evaluate(
        "(() => { const i = document.querySelector('.several img'), s = i.parentElement; "
        "return [i.offsetWidth / s.offsetWidth, getComputedStyle(i).animationName] })()"
    )
    browser.call("Emulation.setEmulatedMedia", media="", features=[])
    assert shown == [1, "none"]


def test_headings_descend_step_by_step_and_tables_have_headings(browser: Browser) -> None:
    levels = browser.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip(levels, levels[1:], strict=False))
    assert browser.evaluate("[...document.querySelectorAll('th')].every(t => t.scope)") is True
    assert browser.evaluate("[...document.images].every(i => i.alt || i.className == 'lines')") is True


def test_text_stands_out_from_its_ground(browser: Browser) -> None:
    """At least 4.5 to 1 (WCAG AA) for every piece of text, by its colour and the ground behind it."""
    least = browser.evaluate(CONTRAST)
    assert least[0] >= 4.5, least


def test_nothing_is_wider_than_the_page(browser: Browser) -> None:
    for width in (1366, 390):
        browser.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
        )
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
    browser.call("Emulation.clearDeviceMetricsOverride")


def test_the_page_on_several_runs(
    browser: Browser, original_metrics: dict[str, Any], media: ReportMedia, tmp_path: Path
) -> None:
    """Last in this file: it leaves the first page."""
    runs = [ReportedRun(name, original_metrics, media) for name in ("one", "another")]
    page = write_comparison(tmp_path / "runs.html", runs)
    browser.events.clear()
    browser.open(page.as_uri())
    assert set(requests(browser)) == {page.as_uri()} and complaints(browser) == []
    assert browser.evaluate("Promise.all([...document.images].map(i => i.decode())).then(d => d.length)") > 8
    assert browser.evaluate("[...document.querySelectorAll('thead th')].some(t => t.textContent == 'another')") is True


CONTRAST = """
(() => {
  const channel = v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 };
  const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const colour = text => { const c = text.match(/[0-9.]+/g).map(Number); return c.length < 4 ? [...c, 1] : c };
  let least = [99, ''];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim()) || !e.offsetWidth) continue;
    let ground = [255, 255, 255, 1];
    for (let p = e; p; p = p.parentElement) {
      const c = colour(getComputedStyle(p).backgroundColor);
      if (c[3] > 0.9) { ground = c; break }
    }
    const [a, b] = [light(colour(getComputedStyle(e).color)), light(ground)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least[0]) least = [ratio, e.outerHTML.slice(0, 200)];
  }
  return least;
})()
"""
