"""Sets of clips to be measured against one another, read one at a time.

A measure asks for clip after clip, so its memory doesn't grow with their number. What is compared is cut alike: clips
with a generated background are windows, and real ones become windows of the same size, length and scale; clips that
show a real one are whole frames, and so are the real ones beside them.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, UInt8, UInt16
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sfvd_pl.artifacts import Artifact, Kind, canonical_json
from sfvd_pl.datasets.courses import MIN_WIRE_PIXELS
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.sequences import TRIES
from sfvd_pl.datasets.windows import Window, choose_window, philox
from sfvd_pl.diffusion import sample_seed
from sfvd_pl.errors import ArtifactError
from sfvd_pl.metrics.label import other_masks

Degradation = Literal["blur", "noise", "wrong masks"]

BLUR_PX = 1.0
"""Standard deviation of the blur of a degraded set, pixels: about a wire's width."""
NOISE_SHARE = 0.05
"""Standard deviation of the noise added to a degraded set, as a share of full scale: plain to the eye."""


@dataclass(frozen=True)
class MeasuredClip:
    """A clip with what is known of it.

    Attributes:
        image: ``T H W``, 0 to the set's ``intensity_max``; the valid extent only.
        wire_mask: ``T H W``, 0 or 1; all 0 where not annotated. For a generated clip the mask that drove it.
        annotated: ``T``, whether the mask is known.
        patient: Whose it is; for a generated clip nobody, `synthetic`.
        name: Name of the clip, unique in its artifact (windows of one clip share it).
        requested_visibility: CNR asked of the generator; NaN where none was.
        spacing_mm: Distance between pixel centres; NaN where unknown.
        mask_group: Clips that share it may show one and the same mask sequence.
        ignore: ``T H W``, 1 where nobody knows whether there is a wire, 0 on the wire; None is nowhere.
    """

    image: UInt8[np.ndarray, "T H W"] | UInt16[np.ndarray, "T H W"]
    wire_mask: UInt8[np.ndarray, "T H W"]
    annotated: Bool[np.ndarray, " T"]
    patient: str
    name: str
    requested_visibility: float = float("nan")
    spacing_mm: float = float("nan")
    mask_group: str = ""
    ignore: UInt8[np.ndarray, "T H W"] | None = None


class ClipSet(ABC):
    """A sequence of clips that is read as it is walked over.

    Attributes:
        title: What a reader is told it is.
        intensity_max: Value of full scale.
    """

    title: str
    intensity_max: int

    @abstractmethod
    def __len__(self) -> int:
        """How many clips."""

    @abstractmethod
    def __getitem__(self, number: int) -> MeasuredClip:
        """One clip."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Digest of all that decides the pixels and masks; the same set has the same, in any process."""

    @property
    @abstractmethod
    def patients(self) -> tuple[str, ...]:
        """Patient of each clip."""

    def __iter__(self) -> Iterator[MeasuredClip]:
        """All clips in order."""
        return (self[number] for number in range(len(self)))


def digest_of(*parts: object) -> str:
    """Digest of what decides a set."""
    return hashlib.sha256(canonical_json(list(parts)).encode()).hexdigest()


class ArtifactClips(ClipSet):
    """The clips of an artifact as they are: source, scenes (one frame each), motions or synthetic.

    Args:
        path: The artifact.
        rows: Which of its clips; all without it.
        title: Name for a reader; the kind without it.

    Raises:
        ArtifactError: An artifact without pictures.
    """

    def __init__(self, path: Path | str, rows: Sequence[int] | None = None, title: str = "") -> None:
        self.artifact = Artifact.open(Path(path))
        if self.artifact.kind is Kind.SEGMENTATION:
            raise ArtifactError(
                "predictions hold no pictures to measure",
                file=Path(path),
                key="kind",
                expected="source, scenes, motions or synthetic",
                found=self.artifact.kind.value,
                remedy="pass the artifact that was segmented",
            )
        self.rows = [int(row) for row in (range(self.artifact.n_clips) if rows is None else rows)]
        self.title = title or self.artifact.kind.value
        self.intensity_max = self.artifact.intensity_max

    def __len__(self) -> int:
        """How many clips."""
        return len(self.rows)

    @property
    def identity(self) -> str:
        """Digest of the artifact's content and the rows."""
        return digest_of("clips", self.artifact.content_hash, self.rows)

    @property
    def patients(self) -> tuple[str, ...]:
        """Patient of each clip."""
        column = self.artifact.column("clips/patient")
        return tuple(str(column[row]) for row in self.rows)

    def __getitem__(self, number: int) -> MeasuredClip:
        """One clip."""
        row, kind, column = self.rows[number], self.artifact.kind, self.artifact.column
        valid = np.s_[:, : int(column("clips/height")[row]), : int(column("clips/width")[row])]
        mask = self.artifact.clip_rows("frames/wire_mask", row)[valid]
        known, facts = np.ones(len(mask), bool), dict[str, Any]()
        if kind is Kind.SCENES:
            image, mask, known = self.artifact.rows("clips/scene", row, row + 1)[valid], mask[:1], known[:1]
        else:
            image = self.artifact.clip_rows("frames/image", row)[valid]
        if "frames/ignore" in self.artifact.keys:
            facts["ignore"] = self.artifact.clip_rows("frames/ignore", row)[valid]
        name = str(column("clips/name")[row])
        if kind is Kind.SOURCE:
            known = self.artifact.clip_rows("frames/annotated", row)
            facts |= {"spacing_mm": float(column("clips/spacing_mm")[row]), "mask_group": name}
        else:
            asked = float(column("clips/requested_visibility")[row])
            facts |= {"requested_visibility": asked, "mask_group": str(column("clips/mask_source")[row])}
        return MeasuredClip(image, mask, known, str(column("clips/patient")[row]), name, **facts)


@dataclass(frozen=True)
class _Cut:
    """Where a window lies in a clip of the source."""

    clip: int
    first: int
    frames: int
    window: Window | None


def _part(frames: NDArray[np.generic], window: Window | None) -> NDArray[np.generic]:
    """A window of some frames, or all of them."""
    return frames if window is None else window.cut(frames)


class WindowClips(ClipSet):
    """Windows of the clips of one split, cut like those that a generator learns from.

    Args:
        source: The source artifact.
        split: Which patients.
        window: Side of the windows, pixels; 0: whole frames, each clip at its own size.
        frames: Frames of a window; a shorter clip gives all it has.
        seed: Decides where they lie.
        windows_per_clip: How many are cut from each clip.
        with_wire: Only windows of annotated clips that keep the wire in view in every annotated frame, as mask
            sequences do; otherwise windows of every clip, with the wire where it is known to be.
        title: Name for a reader.
    """

    def __init__(
        self,
        source: Path | str,
        split: str,
        *,
        window: int,
        frames: int,
        seed: int,
        windows_per_clip: int = 2,
        with_wire: bool = True,
        title: str = "",
    ) -> None:
        self.index = ClipIndex(source, split, "annotated")
        if with_wire:
            self.index.require_labels()
        self.title = title or f"real, {split} patients"
        self.intensity_max = self.index.artifact.intensity_max
        self.whole = window == 0
        self._recipe = [split, window, frames, seed, windows_per_clip, with_wire]
        found: list[_Cut | None] = []
        for clip in (int(clip) for clip in self.index.clips):
            length = int(self.index.length[clip])
            if with_wire and not self.index.known(clip, np.arange(length)).any():
                continue
            for number in range(windows_per_clip):
                rng = philox(sample_seed(seed, clip * windows_per_clip + number, "reference"))
                found.append(self._place(clip, window, min(frames, length), rng, with_wire))
        self._cuts = [cut for cut in found if cut is not None]

    def _place(self, clip: int, size: int, frames: int, rng: np.random.Generator, with_wire: bool) -> _Cut | None:
        for _ in range(TRIES):
            first = int(rng.integers(int(self.index.length[clip]) - frames + 1))
            offsets = np.arange(first, first + frames)
            known = self.index.known(clip, offsets)
            masks = self.index.wire_mask(clip, offsets)
            place = None
            if size:
                height, width = masks.shape[1:]
                place = choose_window(rng, size, height, width, masks, wire_probability=1.0, augment=False)
            area = _part(masks, place).reshape(frames, -1).sum(1)
            if not with_wire or (known.any() and bool((area[known] >= MIN_WIRE_PIXELS).all())):
                return _Cut(clip, first, frames, place)
        return None

    def __len__(self) -> int:
        """How many windows."""
        return len(self._cuts)

    @property
    def identity(self) -> str:
        """Digest of the source's content and the windows."""
        return digest_of("windows", self.index.artifact.content_hash, self._recipe)

    @property
    def patients(self) -> tuple[str, ...]:
        """Patient of each window."""
        return tuple(str(self.index.patient[cut.clip]) for cut in self._cuts)

    def __getitem__(self, number: int) -> MeasuredClip:
        """One window."""
        cut = self._cuts[number]
        offsets = np.arange(cut.first, cut.first + cut.frames)
        pixels = self.index.image(cut.clip, offsets) * self.intensity_max
        name = str(self.index.name[cut.clip])
        return MeasuredClip(
            image=_part(pixels.round().astype(np.uint8 if self.intensity_max <= 255 else np.uint16), cut.window),
            wire_mask=_part(self.index.wire_mask(cut.clip, offsets), cut.window).astype(np.uint8),
            annotated=self.index.known(cut.clip, offsets),
            patient=str(self.index.patient[cut.clip]),
            name=name,
            spacing_mm=float(self.index.artifact.column("clips/spacing_mm")[cut.clip]),
            mask_group=name,
            ignore=_part(self.index.ignore(cut.clip, offsets), cut.window).astype(np.uint8),
        )


@dataclass(frozen=True)
class Subset(ClipSet):
    """Some clips of a set.

    Attributes:
        base: The set.
        numbers: Which of its clips, in order.
        title: Name for a reader.
    """

    base: ClipSet
    numbers: tuple[int, ...]
    title: str = ""
    intensity_max: int = field(init=False)

    def __post_init__(self) -> None:
        """Take over what is the base's."""
        object.__setattr__(self, "intensity_max", self.base.intensity_max)
        object.__setattr__(self, "title", self.title or self.base.title)

    def __len__(self) -> int:
        """How many clips."""
        return len(self.numbers)

    @property
    def identity(self) -> str:
        """Digest of the base and the numbers."""
        return digest_of("subset", self.base.identity, self.numbers)

    @property
    def patients(self) -> tuple[str, ...]:
        """Patient of each clip."""
        patients = self.base.patients
        return tuple(patients[number] for number in self.numbers)

    def __getitem__(self, number: int) -> MeasuredClip:
        """One clip."""
        return self.base[self.numbers[number]]


@dataclass(frozen=True)
class Degraded(ClipSet):
    """A set made worse in a known way, so that a reader sees what a figure means.

    Attributes:
        base: The set.
        kind: ``blur`` (Gaussian of ``BLUR_PX`` in each frame), ``noise`` (independent Gaussian noise of
            ``NOISE_SHARE`` of full scale) or ``wrong masks`` (those of another clip, of another mask group where there
            is one; the pictures stay).
        seed: Of the noise and the exchange.
    """

    base: ClipSet
    kind: Degradation
    seed: int = 0
    title: str = field(init=False)
    intensity_max: int = field(init=False)

    def __post_init__(self) -> None:
        """Take over what is the base's; refuse an unknown kind."""
        if self.kind not in get_args(Degradation):
            raise ValueError(f"unknown degradation {self.kind!r}: one of {get_args(Degradation)}")
        object.__setattr__(self, "intensity_max", self.base.intensity_max)
        object.__setattr__(self, "title", f"{self.base.title}, {self.kind}")

    def __len__(self) -> int:
        """How many clips."""
        return len(self.base)

    @property
    def identity(self) -> str:
        """Digest of the base and the degradation."""
        return digest_of("degraded", self.base.identity, self.kind, self.seed, BLUR_PX, NOISE_SHARE)

    @property
    def patients(self) -> tuple[str, ...]:
        """Patient of each clip."""
        return self.base.patients

    def __getitem__(self, number: int) -> MeasuredClip:
        """One clip."""
        clip = self.base[number]
        if self.kind == "wrong masks":
            known = np.ones(len(clip.image), bool)
            return replace(clip, wire_mask=self._other_masks(clip, number), annotated=known)
        pixels = clip.image.astype(np.float32)
        if self.kind == "blur":
            pixels = gaussian_filter(pixels, (0, BLUR_PX, BLUR_PX), mode="nearest")
        else:
            rng = philox(sample_seed(self.seed, number, "degraded-noise"))
            pixels += rng.standard_normal(pixels.shape, np.float32) * (NOISE_SHARE * self.intensity_max)
        return replace(clip, image=pixels.round().clip(0, self.intensity_max).astype(clip.image.dtype))

    def _other_masks(self, clip: MeasuredClip, number: int) -> NDArray[np.uint8]:
        """Masks of the first later clip of another group, fitted to this clip; empty where all agree."""
        for step in range(1, len(self)):
            other = self.base[(number + step) % len(self)]
            if other.mask_group != clip.mask_group:
                return other_masks(other.wire_mask, clip.image.shape, clip.ignore)
        return np.zeros_like(clip.wire_mask)
