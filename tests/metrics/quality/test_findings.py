import pytest

from sfvd_pl.errors import ConfigError
from sfvd_pl.metrics.quality.facts import Limits
from sfvd_pl.metrics.quality.findings import CODES, Finding, accept, frames_text


def finding(code: str = "mask-beside", severity: str = "error", clip: str = "p1/a", other: str = "") -> Finding:
    return Finding(code, severity, clip, (1, 2), "4 px", "2 px", other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frames", "text"),
    [((3,), "frame 3"), ((0, 1, 2, 5), "frames 0-2, 5"), ((), "frames "), ((7, 9), "frames 7, 9")],
)
def test_frames_in_words(frames: tuple[int, ...], text: str) -> None:
    assert frames_text(frames) == text


def test_many_gaps_are_cut_short() -> None:
    assert frames_text(range(0, 40, 2)) == "frames 0, 2, 4, 6, 8, 10, 12, 14, ..."


def test_errors_come_first_and_only_errors_are_accepted() -> None:
    found = [finding("few-labels", "warning"), finding(), finding("wire-bright")]
    found.append(finding("copy-across-splits", other="p2/b"))
    marked = accept(found, ["mask-beside:p1/a", "few-labels", "copy-across-splits:p2/b"])
    assert [(f.code, f.severity) for f in marked] == [
        ("wire-bright", "error"),
        ("mask-beside", "accepted"),
        ("copy-across-splits", "accepted"),
        ("few-labels", "warning"),
    ]
    assert [f.severity for f in accept([finding()], ["mask-beside:p1/b"])] == ["error"]


def test_codes_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match="no such finding"):
        finding("mask-below")
    with pytest.raises(ConfigError, match="accept"):
        accept([], ["mask-below:p1/a"])


def test_a_line_says_where_and_how_much() -> None:
    line = finding("copy-across-splits", other="p2/b").line()
    assert line == "error: copy-across-splits: p1/a frames 1-2 and p2/b: the same pictures in two splits (4 px)"


def test_every_code_has_words() -> None:
    assert all(about.topic and about.title and about.remedy for about in CODES.values())


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_limits_that_mean_nothing_are_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="not a limit"):
        Limits(width_px=value)
