"""The repository itself: what is shipped installs, starts, parses, is documented and keeps its own rules."""

import ast
import os
import re
import subprocess
import sys
import sysconfig
import time
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from jaxtyping import TypeCheckError
from jsonargparse import ArgumentParser

from sfvd_pl.cli.data import build_parser
from sfvd_pl.cli.main import COMMANDS
from sfvd_pl.cli.stage import STAGES as STAGE_CLIS
from sfvd_pl.datasets.batch import ClipBatch
from sfvd_pl.modules.checkpoint import RECORD_KEY
from sfvd_pl.modules.motion import MotionModule
from sfvd_pl.modules.scene import SceneModule
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.networks import WireCondition
from sfvd_pl.networks.motion import CONTEXT_CHANNELS
from sfvd_pl.pipeline.augment import AugmentSettings
from sfvd_pl.pipeline.presets import load_preset, machine_preset, merged
from sfvd_pl.pipeline.settings import STEPS
from sfvd_pl.sources.phantom.config import PhantomConfig

ROOT = Path(__file__).resolve().parent.parent
PRESETS = sorted(path.parent.name for path in (ROOT / "stages").glob("*/scene.yaml"))
SEGMENTERS = ("segment", "guide", "gate", "evaluator")
FITTED = ("scene", "motion", *SEGMENTERS)
DOCS = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), ROOT / "data/README.md", ROOT / "stages/README.md"])


def preset_config(preset: str, step: str) -> tuple[str, dict[str, Any]]:
    """A model's command and its settings, put together from the preset as ``sfvd run`` does."""
    names = ["segment", step] if step in SEGMENTERS[1:] else [step]
    config: dict[str, Any] = {}
    for name in names:
        config = merged(config, load_preset(ROOT / "stages", preset, name))
    config.pop("arms", None)
    if step == "motion":
        network = load_preset(ROOT / "stages", preset, "scene")["model"]["network"]
        config = merged(config, {"model": {"network": network}})
    return ("segment" if step in SEGMENTERS else step), merged(config, {"data": {"source": "source.h5"}})


def instantiate(preset: str, step: str, folder: Path, *extra: str) -> Any:
    """The stage's CLI with its module, DataModule and trainer made, nothing run."""
    stage, config = preset_config(preset, step)
    path = folder / f"{preset}-{step}.yaml"
    path.write_text(yaml.safe_dump(config))
    cli, module, datamodule, _ = STAGE_CLIS[stage]
    args = ["--config", str(path), "--run_dir", str(folder / step), "--trainer.accelerator", "cpu", *extra]
    return cli(module, datamodule, args=args, run=False, save_config_callback=None, seed_everything_default=0)


def random_clips(samples: int, frames: int, side: int) -> ClipBatch:
    """A batch without sense in it, of the right shapes."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(samples, *shape, generator=generator)

    mask = torch.zeros(samples, 1, frames, side, side)
    mask[..., side // 2] = 1.0
    return ClipBatch(
        image=normal(1, frames, side, side).mul(0.1).add(0.5).clamp(0, 1),
        wire_mask=mask,
        nearness=mask,
        known=torch.ones_like(mask),
        region=torch.ones_like(mask),
        noise=normal(1, frames, side, side),
        shared_noise=normal(1, side, side),
        context_noise=normal(1, frames, side, side),
        uniforms=torch.rand(samples, 2, generator=generator),
        sample_id=torch.arange(samples),
    )


# -- presets ---------------------------------------------------------------------------------------------------


def test_presets_are_complete() -> None:
    """Each preset has a file for each step, and no other; the machine's preset is one of them."""
    assert {"tiny", "workstation"} <= set(PRESETS)
    for preset in PRESETS:
        assert sorted(p.stem for p in (ROOT / "stages" / preset).glob("*.yaml")) == sorted(STEPS), preset
    assert machine_preset()[0] in PRESETS


@pytest.mark.parametrize("step", FITTED)
@pytest.mark.parametrize("preset", PRESETS)
def test_fit_yaml_parses_and_makes_what_it_says(preset: str, step: str, tmp_path: Path) -> None:
    cli = instantiate(preset, step, tmp_path)
    assert cli.trainer.max_steps == preset_config(preset, step)[1]["trainer"]["max_steps"]
    assert cli.datamodule.window % cli.model.network.config.stride == 0
    if step == "motion":
        assert (cli.model.block, cli.model.history.frames) == (cli.datamodule.block, cli.datamodule.history)
    if step in SEGMENTERS:
        assert cli.model.frames == cli.datamodule.frames


@pytest.mark.parametrize("preset", PRESETS)
def test_print_config_answers_for_the_file_as_it_is(preset: str, tmp_path: Path) -> None:
    """What the documentation tells a user to type, through the command itself."""
    args = ["scene", "fit", "--config", str(ROOT / "stages" / preset / "scene.yaml"), "--data.source", "x"]
    done = sfvd([*args, "--print_config"], tmp_path)
    assert done.returncode == 0, done.stderr
    steps = yaml.safe_load((ROOT / "stages" / preset / "scene.yaml").read_text())["trainer"]["max_steps"]
    assert yaml.safe_load(done.stdout)["trainer"]["max_steps"] == steps


def test_unknown_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("model:\n  netwrok: 1\n")
    done = sfvd(["scene", "fit", "--config", str(path), "--data.source", "x"], tmp_path)
    assert done.returncode == 2 and "netwrok" in done.stderr


@pytest.mark.parametrize("preset", PRESETS)
def test_data_and_augment_yaml_parse(preset: str, tmp_path: Path) -> None:
    folder = ROOT / "stages" / preset
    parser = build_parser()
    config = parser.parse_args(["simulate", "--config", str(folder / "source.yaml"), "--out", "x.h5"])
    phantom = parser.instantiate_classes(config)["simulate"].phantom
    scene = load_preset(ROOT / "stages", preset, "scene")["data"]
    assert isinstance(phantom, PhantomConfig)
    assert phantom.frames >= scene["frames"] and min(phantom.height, phantom.width) >= scene["window"]

    augment = ArgumentParser()
    augment.add_argument("--config", action="config")
    augment.add_class_arguments(AugmentSettings, None)
    paths = ("source", "suspects", "scene_ckpt", "motion_ckpt", "guide_ckpt", "gate_ckpt", "out", "run_dir")
    given = [part for key in paths for part in (f"--{key}", "x")]
    settings = augment.instantiate_classes(
        augment.parse_args(["--config", str(folder / "augment.yaml"), *given])
    )
    written = load_preset(ROOT / "stages", preset, "augment")
    assert settings.plan.num_clips == written["plan"]["num_clips"] > 0
    assert settings.batch_size == written["batch_size"]


@pytest.mark.parametrize("preset", PRESETS)
def test_motion_starts_from_the_scene_of_its_preset(preset: str, tmp_path: Path) -> None:
    """What stage 2 does first; were it to refuse, stage 1 would have been trained in vain."""
    scene = instantiate(preset, "scene", tmp_path).model
    record = {"class": "SceneModule", "config": scene.recorded_config}
    torch.save({"state_dict": scene.state_dict(), RECORD_KEY: record}, tmp_path / "scene.ckpt")
    motion = instantiate(preset, "motion", tmp_path, "--model.scene_ckpt", str(tmp_path / "scene.ckpt")).model
    own, theirs = motion.network.unet.state_dict(), scene.network.unet.state_dict()
    assert all(torch.equal(own[key], value) for key, value in theirs.items() if key != "conv_in.weight")


@pytest.mark.parametrize("preset", PRESETS)
def test_networks_take_frames_of_the_preset(preset: str, tmp_path: Path) -> None:
    """Forward passes on the meta device: shapes without arithmetic, so full size costs nothing."""
    meta = torch.device("meta")
    scene, motion = (instantiate(preset, step, tmp_path) for step in ("scene", "motion"))
    side, block = scene.datamodule.window, motion.datamodule.block
    times = torch.zeros(2, dtype=torch.int64, device=meta)

    def condition(frames: int) -> WireCondition:
        masks = torch.zeros(2, 1, frames, side, side, device=meta)
        return WireCondition.fresh(masks, masks)

    drawn = scene.model.network.to(meta)(torch.zeros(2, 1, side, side, device=meta), times, condition(1))
    assert drawn.shape == (2, 1, side, side)
    network = motion.model.network.to(meta)
    context = torch.zeros(2, CONTEXT_CHANNELS * network.context_frames, side, side, device=meta)
    noisy = torch.zeros(2, 1, block, side, side, device=meta)
    followed = network(noisy, times, condition(block), context, torch.zeros(2, device=meta))
    assert followed.shape == noisy.shape
    segment = instantiate(preset, "segment", tmp_path).model.network.to(meta)
    assert segment(torch.zeros(2, 1, side, side, device=meta)).shape == (2, 1, side, side)


@pytest.mark.parametrize("step", ["scene", "motion", "segment"])
def test_tiny_takes_an_optimiser_step(step: str, tmp_path: Path) -> None:
    """One step on random data changes weights and leaves everything finite."""
    cli = instantiate("tiny", step, tmp_path)
    module, side = cli.model, cli.datamodule.window
    module.intensity.copy_(torch.tensor([0.5, 0.1]))
    before = [parameter.detach().clone() for parameter in module.parameters()]
    optimiser = torch.optim.AdamW(module.parameters(), lr=module.optimiser.lr)
    if isinstance(module, SegmentationModule):
        clips = random_clips(2, 1, side)
        mask = clips.wire_mask[:, :, 0]
        loss = module.loss(module(clips.image[:, :, 0]), mask, torch.zeros_like(mask))
    else:
        assert isinstance(module, SceneModule | MotionModule)
        frames_needed = 1 if step == "scene" else module.network.context_frames + module.block
        per_sample = module.losses(random_clips(2, frames_needed, side))
        assert per_sample.shape == (2,)
        loss = per_sample.mean()
    loss.backward()
    optimiser.step()
    after = list(module.parameters())
    assert torch.isfinite(loss) and all(torch.isfinite(parameter).all() for parameter in after)
    moved = sum(not torch.equal(new, old) for new, old in zip(after, before, strict=True))
    assert moved > len(after) / 2


# -- the wheel -------------------------------------------------------------------------------------------------


def sfvd(args: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """``python -m sfvd_pl ARGS`` of this checkout, run elsewhere."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "sfvd_pl", *args]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of a fresh environment with the built wheel; libraries are those of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    install = [*pip, "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    # After the installation: pip would otherwise see this environment's copy of the package and do nothing.
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def run_installed(installed: Path, *args: str) -> str:
    """Standard output of a program of the fresh environment, run away from the checkout."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(installed / args[0]), *args[1:]],
        cwd=installed.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_installs_the_command(installed: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert run_installed(installed, "sfvd", "--version").strip() == f"sfvd {version}"
    assert all(f"  {command}" in run_installed(installed, "sfvd", "--help") for command in COMMANDS)


def test_wheel_holds_presets_and_types(installed: Path) -> None:
    code = (
        "import sfvd_pl, pathlib; from sfvd_pl.pipeline.presets import stages_folder;"
        "print(pathlib.Path(sfvd_pl.__file__).parent); print(stages_folder())"
    )
    package, stages = (Path(line) for line in run_installed(installed, "python", "-c", code).splitlines())
    assert package.is_relative_to(installed.parent), "the checkout was imported instead of the wheel"
    assert stages == package / "_stages"
    assert sorted(p.name for p in stages.iterdir() if p.is_dir() and p.name != "slurm") == PRESETS
    assert (stages / "slurm" / "chain").exists()
    assert (package / "py.typed").exists()


def test_wheel_makes_and_verifies_an_artifact(installed: Path) -> None:
    size = ["--phantom.patients", "3", "--phantom.clips_per_patient", "1", "--phantom.frames", "3"]
    run_installed(installed, "sfvd", "data", "simulate", "--out", "small.h5", *size)
    assert "holds (source, 3 clips" in run_installed(installed, "sfvd", "data", "verify", "small.h5")


# -- the front door --------------------------------------------------------------------------------------------


def make(*args: str) -> str:
    """Output of ``make ARGS`` in the checkout."""
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(["make", *args], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_targets() -> set[str]:
    """Targets that the Makefile declares as commands."""
    (line,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return set(line.split())


def make_variables() -> set[str]:
    """Variables that a user may set."""
    return set(re.findall(r"^([A-Z]+) \?=", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_help_lists_every_target_and_variable() -> None:
    shown = make("help")
    assert make() == shown
    listed = dict(re.findall(r"^  ([A-Za-z0-9-]+) +(\S.*)$", shown, re.MULTILINE))
    wanted = make_targets() | make_variables()
    assert len(wanted) > 20 and wanted <= set(listed), wanted - set(listed)
    rules = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert rules == make_targets(), "a target is not declared phony, or has no rule"


def test_stages_run_in_order_whatever_the_number_of_jobs() -> None:
    shown = make("-n", "-j8", "stage1", "stage2", "augment", "segment")
    assert re.findall(r"' run (\w+)", shown) == ["stage1", "stage2", "augment", "segment"]


def test_variables_reach_the_command_even_with_spaces_and_quotes() -> None:
    given = ["DATA=/my clips/o'neil", "RUN=a b", "SEEDS=0 1", "SPLIT=my split.csv", "LABELLED=a,b c", "ARGS=--x.y 3"]
    shown = make("-n", "stage1", *given, "TEST=none")
    (line,) = [line for line in shown.splitlines() if " run stage1 " in line]
    # The shell itself says how it takes the line apart: exec, the command and its two words come first.
    words = subprocess.run(["sh", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True).stdout.splitlines()
    run = ["--run", "a b", "--preset", "auto", "--seed", "0", "--devices", "auto"]
    own = ["--data", "/my clips/o'neil", "--split", "my split.csv", "--test", "none", "--labelled", "a,b c"]
    own += ["--seeds", "0", "1", "--x.y", "3"]
    assert words[0] == "exec" and words[4:] == [*run, *own]


def test_a_signal_to_make_reaches_the_command(tmp_path: Path) -> None:
    """make passes SIGTERM on to its child, which must not be a shell that dies and leaves the command behind."""
    venv, got = tmp_path / "venv", tmp_path / "got"
    (venv / "bin").mkdir(parents=True)
    sfvd = venv / "bin" / "sfvd"
    waits = "while :; do sleep 0.05; done"
    sfvd.write_text(f"#!/bin/sh\ntrap 'echo TERM > {got}; exit 75' TERM\necho up > {got}\n{waits}\n")
    for path in (sfvd, venv / "bin" / "python"):
        path.touch()
        path.chmod(0o755)
    (venv / ".installed").touch()
    process = subprocess.Popen(["make", "stage1", f"VENV={venv}"], cwd=ROOT, stdout=-3, stderr=-3)
    try:
        deadline = time.monotonic() + 30
        while not got.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.terminate()
        assert process.wait(30) != 0
        assert got.read_text() == "TERM\n"
    finally:
        process.kill()


def test_clean_run_refuses_what_is_no_name() -> None:
    for name in ("", ".", "..", "a/b"):
        done = subprocess.run(["make", "clean-run", f"RUN={name}"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode != 0 and "plain name" in done.stderr, name


def test_wrong_python_is_named(tmp_path: Path) -> None:
    old = tmp_path / "python-old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.10.1" && exit 0\nexit 1\n')
    old.chmod(0o755)
    for python, said in (("no-such-python", "no 'no-such-python' here"), (str(old), "Python 3.10.1")):
        done = subprocess.run(
            ["make", "install", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode != 0 and said in done.stderr and "PYTHON=/path/to/python3.11" in done.stderr


def test_commands_in_the_documentation_exist() -> None:
    """Every ``make TARGET`` and ``sfvd COMMAND`` that a page shows in code."""
    targets, commands = set(), set()
    for page in DOCS:
        for code in re.findall(r"^ {4}.*$|`[^`\n]+`", page.read_text(), re.MULTILINE):
            for words in re.findall(r"\bmake((?: +[a-z0-9-]+)+)", code):
                targets.update(words.split())
            commands.update(re.findall(r"\bsfvd ([a-z]+)", code))
    assert {"stage1", "stage2", "augment", "segment", "install", "test"} <= targets
    assert targets <= make_targets(), targets - make_targets()
    assert commands and commands <= set(COMMANDS), commands - set(COMMANDS)


def test_variables_in_the_documentation_exist() -> None:
    used = {
        name
        for page in DOCS
        for code in re.findall(r"^ {4}.*$|`[^`\n]+`", page.read_text(), re.MULTILINE)
        for name in re.findall(r"(?:^|[ `])([A-Z]+)=", code)
    }
    assert {"DATA", "RUN", "PRESET"} <= used <= make_variables(), used - make_variables()


# -- the rules of the house ------------------------------------------------------------------------------------

ANYWHERE = {"pytorch_lightning", "torchvision"}
UPLOADS = "modules/upload.py"
ONLY_IN = {"h5py": {"artifacts"}, "lightning": {"modules", "datasets", "pipeline", "cli"}}


def forbidden_imports(name: str, code: str) -> list[str]:
    """Imports that a file of the package may not have.

    Args:
        name: Path of the file inside the package.
        code: Its text.
    """
    part = name.split("/")[0]
    found = []
    for node in ast.walk(ast.parse(code)):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules = [node.module or ""]
        for module in modules:
            top = module.split(".")[0]
            if top in ANYWHERE or (top == "wandb" and name != UPLOADS) or part not in ONLY_IN.get(top, {part}):
                found.append(f"{name} imports {module}")
    return found


def package_files() -> Iterator[Path]:
    """All Python files of the package."""
    yield from sorted((ROOT / "src" / "sfvd_pl").rglob("*.py"))


def test_forbidden_imports_are_absent() -> None:
    package = ROOT / "src" / "sfvd_pl"
    files = list(package_files())
    assert len(files) > 80
    assert [
        line for path in files for line in forbidden_imports(path.relative_to(package).as_posix(), path.read_text())
    ] == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("metrics/label.py", "import h5py"),
        ("networks/scene.py", "def f():\n    from lightning.pytorch import Trainer"),
        ("modules/logging.py", "import wandb"),
        ("cli/wandb.py", "import wandb.sdk"),
        ("cli/stage.py", "from pytorch_lightning import Trainer"),
        ("datasets/clips.py", "import torchvision.transforms as T"),
    ],
)
def test_forbidden_imports_would_be_found(name: str, code: str) -> None:
    assert len(forbidden_imports(name, code)) == 1


def test_shapes_are_checked_while_tests_run() -> None:
    """The import hook is at work: axes of two arguments that should agree don't."""
    mask = torch.zeros(1, 1, 2, 8, 8)
    WireCondition.fresh(mask, mask)
    with pytest.raises(TypeCheckError):
        WireCondition.fresh(mask, mask[:, :, :1])


def test_every_package_folder_is_a_package() -> None:
    """Without ``__init__.py`` a folder is invisible to the import linter and the type checker's packages."""
    folders = {path.parent for path in package_files()}
    assert [str(f.relative_to(ROOT)) for f in sorted(folders) if not (f / "__init__.py").exists()] == []


def test_links_in_the_documentation_resolve() -> None:
    broken, seen = [], 0
    for page in DOCS:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if not re.match(r"https?://|mailto:|#", link):
                seen += 1
                if not (page.parent / link.split("#")[0]).exists():
                    broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert seen > 15 and broken == []


def test_constraints_pin_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    for requirement in [*project["dependencies"], *extras]:
        name = re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower()
        assert name in pinned or name == project["name"], name  # one extra may stand for others
    assert not any("+" in version for version in pinned.values()), "a local tag would tie it to one index"
