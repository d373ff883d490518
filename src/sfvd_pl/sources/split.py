"""Which patients train, validate and test, and which training clips keep their labels."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from sfvd_pl.errors import SourceError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class SplitConfig:
    """Which patients train, validate and test, and which training clips keep their labels.

    Args:
        val_fraction: Share of the patients for validation; 0 for nobody.
        test_fraction: Share of the patients for the test; 0 for nobody.
        labelled_fraction: Share of the annotated training clips whose masks training may use.
        parts: Every patient to ``train``, ``val`` or ``test``; takes the place of the fractions.
        labelled_clips: Names of the training clips that keep their labels; takes the place of the fraction.

    Raises:
        SourceError: A fraction or a part is none, or nothing is left for training.
    """

    val_fraction: float = 0.2
    test_fraction: float = 0.25
    labelled_fraction: float = 1.0
    parts: dict[str, str] = field(default_factory=dict)
    labelled_clips: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check the fractions and the parts."""
        for key in ("val_fraction", "test_fraction"):
            value = getattr(self, key)
            if not 0 <= value < 1:
                raise SourceError("a split needs a share", key=key, expected="0 <= f < 1", found=value)
        if self.val_fraction + self.test_fraction >= 1:
            found = self.val_fraction + self.test_fraction
            raise SourceError(
                "no patient is left for training",
                key="val_fraction + test_fraction",
                expected="< 1",
                found=found,
            )
        if not 0 < self.labelled_fraction <= 1:
            raise SourceError(
                "not a share of the labelled clips",
                key="labelled_fraction",
                expected="0 < f <= 1",
                found=self.labelled_fraction,
                remedy="give a share, or name the clips that keep their labels",
            )
        if wrong := {patient: part for patient, part in self.parts.items() if part not in SPLITS}:
            raise SourceError("no such part", key="parts", expected=", ".join(SPLITS), found=wrong)


@dataclass(frozen=True)
class ClipMeta:
    """What the split and the choice of labelled clips need to know of a clip."""

    name: str
    patient: str
    split: str
    annotated: bool


def settle(clips: Iterable[ClipMeta], config: SplitConfig, seed: int) -> list[tuple[ClipMeta, bool]]:
    """Each clip with the split of its patient, and whether its masks may be used; the one place that decides it.

    Raises:
        SourceError: The patients can't be split so, a named clip isn't there or can't train, or no training clip has
            masks.
    """
    clips = list(clips)
    names = sorted(clip.name for clip in clips)
    for name in config.labelled_clips:
        if name not in names:
            near = get_close_matches(name, names, cutoff=0.3)
            raise SourceError(
                "there is no such clip to keep its labels",
                key="LABELLED (labelled_clips)",
                expected=f"names of clips, such as {', '.join(near or names[:3])}",
                found=name,
                remedy="correct the name; a file of names holds one on each line",
            )
    named = {clip.patient for clip in clips if clip.name in config.labelled_clips}
    annotated = {clip.patient for clip in clips if clip.annotated}
    splits = assign_splits({clip.patient for clip in clips}, config, seed, annotated=annotated, training=named)
    clips = [replace(clip, split=splits[clip.patient]) for clip in clips]
    able = {clip.name for clip in clips if clip.annotated and clip.split == "train"}
    if unable := [name for name in config.labelled_clips if name not in able]:
        raise SourceError(
            "clips that are to keep their labels can't train",
            key="LABELLED (labelled_clips)",
            expected="clips of training patients that have masks",
            found=", ".join(unable),
            remedy="name others, add masks, or move their patients to the part train",
        )
    if not able:
        raise SourceError(
            "no clip of a training patient has masks",
            key="SPLIT (parts)",
            expected=f"an annotated patient ({', '.join(sorted(annotated))}) in the part train",
        )
    if config.labelled_clips:
        return [(c, c.annotated and (c.split != "train" or c.name in config.labelled_clips)) for c in clips]
    labelled = draw_labelled(clips, config.labelled_fraction, seed)
    return [(clip, labelled[clip.name]) for clip in clips]


def assign_splits(
    patients: Iterable[str],
    config: SplitConfig,
    seed: int,
    *,
    annotated: Collection[str] | None = None,
    training: Collection[str] = (),
) -> dict[str, str]:
    """Give every patient to train, val or test.

    The order in which patients are given doesn't matter: they are ranked by a hash of (seed, patient).
    Validation and test need labels, so they take annotated patients first, and at least one each. Fewer than three of
    these are too few to divide: all of them train, and nobody validates.

    Args:
        patients: Names, repeats allowed.
        config: Parts, or fractions of the annotated patients where there are three or more of them, else of all.
        seed: Another seed gives another split.
        annotated: Patients with annotated clips; None where all have.
        training: Patients who must train.

    Raises:
        SourceError: Fewer patients than parts, or the parts aren't those of these patients.
    """
    names = sorted(set(patients), key=lambda patient: _rank(seed, "split", patient))
    if config.parts:
        return _listed_parts(names, config.parts)
    least = 1 + (config.val_fraction > 0) + (config.test_fraction > 0)
    if len(names) < least:
        raise SourceError(
            "too few patients to split",
            expected=f"at least {least}: one for each part",
            found=f"{len(names)} ({', '.join(names)})",
            remedy="add patients, since frames of one patient must not lie on both sides of a split; or let all of "
            "them train: TEST=none (val_fraction and test_fraction 0)",
        )
    labelled = [name for name in names if annotated is None or name in annotated]
    others = [name for name in names if name not in set(labelled)]
    enough = len(labelled) >= 3
    kept = [name for name in labelled if name in training] or (labelled[:1] if enough else labelled)
    queue = [*(name for name in labelled if name not in kept), *others]
    pool = len(labelled) if enough else len(names)
    n_test, n_val = (max(1, round(f * pool)) if f else 0 for f in (config.test_fraction, config.val_fraction))
    n_val *= enough  # a training is validated by labels only
    while n_test + n_val > min(pool - 1, len(queue)):
        n_test, n_val = (n_test - 1, n_val) if n_test > n_val else (n_test, n_val - 1)
    test, val = set(queue[:n_test]), set(queue[n_test : n_test + n_val])
    return {name: "test" if name in test else "val" if name in val else "train" for name in sorted(names)}


def _listed_parts(names: Sequence[str], parts: Mapping[str, str]) -> dict[str, str]:
    """The user's own split, which must be one of these very patients."""
    missing, unknown = sorted(set(names) - set(parts)), sorted(set(parts) - set(names))
    if missing or unknown:
        found = [f"{what}: {', '.join(who)}" for what, who in (("not listed", missing), ("unknown", unknown)) if who]
        raise SourceError(
            "the split doesn't list the patients of this data set",
            key="SPLIT (parts)",
            expected=f"each of {', '.join(sorted(names))} once, and nobody else",
            found="; ".join(found),
            remedy="correct the list",
        )
    return {name: parts[name] for name in sorted(names)}


def draw_labelled(clips: Sequence[ClipMeta], fraction: float, seed: int) -> dict[str, bool]:
    """Which clips are labelled: a share of the annotated training clips, all annotated ones of val and test.

    Systematic sampling over patients: each patient's clips, shuffled, are spread evenly over [0, 1) from a
    start of the patient's own, and the lowest are taken. So every patient keeps its share up to rounding,
    the total is the rounded share of all (at least one), and a smaller fraction's clips are among a larger
    one's.

    Args:
        clips: All clips, in any order.
        fraction: 0 < fraction <= 1.
        seed: Another seed draws others.

    Returns:
        Name of each clip to whether it is labelled.
    """
    place: dict[str, float] = {}
    by_patient: dict[str, list[str]] = {}
    for clip in clips:
        if clip.annotated and clip.split == "train":
            by_patient.setdefault(clip.patient, []).append(clip.name)
    for patient, names in by_patient.items():
        start = _rank(seed, "start", patient) / 2**64
        for k, name in enumerate(sorted(names, key=lambda name: _rank(seed, "labelled", name))):
            place[name] = (k + start) / len(names)
    count = max(1, round(fraction * len(place)))
    chosen = set(sorted(place, key=lambda name: (place[name], name))[:count])
    return {clip.name: clip.annotated and (clip.split != "train" or clip.name in chosen) for clip in clips}


def _rank(seed: int, purpose: str, name: str) -> int:
    """A number of 64 bit that depends on seed, purpose and name only."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).digest()[:8], "big")
