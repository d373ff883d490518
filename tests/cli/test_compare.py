"""``sfvd data compare`` and the simulator's processes, through the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from toy import STAGES

from sfvd_pl.artifacts import Artifact

Sfvd = Callable[..., Any]


def test_simulated_sets_are_compared_and_processes_dont_matter(sfvd: Sfvd, tmp_path: Path) -> None:
    simulate = [
        "data",
        "simulate",
        "--config",
        STAGES / "toy" / "source.yaml",
        "--phantom.clips_per_patient",
        1,
    ]
    simulate += ["--phantom.height", 96, "--phantom.width", 96]
    one, two, noisy = (tmp_path / name for name in ("one.h5", "two.h5", "noisy.h5"))
    assert sfvd(*simulate, "--out", one).status == 0
    assert sfvd(*simulate, "--out", two, "--workers", 2).status == 0
    assert Artifact.open(one).content_hash == Artifact.open(two).content_hash
    assert sfvd(*simulate, "--out", noisy, "--phantom.noise_std", "[20, 20]").status == 0
    same = sfvd("data", "compare", one, two)
    assert same.status == 0, same.err
    lines = [line.split("|")[1:-1] for line in same.out.splitlines()]
    assert lines[0] == [" measure ", " one ", " two ", " gap "]
    gaps = {line[0].strip(): line[3].strip() for line in lines[2:]}
    assert set(gaps.values()) <= {"+0.0", "-"}
    other = sfvd("data", "compare", noisy, one, "--clips", 3, "--frames", 4)
    gaps = {line.split("|")[1].strip(): line.split("|")[4].strip() for line in other.out.splitlines()[2:]}
    assert float(gaps["frame difference: std / sqrt 2, 1/255"]) > 3
    assert float(gaps["wire: CNR"]) < 0


def test_what_cant_be_compared_is_refused(sfvd: Sfvd, tmp_path: Path) -> None:
    out = tmp_path / "s.h5"
    assert sfvd("data", "simulate", "--config", STAGES / "toy" / "source.yaml", "--out", out).status == 0
    few = sfvd("data", "compare", out, out, "--frames", 1)
    assert few.status == 1 and "frames" in few.err
    none = sfvd("data", "compare", out, tmp_path / "missing.h5")
    assert none.status == 1 and "missing.h5" in none.err
