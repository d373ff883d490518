"""A recording: a clip on disk, not yet read. Every kind of source gives the same."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.clip import Clip

MAX_SIDE = 16384
"""Longest side of a frame that is read, px."""
MAX_BYTES = 2**30
"""Largest clip that is read, bytes of pixels."""


class Recording(Protocol):
    """One run that can be read when its turn comes; frozen and picklable, so that another process may read it.

    Attributes:
        name: ``<patient>/<run>``.
        patient: Whom it shows.
        frame_shape: Height and width, px, as ``read`` gives them.
        intensity_max: Largest pixel value that ``read`` gives a clip of this recording.
        files: Every file that decides what ``read`` returns.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def patient(self) -> str: ...  # noqa: D102

    @property
    def frame_shape(self) -> tuple[int, int]: ...  # noqa: D102

    @property
    def intensity_max(self) -> int: ...  # noqa: D102

    @property
    def files(self) -> tuple[Path, ...]: ...  # noqa: D102

    def read(self) -> Clip:
        """Read it.

        Raises:
            SourceError: It can't be read, or isn't what it should be.
        """
        ...


@dataclass(frozen=True)
class Renamed:
    """A recording under another patient's name, for sources that know a patient of their own."""

    recording: Recording
    name: str
    patient: str

    @property
    def frame_shape(self) -> tuple[int, int]:
        """As the recording's."""
        return self.recording.frame_shape

    @property
    def intensity_max(self) -> int:
        """As the recording's."""
        return self.recording.intensity_max

    @property
    def files(self) -> tuple[Path, ...]:
        """As the recording's."""
        return self.recording.files

    def read(self) -> Clip:
        """Read it and give it its name."""
        return replace(self.recording.read(), name=self.name, patient=self.patient)


@dataclass(frozen=True)
class Scan:
    """The recordings that a source holds; iterate as often as needed, one clip is in memory at a time.

    Args:
        root: The file or folder that was searched.
        recordings: In natural order of their names.
        ignored: Files in which nothing was recognised.
    """

    root: Path
    recordings: tuple[Recording, ...]
    ignored: tuple[Path, ...] = ()

    def __iter__(self) -> Iterator[Clip]:
        """Read the recordings in order."""
        for recording in self.recordings:
            yield recording.read()

    def __len__(self) -> int:
        """Number of recordings."""
        return len(self.recordings)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """The largest height and the largest width, px."""
        shapes = [recording.frame_shape for recording in self.recordings]
        return max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)

    @property
    def intensity_max(self) -> int:
        """The largest of all recordings."""
        return max(recording.intensity_max for recording in self.recordings)


def check_size(file: Path, frames: int, height: int, width: int, itemsize: int) -> None:
    """Refuse what would take absurd memory, before any of it is taken.

    Args:
        file: For the error.
        frames, height, width: Of the clip.
        itemsize: Bytes a pixel, as decoded.

    Raises:
        SourceError: No pixels, or more than the limits.
    """
    if min(frames, height, width) < 1:
        raise SourceError(
            "there are no pixels in it", file=file, expected="frames, rows and columns", found=(frames, height, width)
        )
    if max(height, width) > MAX_SIDE or frames * height * width * itemsize > MAX_BYTES:
        raise SourceError(
            "it is too large to be one run",
            file=file,
            expected=f"sides of at most {MAX_SIDE} px and {MAX_BYTES // 2**20} MiB of pixels",
            found=f"{frames} frames of {height} x {width}, {itemsize} bytes a pixel",
            remedy="cut the run into several",
        )
