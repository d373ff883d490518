"""Whom something was learned from, and whom it must therefore not be tested on.

Patients are told apart by their names within a source. Two sources may call one patient differently; clips that
look alike under two names are found by ``sfvd data check``.
"""

import os
from collections.abc import Iterable

from sfvd_pl.artifacts.store import Artifact
from sfvd_pl.errors import ArtifactError, LeakError


def mask_patients(artifact: Artifact, among: Iterable[str]) -> set[str]:
    """Those of some patients whose real clips gave a generated clip of the artifact its masks.

    A clip is named ``<patient>/<run>``, and ``clips/mask_source`` names the clip that a sequence is from.
    """
    if "clips/mask_origin" not in artifact.keys:
        return set()
    columns = (artifact.column("clips/mask_origin"), artifact.column("clips/mask_source"))
    clips = {str(source) for origin, source in zip(*columns, strict=True) if origin != "simulated"}
    return {patient for patient in among if any(clip.startswith(f"{patient}/") for clip in clips)}


def refuse_seen(
    learned: Iterable[str], unseen: Iterable[str], *, what: str, file: str | os.PathLike[str] | None
) -> None:
    """Refuse what was learned from patients who must stay unseen.

    Args:
        learned: Patients that it was learned from.
        unseen: Patients whose results are to be trusted.
        what: Names it, as the subject of a sentence: ``the guide``.
        file: Where it lies.

    Raises:
        LeakError: It doesn't say whom it was learned from, or was learned from somebody unseen; the error names them.
    """
    learned = set(learned)
    if not learned:
        raise LeakError(
            f"{what} doesn't say whom it was learned from",
            file=file,
            key="patients",
            expected="the names of training patients",
            found="none",
            remedy="make it again with this version",
        )
    leaked = sorted(learned & set(unseen))
    if leaked:
        raise LeakError(
            f"{what} was learned from patients that must stay unseen",
            file=file,
            key="patients",
            expected="training patients only",
            found=", ".join(leaked),
            remedy="train it on the split of the source that it is used with",
        )


def refuse_seen_by(artifact: Artifact, unseen: Iterable[str], *, what: str) -> None:
    """Refuse a generated artifact that unseen patients went into: through a model, as a background (the writer keeps
    only artifacts that name those among their patients), or as the source of a mask sequence.

    Raises:
        LeakError: As :func:`refuse_seen`.
    """
    unseen = set(unseen)
    learned = {*artifact.patients, *mask_patients(artifact, unseen)}
    learned = learned if artifact.patients else set()
    refuse_seen(learned, unseen, what=what, file=artifact.path)


def require_source(artifact: Artifact, source: Artifact, unseen: Iterable[str]) -> None:
    """Refuse a generated artifact of another source, or one that unseen patients went into.

    Raises:
        LeakError: Somebody unseen went into it; the error names them.
        ArtifactError: It was made from another source.
    """
    refuse_seen_by(artifact, unseen, what=f"the {artifact.kind} artifact")
    found = artifact.parents.get("source", "no source")
    if found != source.content_hash:
        raise ArtifactError(
            f"the {artifact.kind} artifact was made from another source",
            file=artifact.path,
            key="parents['source']",
            expected=f"{source.content_hash} ({source.path})",
            found=found,
            remedy="run the stages before this one on this source",
        )
