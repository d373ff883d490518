from pathlib import Path
from typing import Any

import pytest
from toy import STAGES, rewritten

from sfvd_pl.errors import ConfigError, SourceError
from sfvd_pl.metrics.quality.findings import CODES
from sfvd_pl.pipeline.check import as_config, check_settings, check_step, require_passed
from sfvd_pl.pipeline.run import Pipeline
from sfvd_pl.pipeline.settings import RunSettings
from sfvd_pl.pipeline.steps import Run


def test_what_training_needs_is_filled_in() -> None:
    training = {"window": 64, "frames": 8, "batch_size": 4}
    assert check_settings({"accept": []}, training) == {"accept": [], "window": 64, "frames": 8, "limits": {}}
    given = {"accept": "clipped", "window": 32, "limits": {"levels": 4}}
    found = check_settings(given, training)
    assert found == {"accept": ["clipped"], "window": 32, "frames": 8, "limits": {"levels": 4}}
    config = as_config(check_settings({"accept": ["mask-beside:p1/a"], "limits": {"width_px": 9}}, {}))
    assert (config.accept, config.window, config.limits.width_px) == (("mask-beside:p1/a",), 0, 9)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"accepted": []}, "accepted"),
        ({"accept": ["nonsense"]}, "nonsense"),
        ({"limits": {"depth": 1}}, "check.limits.depth"),
        ({"limits": {"levels": "many"}}, "check.limits.levels"),
        ({"limits": {"levels": -1}}, "levels"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_made(given: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=named):
        check_step(Run(tmp_path / "run", "run"), tmp_path / "source.h5", given, {})


def test_no_later_stage_goes_around_the_check(source: Path, tmp_path: Path) -> None:
    """stage1 stops at the check; calling the next stage by itself must stop there, too."""
    run = Run(tmp_path / "toy", "toy")
    own = run.path("source.h5")
    require_passed(run, own)  # no source yet: the stage itself says what it lacks
    own.write_bytes(source.read_bytes())
    loose = {"accept": list(CODES)}
    for stage in ("stage2", "augment", "segment"):
        with pytest.raises(SourceError, match=r"hasn't passed[\s\S]*no check[\s\S]*stage1"):
            Pipeline(RunSettings("toy", tmp_path, "toy", STAGES)).perform([stage])
    assert not run.path("motion").exists()
    run.perform(check_step(run, own, loose, {}))
    require_passed(run, own)
    rewritten(source, tmp_path / "other.h5", patients=["somebody else"]).replace(own)
    with pytest.raises(SourceError, match="an earlier source"):
        require_passed(run, own)
