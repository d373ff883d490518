"""Frames to train and test wire segmenters on."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch.utils.data import Dataset

from sfvd_pl.artifacts import Artifact, Kind, refuse_seen, refuse_seen_by
from sfvd_pl.datasets.batch import FrameBatch
from sfvd_pl.datasets.courses import MIN_WIRE_PIXELS, random_course
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.paste import moved_course, render_wire
from sfvd_pl.datasets.suspicion import Suspicion, suspected
from sfvd_pl.datasets.transforms import classical, jitter
from sfvd_pl.datasets.windows import choose_window, philox
from sfvd_pl.diffusion import sample_seed
from sfvd_pl.errors import ConfigError
from sfvd_pl.networks import normalise_frames

Arm = Literal["real", "classical", "paste", "pseudo", "scene", "synthetic", "pretrain", "all"]
"""What a segmenter of the comparison learns from; all arms take the same number of optimiser steps."""
NEEDS: dict[str, tuple[str, ...]] = {
    "paste": ("suspects",),
    "pseudo": ("suspects",),
    "scene": ("scenes",),
    "synthetic": ("synthetic",),
    "pretrain": ("synthetic",),
    "all": ("synthetic", "suspects"),
}
"""Artifacts that an arm reads beside the source."""
PASTED_CONTRAST = (0.7, 1.5)
"""Rendered wires are as plain as the labelled ones, from so many times the faintest to so many times the plainest."""

Sample = tuple[Float[np.ndarray, "F H W"], Bool[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]
"""Normalised frames, the centre one's wire mask and the pixels of it to ignore."""


@dataclass(frozen=True)
class MixConfig:
    """What is mixed with the labelled frames.

    Attributes:
        arm: ``real`` labelled frames only; ``classical`` augmentation of them; ``paste`` of rendered wires into real
            frames; ``pseudo`` labels, the guide's, of the unlabelled frames; ``scene``, generated first frames;
            ``synthetic`` clips; ``pretrain`` on those and then train on real ones; ``all``, synthetic clips and pseudo
            labels in equal parts.
        synthetic_share: Share of all that isn't a labelled frame.
        pretrain_share: Share of the training that the pre-training takes.
    """

    arm: Arm = "real"
    synthetic_share: float = 0.6
    pretrain_share: float = 0.5

    def __post_init__(self) -> None:
        """Shares lie strictly between 0 and 1, or the arm would be another one."""
        for key in ("synthetic_share", "pretrain_share"):
            if not 0.0 < getattr(self, key) < 1.0:
                raise ConfigError(
                    "a share must lie between 0 and 1", key=key, expected="0 < x < 1", found=getattr(self, key)
                )

    @property
    def needs(self) -> tuple[str, ...]:
        """Artifacts that the arm reads beside the source: ``synthetic``, ``suspects``, ``scenes``."""
        return NEEDS.get(self.arm, ())


class Frames:
    """Frames of an artifact at their own size.

    Args:
        artifact: Of any kind that has clips.
        count: Neighbouring frames that are read together, odd; a clip's first and last frame are repeated.
    """

    def __init__(self, artifact: Artifact, count: int = 1) -> None:
        self.artifact = artifact
        self.count = count
        column = artifact.column
        self.start, self.length = column("clips/start"), column("clips/length")
        self.clip_of_frame = np.repeat(np.arange(artifact.n_clips), self.length)
        own = "clips/height" in artifact.keys
        size = np.stack([column("clips/height"), column("clips/width")], 1) if own else np.array([artifact.frame_shape])
        self.size: NDArray[np.int64] = size[self.clip_of_frame] if own else np.repeat(size, artifact.n_frames, 0)

    def image(self, row: int) -> Float[np.ndarray, "F H W"]:
        """A frame between its neighbours, in 0..1."""
        clip = int(self.clip_of_frame[row])
        at = np.arange(row - self.count // 2, row + self.count // 2 + 1) - self.start[clip]
        at = at.clip(0, self.length[clip] - 1)
        block = self.artifact.clip_rows("frames/image", clip, int(at[0]), int(at[-1] - at[0]) + 1)
        pixels: Float[np.ndarray, "F H W"] = self._cut(block[at - at[0]], row).astype(np.float32)
        return pixels / np.float32(self.artifact.intensity_max)

    def wire_mask(self, row: int) -> Bool[np.ndarray, "H W"]:
        """Its mask, known or not."""
        return self._flags("frames/wire_mask", row)

    def ignore(self, row: int) -> Bool[np.ndarray, "H W"]:
        """Pixels of which nobody knows whether they are wire."""
        if "frames/ignore" not in self.artifact.keys:
            return np.zeros(self.size[row], np.bool_)
        return self._flags("frames/ignore", row)

    def _flags(self, key: str, row: int) -> Bool[np.ndarray, "H W"]:
        flags: Bool[np.ndarray, "H W"] = self._cut(self.artifact.rows(key, row, row + 1)[0], row) != 0
        return flags

    def _cut(self, pixels: NDArray[Any], row: int) -> NDArray[Any]:
        height, width = self.size[row]
        return pixels[..., :height, :width]


def normalised(image: Float[np.ndarray, "F H W"]) -> Float[np.ndarray, "F H W"]:
    """:func:`normalise_frames` of an array."""
    return normalise_frames(torch.from_numpy(image)).numpy()


class MadeFrames:
    """Generated frames: those of the accepted clips of a synthetic artifact, or all of a scenes artifact.

    Args:
        path: The artifact.
        kind: ``synthetic`` or ``scenes``.
        unseen: Patients that nothing in it may have been learned from; a LeakError names those that it was.
        source_hash: Content hash of the source whose clips it is mixed with. Names say who is who only within one
            source, so there is a warning where the clips were made from another one.
        count: See :class:`Frames`; a scene has no neighbours but itself.
    """

    def __init__(
        self, path: Path | str, kind: Kind, unseen: tuple[str, ...], source_hash: str | None = None, count: int = 1
    ) -> None:
        self.artifact = Artifact.open(Path(path), kind)
        self.frames = Frames(self.artifact, count)
        refuse_seen_by(self.artifact, unseen, what=f"the generator of the {kind} artifact")
        if source_hash is not None and self.artifact.parents.get("source") != source_hash:
            warnings.warn(
                f"{path} was made from another source: its patients are told apart from the held-out ones by their "
                "names only. Look for clips of one patient under two names with `sfvd data check`.",
                UserWarning,
                stacklevel=2,
            )
        if kind is Kind.SCENES:
            self.rows: NDArray[np.int64] = self.frames.start
            return
        self.rows = np.flatnonzero(self.artifact.column("clips/accepted")[self.frames.clip_of_frame])
        if len(self.rows) == 0:
            raise ConfigError(
                "the gate accepted none of the synthetic clips",
                file=path,
                key="clips/accepted",
                expected="at least one",
                found=f"0 of {self.artifact.n_clips}",
                remedy="train the scene and motion models longer, or lower the gate's thresholds",
            )

    def sample(self, row: int) -> Sample:
        """The frame at a row of the frames table."""
        frames = self.frames
        if self.artifact.kind is Kind.SCENES:
            clip = int(frames.clip_of_frame[row])
            scene = self.artifact.rows("clips/scene", clip, clip + 1).astype(np.float32) / self.artifact.intensity_max
            height, width = frames.size[row]
            image = np.repeat(scene[:, :height, :width], frames.count, 0)
        else:
            image = frames.image(row)
        wire_mask = frames.wire_mask(row)
        return normalised(image), wire_mask, frames.ignore(row) & ~wire_mask


class SegmentationDataset(Dataset[FrameBatch]):
    """One training window for each sample id.

    Args:
        source: The source artifact.
        seed: With the sample id, decides everything that is drawn.
        window: Side of the windows, pixels; what a smaller frame lacks is ignored.
        labels: See :class:`ClipIndex`.
        mix: Which arm.
        synthetic: The synthetic artifact, where the arm needs one.
        total_samples: Samples of the whole training, which the pre-training takes its share of.
        unseen: Patients that generated clips must not stem from.
        suspects: The guide's probabilities on the training clips, where the arm needs them.
        scenes: The scenes artifact, where the arm needs one.
        frames: Neighbouring frames that the segmenter sees, odd.

    Raises:
        ConfigError: The arm needs an artifact that isn't given, or one without an accepted clip.
        LeakError: An artifact knows a patient who must stay unseen.
    """

    def __init__(
        self,
        source: Path | str,
        *,
        seed: int,
        window: int,
        labels: str,
        mix: MixConfig,
        synthetic: Path | str | None = None,
        total_samples: int,
        unseen: tuple[str, ...],
        suspects: Path | str | None = None,
        scenes: Path | str | None = None,
        frames: int = 1,
    ) -> None:
        self.index = index = ClipIndex(source, "train", labels)
        index.require_labels()
        self.frames = Frames(index.artifact, frames)
        self.rows = index.labelled_rows
        train = np.flatnonzero(np.isin(index.clip_of_frame, index.clips))
        self.unlabelled = np.setdiff1d(train, self.rows)
        self.seed = seed
        self.window = window
        self.mix = mix
        self.total_samples = total_samples
        given = {"synthetic": synthetic, "suspects": suspects, "scenes": scenes}
        self._require(given)
        self.made: MadeFrames | None = None
        for kind in (Kind.SYNTHETIC, Kind.SCENES):
            path = given[kind.value]
            if kind.value in mix.needs and path is not None:
                self.made = MadeFrames(path, kind, unseen, index.artifact.content_hash, frames)
        self.suspicion: Suspicion | None = None
        if "suspects" in mix.needs and suspects is not None:
            self.suspicion = Suspicion(suspects, index.artifact)
            guide = self.suspicion.artifact
            refuse_seen(guide.patients, unseen, what="the guide of the suspicions", file=guide.path)
        if mix.arm == "paste":
            self._measure_wires()

    def _require(self, given: dict[str, Path | str | None]) -> None:
        for name in self.mix.needs:
            if given[name] is None:
                raise ConfigError(
                    f"the arm {self.mix.arm!r} needs another artifact",
                    key=f"data.{name}",
                    expected=f"the {name} artifact",
                    found="none",
                    remedy=f"pass data.{name}, or choose the arm real or classical",
                )

    def _measure_wires(self) -> None:
        """Width and contrast of the labelled wires, which the rendered ones take after."""
        seen = self.index.artifact.column("frames/visibility")[self.rows]  # finite where there is a wire
        self.wires = self.rows[np.isfinite(seen)]
        if not (seen > 0).any():
            raise ConfigError(
                "there is no wire that the rendered ones could take after",
                file=self.index.artifact.path,
                key="frames/visibility",
                expected="a labelled frame with a dark wire",
                found="none",
                remedy="choose another arm than paste",
            )
        self.wire_width = self.index.wire_width_px()
        low, high = np.quantile(seen[seen > 0], (0.05, 0.95))
        self.contrasts = float(low) * PASTED_CONTRAST[0], float(high) * PASTED_CONTRAST[1]

    def kind_of(self, sample_id: int, uniform: float) -> str:
        """What a sample is drawn from: ``labelled``, ``made``, ``pseudo`` or ``paste``."""
        mix = self.mix
        if mix.arm == "pretrain":
            return "made" if sample_id < mix.pretrain_share * self.total_samples else "labelled"
        if mix.arm in ("real", "classical") or uniform >= mix.synthetic_share:
            return "labelled"
        if mix.arm == "all":
            return "made" if uniform < mix.synthetic_share / 2 else "pseudo"
        return mix.arm if mix.arm in ("paste", "pseudo") else "made"

    def _labelled(self, row: int) -> Sample:
        wire_mask = self.frames.wire_mask(row)
        return normalised(self.frames.image(row)), wire_mask, self.frames.ignore(row) & ~wire_mask

    def _pseudo(self, row: int) -> Sample:
        """A frame with the guide's own opinion as its label."""
        probability = self._probability(row)
        wire_mask = probability > 0.5
        return normalised(self.frames.image(row)), wire_mask, suspected(probability) & ~wire_mask

    def _paste(self, row: int, rng: np.random.Generator) -> Sample:
        """A training frame with a rendered wire beside its own, which is known or ignored."""
        if self.index.label_known[row]:
            known, ignore = self.frames.wire_mask(row), self.frames.ignore(row)
        else:
            ignore = suspected(self._probability(row))
            known = np.zeros_like(ignore)
        image = self.frames.image(row)
        height, width = known.shape
        if rng.random() < 0.5:
            row = int(self.wires[rng.integers(len(self.wires))])
            course = moved_course(rng, self.frames.wire_mask(row), height, width)
        else:
            course = random_course(rng, height, width, self.wire_width * rng.uniform(0.8, 1.25))
        wire_mask = course > 0.5
        if wire_mask.sum() >= MIN_WIRE_PIXELS:
            image = render_wire(rng, image, course, float(np.exp(rng.uniform(*np.log(self.contrasts)))))
            known = known | wire_mask
        return normalised(image), known, ignore & ~known

    def _probability(self, row: int) -> Float[np.ndarray, "H W"]:
        assert self.suspicion is not None  # the constructor sees to it
        return self.suspicion.probability(row)

    def _draw(self, sample_id: int, uniform: NDArray[np.float64]) -> Sample:
        def of(rows: NDArray[np.int64]) -> int:
            return int(rows[int(uniform[1] * len(rows))])

        kind = self.kind_of(sample_id, float(uniform[0]))
        if kind == "made":
            assert self.made is not None  # the constructor sees to it
            return self.made.sample(of(self.made.rows))
        if kind == "pseudo" and len(self.unlabelled):  # where all frames have a label, those are used
            return self._pseudo(of(self.unlabelled))
        if kind == "paste":
            rng = philox(sample_seed(self.seed, sample_id, "paste"))
            return self._paste(of(np.union1d(self.rows, self.unlabelled)), rng)
        return self._labelled(of(self.rows))

    def __getitem__(self, sample_id: int) -> FrameBatch:
        """The sample with this id; the draws of an id are the same in every arm."""
        rng = philox(sample_seed(self.seed, sample_id, "segmentation"))
        image, wire_mask, ignore = self._draw(sample_id, rng.random(2))
        height, width = wire_mask.shape
        window = choose_window(
            rng, self.window, height, width, wire_mask[None], wire_probability=0.6, augment=True
        )
        padded = np.pad(ignore, [(0, max(0, self.window - side)) for side in ignore.shape], constant_values=True)
        image, ignore = window.cut(image).astype(np.float32), window.cut(padded).astype(np.bool_)
        wire_mask = window.cut(wire_mask).astype(np.bool_) & ~ignore
        if self.mix.arm == "classical":
            image, wire_mask, ignore = classical(
                philox(sample_seed(self.seed, sample_id, "classical")), image, wire_mask, ignore
            )
        return frame_batch(jitter(rng, image), wire_mask, ignore, sample_id)


def frame_batch(
    image: Float[np.ndarray, "F H W"],
    wire_mask: Bool[np.ndarray, "H W"],
    ignore: Bool[np.ndarray, "H W"],
    row: int,
) -> FrameBatch:
    """One frame as a batch."""
    return FrameBatch(
        image=torch.from_numpy(np.ascontiguousarray(image, np.float32))[None],
        wire_mask=torch.from_numpy(wire_mask.astype(np.float32))[None, None],
        ignore=torch.from_numpy(ignore.astype(np.float32))[None, None],
        row=torch.tensor([row], dtype=torch.int64),
    )


class AnnotatedFrames(Dataset[FrameBatch]):
    """Every annotated frame of a split, whole and at its own size: for validation and test.

    Args:
        source: The source artifact.
        split: Which.
        limit: At most this many, spread evenly.
        frames: Neighbouring frames that the segmenter sees, odd.

    Attributes:
        rows: Rows of the frames table.
        sizes: Height and width of each; frames that share a batch must share them.
    """

    def __init__(self, source: Path | str, split: str, *, limit: int | None = None, frames: int = 1) -> None:
        index = ClipIndex(source, split, "annotated")
        index.require_labels()
        rows = index.labelled_rows
        if limit is not None and len(rows) > limit:
            rows = rows[np.linspace(0, len(rows) - 1, limit).astype(int)]
        self.rows = rows
        self.frames = Frames(index.artifact, frames)
        self.sizes = [tuple(self.frames.size[row].tolist()) for row in rows]

    def __len__(self) -> int:
        """How many."""
        return len(self.rows)

    def __getitem__(self, position: int) -> FrameBatch:
        """The frame at a position; ``row`` is its row in the frames table."""
        row = int(self.rows[position])
        wire_mask = self.frames.wire_mask(row)
        image = normalised(self.frames.image(row))
        return frame_batch(image, wire_mask, self.frames.ignore(row) & ~wire_mask, row)
