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
from sfvd_pl.report import numbers, plots, summary
from sfvd_pl.report.html import render, write_report
from sfvd_pl.report.media import MediaClips, ReportMedia
from sfvd_pl.report.numbers import signed
from sfvd_pl.report.sections.verdict import difference
from sfvd_pl.report.summary import mentioned

NOTHING = {"mean": None, "low": None, "high": None}
VOID = {"meta", "link", "img", "br", "source", "input"}


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
    kinds = {"png": 0, "svg+xml": 0}
    for image in images:
        outlines = image.get("class") == "lines"
        assert image["alt"] == "" if outlines else len(image["alt"]) > 15
        kind, content = re.fullmatch(r"data:image/([a-z+]+);base64,(.*)", image["src"]).groups()
        decoded = base64.b64decode(content, validate=True)
        kinds[kind] += not outlines
        if kind == "svg+xml":
            assert ElementTree.fromstring(decoded).tag.endswith("svg")
        else:
            Image.open(io.BytesIO(decoded)).verify()
    clips = 3 + 4 + 1 + 2
    assert kinds["png"] == 2 + clips and sum(image.get("class") == "lines" for image in images) == clips
    assert kinds["svg+xml"] > 20


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
    assert numbers.interval(arm["dice"]) in text and "lost in the noise" in str(page.tags)
    assert all(stage["made"][0]["content_hash"][:12] in text for stage in metrics["stages"])


def test_every_section_is_shown(page: Page) -> None:
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    expected = {name.replace("_", "-") for name in SECTIONS} - {"label-fidelity"} | {"labels"}
    assert expected <= ids


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
        metrics["not_measured"][section] = f"there was no {section}"
    metrics["stages"] = []
    page = Page(render(metrics, ReportMedia()))
    text = page.text()
    assert not [tag for tag, _ in page.tags if tag == "img"] and page.open == []
    assert "No clips were kept in this run." in text and all(f"there was no {name}" in text for name in SECTIONS)
    assert {verdict.answer for verdict in summary.verdicts(clean_metrics(metrics))} == {"unknown"}


def test_unknown_numbers_are_dashes(metrics: dict[str, Any]) -> None:
    unknown = clean_metrics(metrics)
    for row in unknown["label_fidelity"]["rows"]:
        row.update(dice={"mean": None, "low": None, "high": None}, drift=None, by_visibility=[], by_frame=[])
    unknown["label_fidelity"]["ratio"] = {"dice": None, "cldice": None}
    unknown["noise"]["residual_std"]["ratio"] = unknown["noise"]["residual_autocorrelation"]["difference"] = (
        None
    )
    for row in unknown["visibility"]["rows"]:
        row.update(n=0, **{key: dict(NOTHING) for key in ("pearson", "spearman", "slope", "intercept")})
    unknown["visibility"].update(requested=[], measured=[], accepted=[])
    unknown["gate"].update(n=0, accepted=0, rate=None, reasons={})
    for arm in unknown["segmentation"]["arms"]:
        arm["tip_error_px"] = {"mean": None, "low": None, "high": None}
        for row in arm["patients"].values():
            row["tip_error_px"] = None
    text = Page(render(unknown, ReportMedia())).text()
    assert "with Dice –" in text and not {"nan", "NaN", "None", "None."} & set(text.split())


def test_broken_metrics_are_refused_and_nothing_is_written(metrics: dict[str, Any], tmp_path: Path) -> None:
    metrics["gate"]["rate"] = 0.1
    with pytest.raises(MetricsError):
        write_report(tmp_path / "report", metrics, ReportMedia())
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((0.1, 0.02, 0.2), "+0.100 (+0.020 to +0.200), higher"),
        ((-0.1, -0.2, -0.02), "−0.100 (−0.200 to −0.020), lower"),
        ((0.1, -0.02, 0.2), "+0.100 (−0.020 to +0.200), not told apart"),
        ((0.1, 0.0, 0.2), "+0.100 (0.000 to +0.200), not told apart"),
        ((0.1, None, None), "+0.100, no interval"),
    ],
)
def test_differences_follow_the_interval(row: tuple[float, ...], words: str) -> None:
    assert difference(dict(zip(("mean", "low", "high"), row, strict=True))) == words


def answers(metrics: dict[str, Any]) -> dict[str, summary.Verdict]:
    keys = ("looks", "labels", "helps", "copies")
    return dict(zip(keys, summary.verdicts(clean_metrics(metrics)), strict=True))


def test_answers_about_looks_follow_the_numbers(metrics: dict[str, Any]) -> None:
    """Of noise alone: it is too weak, contrast is right, grain is partly frozen."""
    del metrics["motion"], metrics["image"], metrics["video"], metrics["seam"]
    looks = answers(metrics)["looks"]
    assert looks.answer == "no" and [reason.holds for reason in looks.reasons] == [False, True, False]
    assert any("flattered" in text for text in summary.cautions(metrics))
    metrics["noise"]["residual_std"]["ratio"] = 1.02
    assert answers(metrics)["looks"].answer == "partly"
    assert not any("flattered" in text for text in summary.cautions(metrics))
    metrics["noise"]["residual_autocorrelation"]["difference"] = 0.01
    assert answers(metrics)["looks"].answer == "yes"
    metrics["noise"]["residual_std"]["ratio"] = 1.3
    assert answers(metrics)["looks"].answer == "partly"
    metrics["noise"]["residual_std"]["ratio"] = float("nan")
    assert answers(metrics)["looks"].answer == "yes", "what is not known speaks neither for nor against"


def test_features_speak_for_synthetic_clips_only_where_they_are_nearer_than_known_faults(
    metrics: dict[str, Any],
) -> None:
    for name in ("noise", "motion", "seam"):
        del metrics[name]
    looks = answers(metrics)["looks"]
    assert looks.answer == "yes" and [reason.holds for reason in looks.reasons] == [True, True]
    assert "2 of 2 feature spaces" in looks.reasons[0].text
    rows = {row["name"]: row for row in metrics["image"]["spaces"][0]["whole"]}
    rows["synthetic"]["kernel"]["value"] = rows["blur"]["kernel"]["value"] * 1.01
    looks = answers(metrics)["looks"]
    assert looks.answer == "partly" and [reason.holds for reason in looks.reasons] == [False, True]
    assert "1 of 2 feature spaces" in looks.reasons[0].text
    rows["synthetic"]["kernel"]["value"] = float("nan")
    assert "1 of 1 feature spaces" in answers(metrics)["looks"].reasons[0].text


def test_what_can_not_be_relied_on_is_said_beside_it(page: Page, metrics: dict[str, Any]) -> None:
    assert not metrics["image"]["spaces"][1]["whole"][0]["frechet"]["reliable"]
    assert "too few vectors" in page.text() and "no network of the user" in page.text()


def test_copies_are_called_by_their_number_and_a_blind_search_does_not_clear(metrics: dict[str, Any]) -> None:
    section = metrics["memorisation"]
    row = next(row for row in section["rows"] if row["name"] == "synthetic")
    for clip in section["clips"]:
        clip.update(verdict="clear", by=[])
    row["copies"] = 0
    for planted in section["planted"]:
        planted["recall"]["mean"] = 1.0
    section["planted"][0]["kind"] = "exact"
    assert answers(metrics)["copies"].answer == "yes"
    section["planted"][0]["recall"]["mean"] = 0.5
    assert answers(metrics)["copies"].answer == "partly"
    section["clips"][0].update(verdict="copy", by=[section["levels"][0]["name"]])
    row["copies"] = 1
    copies = answers(metrics)["copies"]
    assert copies.answer == "no" and copies.words == f"Yes: 1 of {row['n']} clips"


def test_answers_about_labels_follow_the_numbers(metrics: dict[str, Any]) -> None:
    del metrics["wire"]
    rows = {row["name"]: row for row in metrics["label_fidelity"]["rows"]}
    assert answers(metrics)["labels"].answer == "partly", "the label is lost as a clip goes on"
    rows["synthetic"]["drift"] = 0.99
    assert answers(metrics)["labels"].answer == "yes"
    rows["shuffled"]["dice"]["mean"] = 0.5
    assert answers(metrics)["labels"].answer == "partly"
    metrics["label_fidelity"]["ratio"]["dice"] = 0.5
    assert answers(metrics)["labels"].answer == "no"


def test_help_is_claimed_only_where_a_corrected_test_shows_it(metrics: dict[str, Any]) -> None:
    section = metrics["segmentation"]
    arms = dict(zip(("real", "classical", "synthetic"), section["arms"], strict=True))
    for name, arm in arms.items():
        arm["name"] = name
        if "difference" in arm:
            arm["difference"]["reference"] = "real"
    section["reference"] = "real"
    section["tests"]["rows"] = [
        {"arm": "synthetic", "measure": "dice", "n_patients": 6, "p": 0.01, "p_holm": 0.04},
        {"arm": "classical", "measure": "dice", "n_patients": 6, "p": 0.01, "p_holm": 0.04},
    ]
    arms["synthetic"]["difference"]["dice"] = {"mean": 0.1, "low": 0.05, "high": 0.15}
    assert answers(metrics)["helps"].words == "Yes: synthetic"
    arms["synthetic"]["difference"]["dice"] = {"mean": -0.1, "low": -0.15, "high": -0.05}
    assert answers(metrics)["helps"].words == "No: synthetic did worse"
    section["tests"]["rows"][0]["p_holm"] = 0.06
    assert answers(metrics)["helps"].words == "Not shown; if anything, it did worse"
    arms["synthetic"]["difference"]["dice"] = {"mean": 0.1, "low": -0.05, "high": 0.25}
    assert answers(metrics)["helps"].words == "Not shown"


def test_without_test_patients_it_is_not_known_whether_it_helped(metrics: dict[str, Any]) -> None:
    for section in ("segmentation", "noise", "motion", "image", "video", "label_fidelity", "wire"):
        del metrics[section]
        metrics["not_measured"][section] = "there are no test patients, so nothing can be known"
    found = answers(metrics)
    assert found["helps"].words == "It cannot be known: there are no test patients"
    assert {found[key].answer for key in ("looks", "labels", "helps")} == {"unknown"}
    assert all("no test patients" in found[key].reasons[0].text for key in ("looks", "labels", "helps"))


def test_a_seam_is_a_fault(metrics: dict[str, Any]) -> None:
    metrics["seam"]["rows"][0]["std_ratio"]["mean"] = 1.3
    reason = next(reason for reason in answers(metrics)["looks"].reasons if "edge of what was drawn" in reason.text)
    assert reason.holds is False and "1.30 times" in reason.text


def test_rivals_are_named_beside_the_clips(metrics: dict[str, Any]) -> None:
    arms = metrics["segmentation"]["arms"]
    arms[1]["name"], arms[2]["name"] = "paste", "synthetic"
    metrics["segmentation"]["tests"]["rows"] = []
    gap = np.mean([arms[2]["patients"][name]["dice"] - row["dice"] for name, row in arms[1]["patients"].items()])
    text = next(reason.text for reason in answers(metrics)["helps"].reasons if reason.text.startswith("paste"))
    assert f"a rival: wires rendered into real frames, which takes no generator; synthetic is {signed(gap, 3)}" in text


def test_whose_pictures_they_are_comes_first(metrics: dict[str, Any]) -> None:
    assert summary.notes(metrics) == [
        "These clips show real patients: 96 of 120 synthetic clips have a real training clip of patients p10, p11 as "
        "their background. Share them as you would share those clips."
    ]
    metrics["sets"]["synthetic"]["backgrounds"] = {}
    metrics["gate"]["dice"] = None
    del metrics["segmentation"]
    metrics["not_measured"]["segmentation"] = "there are no test patients, so nothing can be known"
    fresh, few, nobody = summary.notes(metrics)
    assert "none shows a real clip" in fresh and "too few" in few and nobody.startswith("There are no test patients.")


def test_few_patients_are_called_few(metrics: dict[str, Any]) -> None:
    assert any(text.startswith("6 test patients are few") for text in summary.cautions(metrics))
    metrics["segmentation"]["n_patients"] = 1
    assert any(text.startswith("1 test patient is too few") for text in summary.cautions(metrics))
    metrics["segmentation"]["n_patients"] = 40
    assert not any("few" in text for text in summary.cautions(metrics))


def test_numbers_are_written_for_reading() -> None:
    assert [numbers.number(value) for value in (None, -0.001, -0.5, 1.005)] == ["–", "0.00", "−0.50", "1.00"]
    assert [numbers.signed(value) for value in (None, 0.001, 0.2, -0.2)] == ["–", "0.00", "+0.20", "−0.20"]
    times = [numbers.duration(value) for value in (None, 3.21, 45, 99.4, 600, 7199, 9000)]
    assert times == ["–", "3.2 s", "45 s", "99 s", "10 min", "2 h 00 min", "2 h 30 min"]


def test_numbers_of_any_size_have_three_digits() -> None:
    values = (None, 0, 0.00012, 0.0123456, 0.5, 12.345, 1234.5, -0.25)
    assert [numbers.significant(value) for value in values] == [
        "–", "0", "0.0001", "0.0123", "0.500", "12.3", "1234", "−0.250",
    ]  # fmt: skip


def test_the_same_numbers_give_the_same_plot_and_others_another(metrics: dict[str, Any]) -> None:
    rows = clean_metrics(metrics)["label_fidelity"]["rows"]
    first = plots.sets_plot(rows, "dice", "Dice")
    assert first == plots.sets_plot(rows, "dice", "Dice")
    rows[1]["dice"]["mean"] = 0.5
    assert first != plots.sets_plot(rows, "dice", "Dice")
    assert 250 < plots.width_px(first) < 400


def test_the_source_has_learned_from_nobody(metrics: dict[str, Any]) -> None:
    made = {"content_hash": "0" * 64}
    metrics["stages"] = [
        {"name": "source", "seconds": 1.0, "made": [{"name": "source.h5", "patients": ["p1", "p2"], **made}]},
        {"name": "scenes", "seconds": 1.0, "made": [{"name": "scenes.h5", "patients": ["p1"], **made}]},
    ]
    assert mentioned(metrics) == ["p1"]
