"""An artifact in a few lines for the terminal."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sfvd_pl.artifacts import Artifact, Kind, file_hash, find_parents
from sfvd_pl.artifacts.schema import GENERATED_KINDS
from sfvd_pl.errors import ArtifactError

NAMES = 12
"""Names that are listed before the rest is counted."""


def describe(artifact: Artifact) -> str:
    """Kind, sizes, attributes, origin, patients, a table of its parts, visibility."""
    height, width = artifact.frame_shape
    attrs = artifact.attrs
    first = [
        f"{artifact.path}: {artifact.kind.value} artifact, schema {artifact.schema_version}, {_disk(artifact)}",
        f"  {artifact.n_clips} clips, {artifact.n_frames} frames of {height} x {width}"
        + (f", pixels 0 to {artifact.intensity_max}" if artifact.kind != Kind.SEGMENTATION else ""),
        f"  content {artifact.content_hash}",
        f"  written {attrs.get('created')} by {attrs.get('producer')}, commit {attrs.get('git_commit')}",
        f"  seed {artifact.seed}, settings {str(attrs.get('config_hash'))[:12]}: {', '.join(artifact.config) or '-'}",
        *_parents(artifact),
        f"  {_who(artifact)}: {_listed(artifact.patients)}",
    ]
    tables = {Kind.SOURCE: _source, Kind.SEGMENTATION: _segmentation}
    return "\n".join([*first, *tables.get(artifact.kind, _generated)(artifact), *_ignored(artifact)])


def _ignored(artifact: Artifact) -> list[str]:
    """Share of the clips' pixels of which nobody knows whether they show a wire."""
    if "frames/ignore" not in artifact.keys:
        return []
    ignored = pixels = 0
    for clip in range(artifact.n_clips):
        height, width = (int(artifact.column(f"clips/{key}")[clip]) for key in ("height", "width"))
        values = artifact.clip_rows("frames/ignore", clip)[:, :height, :width]
        ignored, pixels = ignored + int(values.sum()), pixels + values.size
    return [f"  ignored pixels: {ignored / pixels:.2%}"]


def _who(artifact: Artifact) -> str:
    role = "holds" if artifact.kind == Kind.SOURCE else "learned from"
    return f"{role} {len(artifact.patients)} patients"


def _disk(artifact: Artifact) -> str:
    size = float(artifact.path.stat().st_size)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _parents(artifact: Artifact) -> list[str]:
    """Each parent, and whether the file where it usually lies is still the same."""
    at_hand = find_parents(artifact)
    folder = artifact.path.absolute().parent
    lines = [
        f"  made from {name} {digest[:12]}{_state(at_hand.get(name), digest, folder)}"
        for name, digest in artifact.parents.items()
    ]
    return lines or ["  made from no other artifact"]


def _state(path: Path | None, digest: str, folder: Path) -> str:
    if path is None:
        return ""
    name = path.relative_to(folder)
    try:
        return f" ({name} is the same)" if file_hash(path) == digest else f" ({name} HOLDS SOMETHING ELSE)"
    except (ArtifactError, OSError):
        return f" ({name} CAN'T BE READ)"


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return (", ".join(names[:NAMES]) or "nobody") + more


def _source(artifact: Artifact) -> list[str]:
    column = artifact.column
    split, patient, length = column("clips/split"), column("clips/patient"), column("clips/length")
    of_frame = np.repeat(np.arange(artifact.n_clips), length)[np.argsort(_frame_order(artifact), kind="stable")]
    annotated, visibility = column("frames/annotated"), column("frames/visibility")
    rows = []
    for part in ("train", "val", "test"):
        chosen = split == part
        frames = chosen[of_frame]
        rows.append(
            [part, len(set(patient[chosen])), int(chosen.sum()), int(frames.sum()), int(annotated[frames].sum()),
             int(column("clips/labelled")[chosen].sum()), _deciles(visibility[frames])]
        )  # fmt: skip
    head = ["", "patients", "clips", "frames", "annotated", "labelled clips", "visibility 10/50/90 %"]
    facts = {name: Counter(map(str, column(f"clips/{name}"))) for name in ("origin", "intensity")}
    lines = [*_table(head, rows), *(f"  {name}: {_counted(counts)}" for name, counts in facts.items())]
    for name, unit in (("fps", "Hz"), ("spacing_mm", "mm")):
        lines.append(f"  {name}: {_span(column(f'clips/{name}'), unit)}")
    return lines


def _frame_order(artifact: Artifact) -> npt.NDArray[np.int64]:
    """Row of the frames table of each frame, clip after clip."""
    start, length = artifact.column("clips/start"), artifact.column("clips/length")
    return np.concatenate([np.arange(s, s + n) for s, n in zip(start, length, strict=True)])


def _generated(artifact: Artifact) -> list[str]:
    column, keys = artifact.column, artifact.keys
    groups: dict[str, npt.NDArray[np.bool_]] = {}
    if "clips/accepted" in keys:
        accepted = column("clips/accepted")
        groups = {"accepted": accepted, "rejected": ~accepted}
    else:
        origin = column("clips/mask_origin")
        groups = {f"{name} masks": origin == name for name in ("labelled", "simulated", "vessel")}
    numbers = [
        (label, column(f"clips/{key}"))
        for label, key in (
            ("asked visibility", "requested_visibility"),
            ("measured", "measured_visibility"),
            ("gate's Dice", "gate_dice"),
        )
        if f"clips/{key}" in keys
    ]
    if artifact.kind == Kind.MOTIONS:
        numbers.append(("measured", _clip_medians(artifact)))
    rows = [
        [name, int(chosen.sum()), *(_deciles(values[chosen]) for _, values in numbers)]
        for name, chosen in groups.items()
    ]
    lines = _table(["", "clips", *(f"{label} 10/50/90 %" for label, _ in numbers)], rows)
    if "clips/reject_reason" in keys:
        reasons = Counter(str(reason) for reason in column("clips/reject_reason") if reason)
        lines += [f"  rejected because: {_counted(reasons)}"] if reasons else []
    assert artifact.kind in GENERATED_KINDS
    lines.append(f"  mask sequences: {_shares(column('clips/mask_origin'))}")
    if artifact.kind == Kind.SYNTHETIC:
        shown = [str(patient) for patient in column("clips/background_patient") if patient]
        lines += [
            f"  {len(shown)} of {artifact.n_clips} clips show a real clip, of patients: "
            f"{_counted(Counter(shown)) or 'nobody'}",
            f"  hard clips, chosen because the guide fails on them: {int(column('clips/hard').sum())}",
        ]
    return lines


def _clip_medians(artifact: Artifact) -> npt.NDArray[np.floating]:
    values = [artifact.clip_rows("frames/visibility", clip) for clip in range(artifact.n_clips)]
    return np.array([np.nanmedian(v) if np.isfinite(v).any() else np.nan for v in values])


def _segmentation(artifact: Artifact) -> list[str]:
    patients = Counter(str(name) for name in artifact.column("clips/patient"))
    return [
        f"  arms: {', '.join(map(str, artifact.column('arms/name')))}",
        f"  predicted patients: {_listed(sorted(patients))}",
    ]


def _deciles(values: npt.NDArray[np.floating]) -> str:
    known = values[np.isfinite(values)]
    if not known.size:
        return "unknown"
    return " / ".join(f"{number:.2f}" for number in np.quantile(known, (0.1, 0.5, 0.9)))


def _span(values: npt.NDArray[np.floating], unit: str) -> str:
    known = values[np.isfinite(values)]
    unknown = len(values) - len(known)
    text = f"{known.min():.3g} to {known.max():.3g} {unit}" if known.size else ""
    return ", ".join(part for part in (text, f"unknown in {unknown} clips" if unknown else "") if part)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def _shares(values: Iterable[object]) -> str:
    counts = Counter(map(str, values))
    return ", ".join(f"{name} {count} ({count / counts.total():.0%})" for name, count in counts.most_common())


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Columns of text under one another, the first to the left and the rest to the right."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    lines = []
    for row in cells:
        first, *others = [(text, width) for text, width in zip(row, widths, strict=True)]
        lines.append("  ".join(["", first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]).rstrip())
    return lines
