"""The page: self-contained, escaped, with words for those who can't see it, and honest sentences."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.schema import SECTIONS, clean_metrics
from sfvd_pl.report import plots, summary
from sfvd_pl.report.html import render, write_report
from sfvd_pl.report.media import MediaClips, ReportMedia

VOID = {"meta", "link", "img", "br", "source"}


class Page(HTMLParser):
    """Tags with attributes, visible text, and whether every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def text(original_metrics: dict[str, Any], media: ReportMedia) -> str:
    return render(original_metrics, media)


@pytest.fixture
def page(text: str) -> Page:
    return Page(text)


def test_one_file_is_written(metrics: dict[str, Any], tmp_path: Path) -> None:
    for section in SECTIONS:
        del metrics[section]
    path = write_report(tmp_path / "report", metrics, ReportMedia())
    assert path == tmp_path / "report" / "index.html"
    assert [entry.name for entry in path.parent.iterdir()] == ["index.html"]
    assert path.read_text(encoding="utf-8") == render(metrics, ReportMedia())
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_nothing_is_fetched_from_anywhere(page: Page) -> None:
    fetched = [
        value for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "srcset", "href")
    ]
    assert fetched and all(value.startswith(("data:", "#")) for value in fetched)
    assert not {"script", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {value[1:] for value in fetched if value.startswith("#")} <= ids


def test_style_fetches_nothing(text: str) -> None:
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    assert style is not None and "url(" not in style[1] and "@import" not in style[1]


def test_every_picture_decodes_and_has_words(page: Page) -> None:
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    kinds = {"png": 0, "gif": 0, "svg+xml": 0}
    for image in images:
        assert len(image["alt"]) > 15
        kind, content = re.fullmatch(r"data:image/([a-z+]+);base64,(.*)", image["src"]).groups()
        decoded = base64.b64decode(content, validate=True)
        kinds[kind] += 1
        if kind == "svg+xml":
            assert ElementTree.fromstring(decoded).tag.endswith("svg")
        else:
            Image.open(io.BytesIO(decoded)).verify()
    assert kinds == {"png": 2, "gif": 3 + 4 + 1 + 2, "svg+xml": 3 + 1 + 1 + 1 + 3}


def test_every_tag_is_closed(page: Page) -> None:
    assert page.open == []


def test_the_page_says_what_it_is_and_what_not(page: Page) -> None:
    text = page.text()
    assert "A reconstruction, chosen by this project" in text and "What must not be concluded" in text
    assert "not the published method" in text and "not a medical device" in text
    assert "as in the paper" not in text.lower()


def test_the_numbers_stand_on_the_page(page: Page, metrics: dict[str, Any]) -> None:
    text = page.text()
    for words in (
        "0.74 (0.70 to 0.78)",
        "0.81 (0.77 to 0.85)",
        "0.1520",
        "96 of 120",
        "p10, p11, p12",
        "21 min",
    ):
        assert words in text
    arm = metrics["segmentation"]["arms"][2]
    assert summary.interval(arm["dice"]) in text and "label not found" in str(page.tags)
    assert all(stage["made"][0]["content_hash"][:12] in text for stage in metrics["stages"])


def test_everything_given_is_escaped(metrics: dict[str, Any], media: ReportMedia) -> None:
    attack = '"><script>alert(1)</script>&{{ 7*7 }}$x^2$'
    metrics["run"] = metrics["machine"]["cpu"] = metrics["stages"][0]["made"][0]["name"] = attack
    metrics["stages"][0]["made"][0]["patients"] = [attack]
    metrics["gate"]["reasons"] = {attack: 24}
    arms = metrics["segmentation"]["arms"]
    for arm in arms[1:]:
        arm["difference"]["reference"] = attack
    arms[0]["name"] = metrics["segmentation"]["reference"] = attack
    arms[0]["patients"][attack] = arms[0]["patients"].pop("p00")
    clips = media.real
    assert clips is not None
    text = render(metrics, ReportMedia(real=MediaClips(clips.clips, clips.wire_masks, (attack,) * 3)))
    page = Page(text)
    assert "<script" not in text and attack in page.text()
    assert "script" not in {tag for tag, _ in page.tags}


def test_a_run_that_measured_nothing_says_so(metrics: dict[str, Any]) -> None:
    for section in SECTIONS:
        del metrics[section]
    metrics["stages"][0]["made"] = []
    page = Page(render(metrics, ReportMedia()))
    text = page.text()
    assert not [tag for tag, _ in page.tags if tag == "img"] and page.open == []
    assert text.count("not measured in this run.") >= 5 and "No frames were kept in this run." in text


def test_unknown_numbers_are_dashes(metrics: dict[str, Any]) -> None:
    unknown = clean_metrics(metrics)
    for row in unknown["label_fidelity"]["rows"]:
        row.update(dice={"mean": None, "low": None, "high": None}, drift=None, by_visibility=[], by_frame=[])
    unknown["label_fidelity"]["ratio"] = {"dice": None, "cldice": None}
    unknown["noise"]["residual_std"]["ratio"] = unknown["noise"]["residual_autocorrelation"]["difference"] = (
        None
    )
    unknown["visibility"] = {"spearman": None, "n": 0, "requested": [], "measured": []}
    unknown["gate"].update(n=0, accepted=0, rate=None, reasons={})
    for arm in unknown["segmentation"]["arms"]:
        arm["tip_error_px"] = {"mean": None, "low": None, "high": None}
        for row in arm["patients"].values():
            row["tip_error_px"] = None
    text = Page(render(unknown, ReportMedia())).text()
    assert "with Dice –" in text and "no clip was generated" in text and "nan" not in text.lower().split()


def test_broken_metrics_are_refused_and_nothing_is_written(metrics: dict[str, Any], tmp_path: Path) -> None:
    metrics["gate"]["rate"] = 0.1
    with pytest.raises(MetricsError):
        write_report(tmp_path / "report", metrics, ReportMedia())
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        ((0.1, 0.02, 0.2), "+0.10 (+0.02 to +0.20), higher than"),
        ((-0.1, -0.2, -0.02), "−0.10 (−0.20 to −0.02), lower than"),
        ((0.1, -0.02, 0.2), "+0.10 (−0.02 to +0.20), not told apart from"),
        ((0.1, 0.0, 0.2), "+0.10 (0.00 to +0.20), not told apart from"),
        ((0.1, None, None), "+0.10, with no interval, against"),
    ],
)
def test_verdicts_follow_the_interval(difference: tuple[float, ...], words: str) -> None:
    assert summary.verdict(dict(zip(("mean", "low", "high"), difference, strict=True))) == words


def test_findings_call_a_weak_result_weak(metrics: dict[str, Any]) -> None:
    text = " ".join(finding.text for finding in summary.findings(metrics))
    assert (
        "label fidelity is flattered" in text and "grain is partly frozen" in text and "label is lost" in text
    )
    metrics["noise"]["residual_std"]["ratio"] = 1.02
    metrics["noise"]["residual_autocorrelation"]["difference"] = 0.01
    metrics["label_fidelity"]["rows"][0]["drift"] = 0.99
    text = " ".join(finding.text for finding in summary.findings(metrics))
    assert "flattered" not in text and "frozen" not in text and "label is lost" not in text
    metrics["noise"]["residual_std"]["ratio"] = 1.3
    assert "more than they should" in " ".join(finding.text for finding in summary.findings(metrics))


def test_few_patients_are_called_few(metrics: dict[str, Any]) -> None:
    assert any(text.startswith("6 test patients are few") for text in summary.cautions(metrics))
    metrics["segmentation"]["n_patients"] = 1
    assert any(text.startswith("1 test patient is too few") for text in summary.cautions(metrics))
    metrics["segmentation"]["n_patients"] = 40
    assert not any("few" in text for text in summary.cautions(metrics))


def test_numbers_are_written_for_reading() -> None:
    assert [summary.number(value) for value in (None, -0.001, -0.5, 1.005)] == ["–", "0.00", "−0.50", "1.00"]
    assert [summary.signed(value) for value in (None, 0.001, 0.2, -0.2)] == ["–", "0.00", "+0.20", "−0.20"]
    times = [summary.duration(value) for value in (None, 3.21, 45, 99.4, 600, 7199, 9000)]
    assert times == ["–", "3.2 s", "45 s", "99 s", "10 min", "2 h 00 min", "2 h 30 min"]


def test_the_same_numbers_give_the_same_plot_and_others_another(metrics: dict[str, Any]) -> None:
    facts = clean_metrics(metrics)
    first = plots.fidelity_plot(facts["label_fidelity"])
    assert first == plots.fidelity_plot(facts["label_fidelity"])
    facts["label_fidelity"]["rows"][1]["dice"]["mean"] = 0.5
    assert first != plots.fidelity_plot(facts["label_fidelity"])
    assert 500 < plots.width_px(first) < 600
    with pytest.raises(MetricsError):
        plots.width_px(b"<svg>")


def test_bins_are_labelled_with_open_ends(metrics: dict[str, Any]) -> None:
    rows = clean_metrics(metrics)["label_fidelity"]["rows"]
    bounds = [(entry["low"], entry["high"]) for entry in rows[0]["by_visibility"]]
    labels = [plots._range(low, high) for low, high in bounds]
    assert labels[0] == "< 0.5" and labels[1] == "0.5–1" and labels[-1] == "≥ 4"
    assert plots._range(None, None) == "all"


def test_plots_leave_no_global_figure_behind(metrics: dict[str, Any]) -> None:
    from matplotlib import pyplot, rcParams

    before = (pyplot.get_fignums(), rcParams["axes.grid"])
    plots.by_frame_plot(clean_metrics(metrics)["label_fidelity"])
    assert (pyplot.get_fignums(), rcParams["axes.grid"]) == before
    assert np.isnan(plots._float(None))
