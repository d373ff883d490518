"""Two processes on the CPU: training works, and what is generated does not depend on their number."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from toy import STAGES

from sfvd_pl.artifacts import Artifact, Kind, verify
from sfvd_pl.modules.checkpoint import RECORD_KEY, read_checkpoint

PACKAGE = Path(__file__).resolve().parents[2] / "src"


def _run(*args: object) -> None:
    """``python -m sfvd_pl ARGS``: Lightning starts the second process by the same command line."""
    path = os.pathsep.join([str(PACKAGE), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
    command = [sys.executable, "-m", "sfvd_pl", *map(str, args)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=220)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def _scene(verb: str, source: Path, folder: Path, devices: int, *args: object) -> None:
    strategy = ["--trainer.strategy", "ddp"] if devices > 1 else []
    config = ["--config", STAGES / "toy" / "scene.yaml", "--data.source", source, "--run_dir", folder]
    many = ["--trainer.devices", devices, "--trainer.accelerator", "cpu", *strategy]
    _run("scene", verb, *config, *many, *args)


@pytest.fixture(scope="module")
def trained(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    _scene("fit", source, folder, 2)
    return folder


def test_two_processes_train_one_model(trained: Path, source: Path) -> None:
    checkpoint = read_checkpoint(trained / "model.ckpt")
    assert checkpoint["global_step"] == 2
    assert checkpoint[RECORD_KEY]["source"] == Artifact.open(source).content_hash
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())
    assert len(list((trained / "pictures").glob("scenes-*.png"))) == 1


def test_two_processes_generate_what_one_does(trained: Path, source: Path, tmp_path: Path) -> None:
    ckpt = ["--ckpt_path", trained / "model.ckpt"]
    made = []
    for devices in (1, 2):
        out = tmp_path / f"scenes-{devices}.h5"
        _scene("predict", source, tmp_path / "run", devices, *ckpt, "--out", out)
        assert verify(out, parents={"source": source}) == []
        made.append(Artifact.open(out, Kind.SCENES))
    one, two = made
    assert one.column("clips/sample_id").tolist() == [0, 1, 2]
    assert one.content_hash == two.content_hash
    assert not list(tmp_path.glob("*.shards"))
