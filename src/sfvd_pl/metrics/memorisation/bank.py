"""The training clips that queries are held against, on disk, so that memory doesn't grow with their number."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from sfvd_pl.metrics.memorisation.views import View


@dataclass(frozen=True)
class Entry:
    """One training clip of a bank.

    Attributes:
        name: Of the clip.
        patient: Whose it is.
        first: Number of its first frame in the clip, where only a part of it is held.
        fine: Channels ``T H W`` float16, mapped from the disk.
        still: ``1 H W`` float16, mapped from the disk.
        coarse: ``T+1 h w`` float16, mapped from the disk.
    """

    name: str
    patient: str
    first: int
    fine: tuple[npt.NDArray[np.float16], ...]
    still: npt.NDArray[np.float16]
    coarse: npt.NDArray[np.float16]

    def __len__(self) -> int:
        """Frames."""
        return len(self.coarse) - 1


class Bank:
    """Views of training clips in a temporary folder. A context manager: leaving it removes the folder.

    Args:
        folder: Where the temporary folder is made; the system's place without it.

    Attributes:
        folder: The temporary folder.
        centred: As the views that were added.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="sfvd-memorisation-", dir=folder)
        self.folder = Path(self._temporary.name)
        self._entries: list[Entry] = []
        self.centred = True

    def add(self, view: View, *, name: str, patient: str, first: int = 0) -> None:
        """Add a training clip's view (made of padded frames)."""
        number = len(self._entries)
        fine = tuple(self._stored(f"{number}-{k}", channel) for k, channel in enumerate(view.fine))
        self.centred = view.centred
        still, coarse = (self._stored(f"{number}-{k}", getattr(view, k)) for k in ("still", "coarse"))
        self._entries.append(Entry(name, patient, first, fine, still, coarse))

    def _stored(self, name: str, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
        path = self.folder / f"{name}.npy"
        np.save(path, values.astype(np.float16))
        mapped: npt.NDArray[np.float16] = np.load(path, mmap_mode="r")
        return mapped

    def __len__(self) -> int:
        """Clips."""
        return len(self._entries)

    def __getitem__(self, number: int) -> Entry:
        """One clip."""
        return self._entries[number]

    def __iter__(self) -> Iterator[Entry]:
        """All clips."""
        return iter(self._entries)

    @property
    def frames(self) -> int:
        """Frames of all clips."""
        return sum(len(entry) for entry in self._entries)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the folder."""
        self._entries.clear()
        self._temporary.cleanup()
