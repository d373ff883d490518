import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from faults import clean_clips, with_image, with_masks, write_clips
from sfvd_pl.errors import ConfigError
from sfvd_pl.metrics.quality.check import Check, CheckConfig
from sfvd_pl.metrics.quality.findings import CODES
from sfvd_pl.report.check import PICTURED, render, write_check
from sfvd_pl.sources.check.run import check_source

HOSTILE = "p03/<script>alert(1)</script>"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fault of each kind that has a picture of its own."""
    clips = list(clean_clips())
    clips[1] = with_masks(clips[1], np.roll(clips[1].wire_mask, (4, -3), axis=(1, 2)))
    clips[2] = replace(clips[2], name=HOSTILE)
    clips[2] = with_image(clips[2], np.repeat(clips[2].image[:1], 8, 0), clips[2].wire_mask)
    clips[3] = with_image(clips[3], clips[3].image * 2.2)
    clips[4] = replace(clips[4].inverted(), spacing_mm=0.5)
    clips[6] = with_image(clips[6], clips[0].image[2:7])
    return write_clips(tmp_path_factory.mktemp("page") / "source.h5", clips)


@pytest.fixture(scope="module")
def check(source: Path) -> Check:
    return check_source(source, CheckConfig(accept=("wire-bright",), window=128))


@pytest.fixture(scope="module")
def page(check: Check) -> str:
    return render(check)


def test_every_finding_is_on_the_page_with_its_remedy(check: Check, page: str) -> None:
    codes = {finding.code for finding in check.findings}
    assert {"mask-beside", "frozen-clip", "clipped", "wire-bright", "mixed-spacing", "small-frame"} <= codes
    assert any(code.startswith("copy-") for code in codes)
    text = html.unescape(re.sub(r"\s+", " ", page))
    for finding in check.findings:
        assert finding.title in text
        assert f"<b>{finding.clip}</b>" in text
    assert text.count('<div class="finding ') == len(check.findings)
    assert '<div class="finding accepted">' in text
    assert all(f"<code>{code}</code>" in page for code in CODES)


def test_pictures_are_described_and_inside_the_page(check: Check, page: str) -> None:
    class Images(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[dict[str, str | None]] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "img":
                self.found.append(dict(attrs))
            assert tag not in ("script", "iframe", "object")

    images = Images()
    images.feed(page)
    assert all((image["src"] or "").startswith("data:image/") and image["alt"] for image in images.found)
    alts = " ".join(image["alt"] or "" for image in images.found)
    assert "where it fits best in magenta" in alts
    assert "and their difference" in alts
    # Many findings of one kind get a few pictures.
    cards = [card for card in page.split('<div class="finding ') if "<code>small-frame</code></p>" in card]
    assert len(cards) == 8 and sum("<img" in card.split("</div>\n</div>")[0] for card in cards) == PICTURED


def test_the_page_asks_nothing_of_a_network_and_escapes_names(page: str) -> None:
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert "http" not in re.sub(r"data:[^\"]+", "", page)
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_json_and_page_are_written_and_replaced_but_nobody_elses_page(check: Check, tmp_path: Path) -> None:
    numbers, page = write_check(tmp_path / "out", check)
    assert json.loads(numbers.read_text())["counts"]["accepted"] == 1
    assert page.read_text().startswith("<!DOCTYPE html>")
    write_check(tmp_path / "out", check)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("my page")
    with pytest.raises(ConfigError, match="something else"):
        write_check(tmp_path / "mine", check)
    assert (tmp_path / "mine" / "index.html").read_text() == "my page"
    assert list((tmp_path / "mine").iterdir()) == [tmp_path / "mine" / "index.html"]


def test_a_clean_source_says_so(tmp_path: Path) -> None:
    check = check_source(write_clips(tmp_path / "source.h5", clean_clips()))
    text = render(check)
    assert "Nothing was found." in text and '<div class="finding ' not in text
    assert text.count('<td class="none">none</td>') == len(CODES)
