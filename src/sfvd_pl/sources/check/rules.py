"""From what was measured to findings: one function a kind, each with the limit it was held against."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from sfvd_pl.metrics.quality.copies import GRAIN, STRUCTURE
from sfvd_pl.metrics.quality.exposure import robust_z
from sfvd_pl.metrics.quality.facts import ClipFacts, CopyFacts, Limits
from sfvd_pl.metrics.quality.findings import Finding, Severity, is_accepted
from sfvd_pl.metrics.quality.placement import MIN_FRAMES
from sfvd_pl.sources.check.copies import spanning
from sfvd_pl.sources.split import SPLITS

LEAST_Z = 5.0
"""Significance, over frames, that a displaced mask needs."""
LEAST_LATE_Z = 3.0
LEAST_SHARE = 0.8
"""Share of the frames that must agree."""
SAME_GAIN = 0.9
"""Share of the best displacement's darkness from which another frame explains it as well."""
LEAST_BEST = 0.3
"""Darkness that the better place must have: a wire, not the darkest noise around."""
LEAST_CLIPS = 8
"""Clips from which one can be unlike the others."""
LEAST_MEAN = 0.15
"""Difference in mean intensity, as a share of full scale, below which nobody is an outlier."""
LEAST_FACTOR = 2.5
"""The same for noise, as a factor."""
LEAST_NOISE = 1e-5
"""Share of full scale that stands for no noise at all, which has no logarithm."""


def apply_rules(
    clips: Sequence[ClipFacts],
    copies: Sequence[CopyFacts],
    limits: Limits,
    *,
    window: int = 0,
    frames: int = 0,
    accepted: Sequence[str] = (),
) -> list[Finding]:
    """All findings, by topic.

    Args:
        clips: Of the artifact, in order.
        copies: Pairs of them that share frames.
        limits: What they are held against.
        window: Training window in pixels; 0 for none.
        frames: Frames of a training clip; 0 for none.
        accepted: Errors that are known: of a group of copies, those that aren't are listed first.
    """
    found = [*_copies(clips, copies, accepted), *_coverage(clips, limits)]
    for clip in clips:
        found += [*_placement(clip, limits), *_masks(clip, limits), *_frames(clip, window, frames)]
        found += _exposure(clip, limits)
    return [*found, *_outliers(clips, limits), *_mixed(clips)]


def notes_on(clips: Sequence[ClipFacts]) -> Iterator[str]:
    """What is no fault, but good to know."""
    for what, unknown in (
        ("pixel spacing", [np.isnan(clip.spacing_mm) for clip in clips]),
        ("frame rate", [np.isnan(clip.fps) for clip in clips]),
    ):
        if all(unknown):
            yield f"{what} is unknown for every clip"
    empty = sum(len(clip.annotated) - clip.wired for clip in clips)
    if empty:
        yield f"{empty} annotated frame{'s hold' if empty > 1 else ' holds'} no wire: an empty mask"
    unlabelled = sum(not clip.wired for clip in clips)
    if unlabelled:
        yield f"clips without a labelled wire: {unlabelled}; whether their wire is dark can't be told"


def _copies(
    clips: Sequence[ClipFacts], copies: Sequence[CopyFacts], accepted: Sequence[str]
) -> Iterator[Finding]:
    found = [_copy(clips[pair.first], clips[pair.second], pair) for pair in copies]
    gravity = ("copy-across-splits", "copy-across-patients", "copy-within-patient")
    # One leak that somebody knows of must not stand for another that nobody does.
    ranks = [2 * gravity.index(finding.code) + is_accepted(finding, accepted) for finding in found]
    kept = {id(pair) for pair in spanning(copies, ranks)}
    yield from (finding for finding, pair in zip(found, copies, strict=True) if id(pair) in kept)


def _copy(one: ClipFacts, two: ClipFacts, pair: CopyFacts) -> Finding:
    leak = one.split != two.split
    within = "copy-within-patient" if one.patient == two.patient else "copy-across-patients"
    facts = f"correlation of grain {pair.grain:.2f}, of structure {pair.structure:.2f}"
    facts = "identical pixels" if pair.exact else facts
    where = f"{one.split} and {two.split}: " if leak else ""
    return Finding(
        "copy-across-splits" if leak else within,
        "error" if leak else "warning",
        one.name,
        tuple(a for a, _ in pair.frames),
        f"{where}{len(pair.frames)} of {one.frames} and {two.frames} frames, {facts}"
        + (f"; {pair.how}" if pair.how else ""),
        f"grain below {GRAIN:g}, structure below {STRUCTURE:g}",
        two.name,
        tuple(b for _, b in pair.frames),
        1.0 if pair.exact else float(np.nanmax([pair.grain, pair.structure])),
    )


def _coverage(clips: Sequence[ClipFacts], limits: Limits) -> Iterator[Finding]:
    for split in SPLITS:
        inside = [clip for clip in clips if clip.split == split]
        labelled = [clip for clip in inside if clip.labelled and clip.wired]
        patients, frames = len({clip.patient for clip in labelled}), sum(clip.wired for clip in labelled)
        names = inside[0].name if inside else ""
        if not inside and split != "train":
            continue
        if frames == 0:
            # Without labels nothing can be learned; without those of others it can only not be measured.
            severity: Severity = "error" if split == "train" else "warning"
            yield Finding("no-labels", severity, names, (), f"{split}: no labelled frame", "at least one", value=0.0)
        elif patients < limits.patients or frames < limits.frames:
            measured = f"{split}: {patients} labelled patient{'' if patients == 1 else 's'}, {frames} labelled frames"
            limit = f"{limits.patients} patients, {limits.frames} frames"
            yield Finding(
                "few-labels", "warning", labelled[0].name, (), measured, limit, value=float(patients)
            )


def _placement(clip: ClipFacts, limits: Limits) -> Iterator[Finding]:
    wired = tuple(t for t, mask in zip(clip.annotated, clip.masks, strict=True) if mask.pixels)
    if any(mask.share > limits.area_share or mask.width_px > limits.width_px for mask in clip.masks):
        return  # no wire's mask, so it tells nothing of a wire
    place = clip.placement
    # Beside a dark wire it may be bright, too; what is brighter than anything near is dark is the wire itself.
    if clip.visibility < limits.bright and (place is None or place.bright >= place.best):
        measured = f"median CNR {clip.visibility:.2f}"
        yield Finding(
            "wire-bright",
            "error",
            clip.name,
            wired,
            measured,
            f"{limits.bright:g} or more",
            value=clip.visibility,
        )
        return
    if place is None or place.frames < MIN_FRAMES:
        return
    ratio = place.best / max(place.own, 0.05)
    consistent = place.z >= LEAST_Z and place.share >= LEAST_SHARE and place.best >= LEAST_BEST
    beside = place.distance_px >= limits.offset_px and ratio >= limits.offset_gain and consistent
    consistent = place.lag_z >= LEAST_LATE_Z and place.lag_share >= LEAST_SHARE
    late = place.lag != 0 and place.lag_gain >= limits.late_gain and consistent
    if beside and late:
        # A wire that moves is both beside an early mask and fitted by a later frame: what explains it better counts.
        late = place.own + place.lag_gain >= SAME_GAIN * place.best
        beside = not late
    if beside:
        down, right = place.offset_px
        clear = ratio >= limits.error_gain
        measured = (
            f"fits better {abs(down)} px {'lower' if down > 0 else 'higher'} and {abs(right)} px further "
            f"{'right' if right > 0 else 'left'}: darkness {place.best:.2f} instead of {place.own:.2f}, "
            f"in {place.share:.0%} of {place.frames} frames"
        )
        limit = f"less than {limits.offset_px} px, or {limits.offset_gain:g} times as dark"
        severity: Severity = "error" if clear else "warning"
        yield Finding(
            "mask-beside", severity, clip.name, wired, measured, limit, value=float(place.distance_px)
        )
    elif place.own < limits.unseen:
        measured = f"darkness {place.own:.2f} under the masks"
        yield Finding(
            "wire-unseen",
            "warning",
            clip.name,
            wired,
            measured,
            f"{limits.unseen:g} or more",
            value=place.own,
        )
    if late:
        measured = (
            f"the mask of frame t fits frame t{place.lag:+d} better, by {place.lag_gain:.2f} in darkness, in "
            f"{place.lag_share:.0%} of the frames"
        )
        severity = "error" if place.lag_gain >= 2 * limits.late_gain else "warning"
        limit = f"gain below {limits.late_gain:g}"
        yield Finding("mask-late", severity, clip.name, wired, measured, limit, value=float(place.lag))


def _masks(clip: ClipFacts, limits: Limits) -> Iterator[Finding]:
    shapes = list(zip(clip.annotated, clip.masks, strict=True))

    def over(
        code: str, severity: Severity, values: list[tuple[int, float]], unit: str, limit: str
    ) -> Finding:
        worst = max(values, key=lambda item: abs(item[1]))[1]
        return Finding(
            code, severity, clip.name, tuple(t for t, _ in values), f"{worst:g} {unit}", limit, value=worst
        )

    if large := [(t, round(m.share, 3)) for t, m in shapes if m.share > limits.area_share]:
        yield over("mask-area", "error", large, "of the frame", f"at most {limits.area_share:g}")
    elif thick := [(t, m.width_px) for t, m in shapes if m.width_px > limits.width_px]:
        none = float(np.median([width for _, width in thick])) > 2 * limits.width_px
        values = [(t, round(width, 1)) for t, width in thick]
        yield over(
            "mask-thick", "error" if none else "warning", values, "px wide", f"at most {limits.width_px:g} px"
        )
    if pieces := [(t, float(m.pieces)) for t, m in shapes if m.pieces > limits.pieces]:
        yield over("mask-pieces", "warning", pieces, "pieces", f"at most {limits.pieces}")
    if tiny := [(t, float(m.pixels)) for t, m in shapes if 0 < m.pixels < limits.pixels]:
        yield over("mask-tiny", "warning", tiny, "px", f"at least {limits.pixels} px")
    pixels = {t: m.pixels for t, m in shapes}
    gaps = tuple(t for t, n in pixels.items() if n == 0 and pixels.get(t - 1) and pixels.get(t + 1))
    if gaps:
        measured = f"{len(gaps)} empty between two with a wire"
        yield Finding("mask-gap", "warning", clip.name, gaps, measured, "none", value=float(len(gaps)))


def _frames(clip: ClipFacts, window: int, frames: int) -> Iterator[Finding]:
    repeated, identical = clip.exposure.repeated, clip.exposure.identical
    if clip.frames > 1 and len(identical) == clip.frames - 1:
        measured = f"{len(identical)} of {clip.frames - 1} frames are identical to the one before"
        yield Finding("frozen-clip", "error", clip.name, identical, measured, "none", value=1.0)
    elif repeated:
        measured = f"{len(repeated)} of {clip.frames - 1}, {len(identical)} of them identical"
        share = len(repeated) / (clip.frames - 1)
        yield Finding("frozen-frames", "warning", clip.name, repeated, measured, "none", value=share)
    if 0 < clip.frames < frames:
        measured, limit = f"{clip.frames} frames", f"{frames} frames"
        yield Finding("short-clip", "warning", clip.name, (), measured, limit, value=float(clip.frames))
    side = min(clip.height, clip.width)
    if side < window:
        measured = f"{clip.height} x {clip.width}"
        yield Finding(
            "small-frame", "warning", clip.name, (), measured, f"{window} x {window}", value=float(side)
        )


def _exposure(clip: ClipFacts, limits: Limits) -> Iterator[Finding]:
    seen = clip.exposure
    if seen.low + seen.high > limits.clipped:
        measured = f"{seen.low:.1%} of the pixels at 0, {seen.high:.1%} at full scale"
        limit = f"{limits.clipped:.0%} together"
        yield Finding("clipped", "warning", clip.name, (), measured, limit, value=seen.low + seen.high)
    if seen.border_share > limits.border:
        top, bottom, left, right = seen.border_px
        measured = f"{top}, {bottom}, {left}, {right} px at top, bottom, left, right"
        measured += f": {seen.border_share:.0%} of the frame"
        yield Finding(
            "constant-border",
            "warning",
            clip.name,
            (),
            measured,
            f"{limits.border:.0%}",
            value=seen.border_share,
        )
    if seen.levels < limits.levels:
        measured = f"{seen.levels} different values"
        yield Finding(
            "few-levels",
            "warning",
            clip.name,
            (),
            measured,
            f"at least {limits.levels}",
            value=float(seen.levels),
        )


def _outliers(clips: Sequence[ClipFacts], limits: Limits) -> Iterator[Finding]:
    if len(clips) < LEAST_CLIPS:
        return
    means = np.array([clip.exposure.mean for clip in clips])
    noise = np.array([clip.exposure.noise for clip in clips])
    # A clip that stands still has its own finding; one of one frame has no noise to speak of.
    moving = np.array(
        [np.isfinite(c.exposure.noise) and len(c.exposure.identical) < c.frames - 1 for c in clips]
    )
    logs = np.where(moving, np.log(np.maximum(np.where(moving, noise, 1.0), LEAST_NOISE)), np.nan)
    middle = float(np.nanmedian(logs)) if moving.any() else float("nan")
    limit = f"robust z within {limits.outlier_z:g}"
    for clip, mean, log, z_mean, z_noise in zip(
        clips, means, logs, robust_z(means), robust_z(logs), strict=True
    ):
        if abs(z_mean) > limits.outlier_z and abs(mean - np.median(means)) > LEAST_MEAN:
            measured = f"mean {mean:.2f} of full scale, others {np.median(means):.2f} (z {z_mean:+.1f})"
            yield Finding("exposure-outlier", "warning", clip.name, (), measured, limit, value=float(z_mean))
        if abs(z_noise) > limits.outlier_z and abs(log - middle) > np.log(LEAST_FACTOR):
            measured = f"noise {np.exp(log - middle):.2f} times that of the others (z {z_noise:+.1f})"
            yield Finding("noise-outlier", "warning", clip.name, (), measured, limit, value=float(z_noise))


def _mixed(clips: Sequence[ClipFacts]) -> Iterator[Finding]:
    """One finding for the whole set, at a clip of the rarest kind."""
    for code, unit, values in (
        ("mixed-spacing", "mm", [clip.spacing_mm for clip in clips]),
        ("mixed-rate", "Hz", [clip.fps for clip in clips]),
    ):
        kinds = ["unknown" if np.isnan(value) else f"{value:.3g} {unit}" for value in values]
        counts = Counter(kinds)
        if len(counts) > 1:
            rarest = min(counts, key=lambda kind: counts[kind])
            measured = ", ".join(f"{kind}: {count} clips" for kind, count in counts.most_common(5))
            measured += ", ..." if len(counts) > 5 else ""
            where = clips[kinds.index(rarest)].name
            yield Finding(code, "warning", where, (), measured, "one for all", value=float(len(counts)))
