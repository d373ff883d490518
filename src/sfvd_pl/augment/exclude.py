"""Generated clips without those that were found to be copies of training clips."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sfvd_pl.artifacts import Artifact, ArtifactWriter, Kind, Provenance
from sfvd_pl.errors import ArtifactError, ConfigError, MetricsError
from sfvd_pl.metrics.schema import read_metrics

KINDS = (Kind.SCENES, Kind.MOTIONS, Kind.SYNTHETIC)


def found_copies(metrics: Path | str, artifact: Artifact) -> dict[str, str]:
    """Clips of an artifact that a metrics file calls copies, each with the training clip it is one of.

    Raises:
        MetricsError: The file can't be read, doesn't say, or measured another artifact.
    """
    section = read_metrics(metrics).get("memorisation")
    if section is None:
        raise MetricsError(
            "this metrics file doesn't say which clips are copies",
            file=metrics,
            key="memorisation",
            expected="the section",
            found="none",
            remedy="measure it: sfvd evaluate ... --only memorisation",
        )
    if section["artifact"] != artifact.content_hash:
        raise MetricsError(
            "this metrics file is about another artifact",
            file=metrics,
            key="memorisation.artifact",
            expected=f"{artifact.content_hash} ({artifact.path})",
            found=section["artifact"] or "no artifact",
            remedy="measure this artifact, or pass the one that was measured",
        )
    copies = [clip for clip in section["clips"] if clip["verdict"] == "copy"]
    return {clip["clip"]: _original(clip) for clip in copies}


def _original(clip: dict[str, Any]) -> str:
    """The training clip named by the first level that calls a clip a copy."""
    named = {entry["level"]: entry["training_clip"] for entry in clip["nearest"]}
    return str(next((named[level] for level in clip["by"] if level in named), ""))


def exclude_copies(path: Path | str, metrics: Path | str, out: Path | str, *, overwrite: bool = False) -> list[str]:
    """Write an artifact of generated clips again without the copies of training clips.

    The copies' pictures and masks are not in the new file, so it can be handed on. It keeps the settings, parents and
    patients of the old one, names that one as a further parent, and lists what was left out under ``excluded`` in its
    settings. Whatever takes the old file takes the new one.

    Args:
        path: Scenes, motions or synthetic.
        metrics: The ``metrics.json`` that has measured it.
        out: The artifact to write; written also where there is no copy, so that what follows can rely on it.
        overwrite: Replace an artifact of this name.

    Returns:
        Names of the clips left out.

    Raises:
        ArtifactError: Another kind of artifact, or the name is taken.
        MetricsError: See :func:`found_copies`.
        ConfigError: Every clip is a copy.
    """
    old = Artifact.open(Path(path))
    if old.kind not in KINDS:
        raise ArtifactError(
            "only generated clips can be copies of training clips",
            file=path,
            key="kind",
            expected="scenes, motions or synthetic",
            found=old.kind.value,
        )
    copies = found_copies(metrics, old)
    names = [str(name) for name in old.column("clips/name")]
    kept = [row for row, name in enumerate(names) if name not in copies]
    if not kept:
        raise ConfigError(
            "every clip is a copy of a training clip, so nothing would be left",
            file=metrics,
            key="memorisation.clips",
            expected="a clip that is none",
            found=f"{len(copies)} copies of {len(names)} clips",
            remedy="train the scene and motion models on more patients, or for fewer steps",
        )
    digest = hashlib.sha256(Path(metrics).read_bytes()).hexdigest()
    left_out = [name for name in names if name in copies]
    excluded = [*old.config.get("excluded", []), *({"clip": name, "copy_of": copies[name]} for name in left_out)]
    provenance = Provenance(
        seed=old.seed,
        config={**old.config, "excluded": excluded},
        parents={**old.parents, old.kind.value: old.content_hash, "metrics": digest},
        patients=old.patients,
    )
    with ArtifactWriter(
        Path(out), old.kind, provenance, intensity_max=old.intensity_max, overwrite=overwrite
    ) as writer:
        for key in old.keys:
            _copy_rows(old, writer, key, kept)
    return left_out


def _copy_rows(old: Artifact, writer: ArtifactWriter, key: str, kept: Sequence[int]) -> None:
    """One column of the clips that are kept; pictures clip by clip."""
    length = old.column("clips/length")[list(kept)]
    if key == "clips/start":
        writer.write(key, np.cumsum(length) - length)
    elif "N" in old.facts[key].axes.split():
        for row in kept:
            writer.append(key, old.clip_rows(key, row))
    elif old.schema.by_key[key].streamed:
        for row in kept:
            writer.append(key, old.rows(key, row, row + 1))
    else:
        values = old.column(key)[list(kept)]
        writer.write(key, [str(value) for value in values] if values.dtype == object else values)
