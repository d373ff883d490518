"""From what a user asks for to sets of clips and networks, with every guard against leaks."""

from pathlib import Path

from sfvd_pl.artifacts import Artifact, Kind, refuse_seen, refuse_seen_by
from sfvd_pl.datasets.backgrounds import shown_by_clip
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.joined import Joined
from sfvd_pl.datasets.sets import ArtifactClips, ClipSet, WindowClips
from sfvd_pl.errors import ArtifactError, ConfigError
from sfvd_pl.modules.checkpoint import load_for_inference
from sfvd_pl.modules.features import domain_spaces
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.networks.features import FeatureSpace, imagenet_space, script_space
from sfvd_pl.pipeline.evaluation.context import Inputs
from sfvd_pl.pipeline.evaluation.settings import EvaluateSettings
from sfvd_pl.pipeline.hashing import file_hash
from sfvd_pl.pipeline.inference import default_device

SPLITS = ("train", "val", "test")
SOURCE_FRAMES = 16
"""Frames of the windows where two sources are compared."""


def gather(settings: EvaluateSettings) -> Inputs:
    """Open everything, refuse what must not be measured together, and say what is missing.

    Raises:
        ArtifactError: An artifact can't be read or is of the wrong kind.
        ConfigError: Settings contradict one another.
        LeakError: The generator or the evaluator was learned from a patient of the reference.
    """
    real = Artifact.open(settings.real, Kind.SOURCE)
    made = Artifact.open(settings.generated)
    if settings.split not in SPLITS:
        raise ConfigError("there is no such split", key="split", expected=", ".join(SPLITS), found=settings.split)
    held_out = ClipIndex(settings.real, settings.split).patients
    if made.kind is Kind.SEGMENTATION:
        raise ArtifactError(
            "predictions hold no clips to measure",
            file=settings.generated,
            key="kind",
            expected="scenes, motions, synthetic or source",
            found=made.kind.value,
            remedy="pass them with --segmentation, and the clips with --generated",
        )
    if made.kind is not Kind.SOURCE:
        refuse_seen_by(made, held_out, what="the generator of the synthetic clips")
    missing: dict[str, str] = {}
    window, frames = _extent(settings, real, made)
    reference = _windows(settings, settings.real, settings.split, window, frames)
    if not held_out:
        missing["reference"] = (
            f"{_nobody(settings)}, so how generated clips compare with real ones of patients whom nothing was learned "
            "from can't be known"
        )
    elif reference is None:
        missing["reference"] = (
            f"no clip of the {settings.split} patients keeps the wire in view"
            + (f" of a window of {window} px" if window else "")
        )
    training = _windows(settings, settings.real, "train", window, frames, with_wire=False)
    if training is None:
        missing["training"] = "there are no training clips"
    synthetic = _generated(settings, made, window, frames)
    evaluator, weights = _evaluator(settings, held_out, missing)
    spaces, absent = _spaces(settings, held_out)
    if not spaces:
        missing["spaces"] = "there is no feature space (--features_ckpt, or pip install 'sfvd-pl[metrics]')"
    if not settings.segmentation:
        unlabelled = not len(ClipIndex(settings.real, settings.split, "annotated").labelled_rows)
        missing["segmentation"] = (
            f"{_nobody(settings)}, so whether generated clips make a better segmenter can't be known"
            if unlabelled
            else "no predictions of compared segmenters were given (--segmentation)"
        )
    sets = {"synthetic": synthetic, "reference": reference, "training": training}
    seeds = _seeds(settings)
    return Inputs(
        source=settings.real,
        synthetic=synthetic,
        reference=reference,
        training=training,
        evaluator=evaluator,
        spaces=spaces,
        absent_spaces=absent,
        segmentation=tuple(settings.segmentation),
        seeds=seeds,
        identities={
            "source": real.content_hash,
            "evaluator": weights,
            "spaces": " ".join([f"{s.name} {s.weights_sha256} {s.resizing}" for s in spaces] + sorted(absent)),
            "segmentation": " ".join(
                f"{seed} {file_hash(path)}" for seed, path in zip(seeds, settings.segmentation, strict=True)
            ),
            **{name: clips.identity for name, clips in sets.items() if clips is not None},
        },
        missing=missing,
    )


def _nobody(settings: EvaluateSettings) -> str:
    """That no patient of the reference is there, or labelled; ``report.summary`` knows these words of the test."""
    somebody = bool(ClipIndex(settings.real, settings.split).patients)
    return f"no {settings.split} patient has labels" if somebody else f"there are no {settings.split} patients"


def _seeds(settings: EvaluateSettings) -> tuple[int, ...]:
    seeds = settings.seeds or range(len(settings.segmentation))
    if len(seeds) != len(settings.segmentation):
        raise ConfigError(
            "there is not one seed for each artifact of predictions",
            key="seeds",
            expected=f"{len(settings.segmentation)} seeds",
            found=f"{len(seeds)}",
            remedy="give --seeds in the order of --segmentation",
        )
    return tuple(seeds)


def _extent(settings: EvaluateSettings, real: Artifact, made: Artifact) -> tuple[int, int]:
    """Side (0: whole frames) and frames of the windows that are compared."""
    if made.kind is Kind.SOURCE:
        sides = [int(a.column(f"clips/{side}").min()) for a in (real, made) for side in ("height", "width")]
        return settings.window or min(sides), settings.frames or SOURCE_FRAMES
    side = 0 if any(shown_by_clip(made, "background_patient")) else int(made.column("clips/height").min())
    if settings.window not in (0, side):
        raise ConfigError(
            "generated clips have their size already",
            key="window",
            expected="0" if side == 0 else f"{side} (theirs), or 0",
            found=settings.window,
        )
    longest = 1 if made.kind is Kind.SCENES else int(made.column("clips/length").max())
    return side, settings.frames or longest


def _windows(
    settings: EvaluateSettings,
    source: Path,
    split: str,
    window: int,
    frames: int,
    *,
    with_wire: bool | None = None,
) -> WindowClips | None:
    """Windows of a split; around the wire where it has labels, unless told. None where there is no window."""
    index = ClipIndex(source, split, "annotated")
    clips = WindowClips(
        source,
        split,
        window=window,
        frames=frames,
        seed=settings.seed,
        windows_per_clip=settings.windows_per_clip,
        with_wire=bool(len(index.labelled_rows)) if with_wire is None else with_wire,
    )
    return clips if len(clips) else None


def _generated(settings: EvaluateSettings, made: Artifact, window: int, frames: int) -> ClipSet | None:
    if made.kind is not Kind.SOURCE:
        return ArtifactClips(settings.generated)
    parts = [_windows(settings, settings.generated, split, window, frames) for split in SPLITS]
    return Joined(tuple(part for part in parts if part is not None), title=f"clips of {settings.generated.name}")


def _evaluator(
    settings: EvaluateSettings, held_out: tuple[str, ...], missing: dict[str, str]
) -> tuple[SegmentationModule | None, str]:
    """The segmenter that looks for the wire, and the digest of its file."""
    if settings.evaluator_ckpt is None:
        missing["evaluator"] = "no segmenter that looks for the wire was given (--evaluator_ckpt)"
        return None, ""
    evaluator = load_for_inference(SegmentationModule, settings.evaluator_ckpt, default_device())
    known = evaluator.learned_from.get("patients", ())
    refuse_seen(known, held_out, what="the evaluator", file=settings.evaluator_ckpt)
    return evaluator, file_hash(settings.evaluator_ckpt)


def _spaces(
    settings: EvaluateSettings, held_out: tuple[str, ...]
) -> tuple[tuple[FeatureSpace, ...], dict[str, str]]:
    """Feature spaces, and why others are not there."""
    device, absent = default_device(), dict[str, str]()
    spaces: list[FeatureSpace] = []
    if settings.features_ckpt is None:
        absent["domain-frames"] = absent["domain-clips"] = "no network of this domain was given (--features_ckpt)"
    else:
        spaces += domain_spaces(settings.features_ckpt, device, unseen=held_out)
    try:
        spaces.append(imagenet_space(device))
    except ConfigError as error:
        absent["imagenet-efficientnet-lite0"] = f"{error.message}: {error.remedy}"
    if settings.feature_script is None:
        absent["torchscript"] = "no network of the user's own was given (--feature_script)"
    else:
        spaces.append(script_space(settings.feature_script, device))
    return tuple(spaces), absent
