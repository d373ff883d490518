"""What a run says of itself at its end."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.modules.checkpoint import read_checkpoint
from sfvd_pl.pipeline.steps import Run


def summary(run: Run) -> str:
    """Where everything of a run is, and its main figures."""
    lines = [f"run {run.name} in {run.folder}"]
    segmentations = sorted(run.folder.glob("segmentation*.h5"))
    names = ("source", "scenes", "motions", "synthetic")
    artifacts = [*(run.path(f"{name}.h5") for name in names), *segmentations]
    lines += [f"  {path}" for path in artifacts if path.exists()]
    report = run.path("report", "index.html")
    if report.exists():
        lines.append(f"report: {report}")
        lines += _headline(json.loads(report.with_name("metrics.json").read_text()))
    return "\n".join(lines)


def clips_line(path: Path) -> str:
    """What an artifact of clips holds."""
    artifact = Artifact.open(path)
    return f"made {path}: {artifact.n_clips} clips of {int(np.median(artifact.column('clips/length')))} frames"


def model_line(path: Path) -> str:
    """How long a model was trained, which a callback may have ended early."""
    return f"trained {path} in {read_checkpoint(path)['global_step']} steps"


def synthetic_line(path: Path) -> str:
    """What an artifact of synthetic clips holds."""
    accepted = Artifact.open(path, Kind.SYNTHETIC).column("clips/accepted")
    return f"made {path}: {len(accepted)} clips, {int(accepted.sum())} accepted ({accepted.mean():.0%})"


def _headline(metrics: dict[str, Any]) -> list[str]:
    """The figures that a user asks for first, of what was measured."""
    lines = []
    if fidelity := metrics.get("label_fidelity"):
        rows = {row["name"]: row for row in fidelity["rows"]}
        dice = {name: row["dice"]["mean"] for name, row in rows.items()}
        lines.append(
            f"  label fidelity  synthetic {_number(dice['synthetic'])}  real {_number(dice['real'])}"
            f"  ratio {_number(fidelity['ratio']['dice'])}  shuffled {_number(dice.get('shuffled'))}"
            f"  drift {_number(rows['synthetic']['drift'])}"
        )
    if noise := metrics.get("noise"):
        lines.append(
            f"  pixel std ratio {_number(noise['pixel_std']['ratio'])}  residual std ratio"
            f" {_number(noise['residual_std']['ratio'])}  residual autocorrelation difference"
            f" {_number(noise['residual_autocorrelation']['difference'])}"
        )
    if visibility := metrics.get("visibility"):
        rows = {row["name"]: row for row in visibility["rows"]}
        got = "  ".join(
            f"{name} clips Pearson {_number(row['pearson']['mean'])} Spearman {_number(row['spearman']['mean'])}"
            for name, row in rows.items()
        )
        lines.append(f"  visibility asked against measured, {got}")
    if seam := metrics.get("seam"):
        lines.append(f"  seam, grain over that of the real frames {_number(seam['rows'][0]['std_ratio']['mean'])}")
    if gate := metrics.get("gate"):
        lines.append(f"  gate accepted {_number(gate['rate'])}")
    for arm in metrics.get("segmentation", {}).get("arms", []):
        overlap, cldice, tip = arm["dice"], arm["cldice"], arm["tip_error_px"]
        bounds = f"[{_number(overlap['low'])}, {_number(overlap['high'])}]"
        lines.append(
            f"  {arm['name']:<10} Dice {_number(overlap['mean'])} {bounds}"
            f"  clDice {_number(cldice['mean'])}  tip error {_number(tip['mean'])} px"
        )
    reasons: dict[str, list[str]] = {}
    for name, why in metrics["not_measured"].items():
        reasons.setdefault(why, []).append(name)
    return lines + [f"  {', '.join(names)}: not measured, {why}" for why, names in reasons.items()]


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
