"""What a measure works on: sets of clips, networks, seed; and help for long walks over clips."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.datasets.sets import ArtifactClips, ClipSet, MeasuredClip
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.networks.features import FeatureSpace
from sfvd_pl.pipeline.evaluation.cache import Cache
from sfvd_pl.pipeline.evaluation.parallel import over_clips
from sfvd_pl.pipeline.inference import predict_clips

T = TypeVar("T")


class NotMeasuredError(Exception):
    """Why a section can't be measured: a sentence that stands in ``metrics.json`` and on the page."""


@dataclass(frozen=True)
class Inputs:
    """All that may be measured or measured with; None where there isn't any.

    Attributes:
        source: The source artifact of the real clips.
        synthetic: Generated clips.
        reference: Windows of clips of real test patients.
        training: Windows of clips of real training patients, with or without a known wire.
        evaluator: Segmenter that looks for the wire, on its device.
        spaces: Feature spaces that clips are compared in.
        absent_spaces: Why there isn't another one, by its name.
        segmentation: Predictions of the compared segmenters, one artifact for each seed.
        seeds: Their seeds.
        identities: Digest of each of these by name: what a cached result depends on.
        missing: Why there is no such input, by name, as a sentence without its full stop.
    """

    source: Path | None = None
    synthetic: ClipSet | None = None
    reference: ClipSet | None = None
    training: ClipSet | None = None
    evaluator: SegmentationModule | None = None
    spaces: tuple[FeatureSpace, ...] = ()
    absent_spaces: Mapping[str, str] = field(default_factory=dict)
    segmentation: tuple[Path, ...] = ()
    seeds: tuple[int, ...] = ()
    identities: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationContext:
    """What a measure is called with.

    A section names the inputs that it uses where it is registered; asking for another one is an error, since its
    cached result would not notice a change of it. Asking for one that wasn't given ends the section with a
    NotMeasuredError.

    Attributes:
        inputs: Everything given; use the properties.
        seed: Of all that is drawn at random.
        device: Where networks run.
        cache: Keeps results and arrays from one call to the next; None keeps nothing.
        progress: Whether to show progress.
        processes: For :meth:`over_clips`.
        uses: Inputs that the section at hand named; None for all.
    """

    inputs: Inputs
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    cache: Cache | None = None
    progress: bool = False
    processes: int = 1
    uses: frozenset[str] | None = None

    def restricted(self, uses: Iterable[str]) -> "EvaluationContext":
        """The same with these inputs only."""
        return replace(self, uses=frozenset(uses))

    def _given(self, name: str) -> Any:
        if self.uses is not None and name not in self.uses:
            raise LookupError(f"the section doesn't name {name!r} among what it uses: {sorted(self.uses)}")
        value = getattr(self.inputs, name)
        if value is None or value == ():
            raise NotMeasuredError(self.inputs.missing.get(name, f"there is no {name}"))
        return value

    @property
    def source(self) -> Path:
        """The source artifact of the real clips."""
        return self._given("source")  # type: ignore[no-any-return]

    @property
    def synthetic(self) -> ClipSet:
        """Generated clips."""
        return self._given("synthetic")  # type: ignore[no-any-return]

    @property
    def reference(self) -> ClipSet:
        """Windows of clips of real test patients, cut like the generated ones."""
        return self._given("reference")  # type: ignore[no-any-return]

    @property
    def training(self) -> ClipSet:
        """Windows of clips of real training patients, with or without a known wire."""
        return self._given("training")  # type: ignore[no-any-return]

    @property
    def evaluator(self) -> SegmentationModule:
        """Segmenter that looks for the wire."""
        return self._given("evaluator")  # type: ignore[no-any-return]

    @property
    def spaces(self) -> tuple[FeatureSpace, ...]:
        """Feature spaces that clips are compared in."""
        return self._given("spaces")  # type: ignore[no-any-return]

    @property
    def absent_spaces(self) -> Mapping[str, str]:
        """Why there isn't another feature space, by its name."""
        return self.inputs.absent_spaces

    @property
    def segmentation(self) -> tuple[Path, ...]:
        """Predictions of the compared segmenters, one artifact for each seed."""
        return self._given("segmentation")  # type: ignore[no-any-return]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the compared segmenters."""
        return self.inputs.seeds

    def synthetic_artifact(self) -> Artifact:
        """The artifact of the generated clips, with the verdicts of a gate.

        Raises:
            NotMeasuredError: They went through no gate.
        """
        clips = self.synthetic
        if not isinstance(clips, ArtifactClips) or clips.artifact.kind is not Kind.SYNTHETIC:
            raise NotMeasuredError("the generated clips went through no gate")
        return clips.artifact

    def identity(self, name: str) -> str:
        """Digest of an input; empty where it wasn't given."""
        return self.inputs.identities.get(name, "")

    # -- long walks ------------------------------------------------------------------------------------------

    def track(
        self, items: Iterable[T], title: str, *, total: int | None = None, unit: str = "clip"
    ) -> Iterable[T]:
        """The items, with a bar on the terminal."""
        return tqdm(items, desc=title, total=total, unit=unit, disable=not self.progress)

    def over_clips(
        self, function: Callable[[MeasuredClip], T], clips: ClipSet, title: str
    ) -> Iterator[T]:
        """A function of every clip, in order; in several processes where it takes long.

        Args:
            function: Found by its name in a module, or a ``functools.partial`` of such a one; NumPy, no network.
            clips: The set.
            title: What is being done, for the bar.
        """
        results = over_clips(function, clips, processes=self.processes)
        yield from self.track(results, title, total=len(clips))

    def predictions(
        self, clips: ClipSet, title: str
    ) -> Iterator[tuple[MeasuredClip, NDArray[np.float32]]]:
        """Every clip with the evaluator's wire probability ``T H W``, in batches over clips."""
        found = predict_clips(self.evaluator, clips)
        yield from self.track(found, title, total=len(clips))

    def stored(
        self, name: str, depends: Sequence[str], make: Callable[[], NDArray[Any]]
    ) -> NDArray[Any]:
        """An array that several sections or calls can share, such as features of a set.

        Args:
            name: What it is; an earlier array of this name that depended on something else is replaced.
            depends: All that decides it: identities, digests of weights, settings as text.
            make: Makes it where it isn't there.
        """
        return make() if self.cache is None else self.cache.array(name, depends, make)
