"""Which recording and frame a name in a label file means."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import cast

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.frames import Run
from sfvd_pl.sources.labels.files import Mark, bad
from sfvd_pl.sources.recording import Recording
from sfvd_pl.sources.stacks import stem

_CVAT_FRAME = re.compile(r"frame_([0-9]+)(\.[A-Za-z]+)?")
"""How CVAT names the frames of a video where a format wants pictures."""


class FrameIndex:
    """Finds the recording and frame that a label file means.

    A name matches when it is the end of a path, part by part: ``0.png``, ``images/0.png``, ``p1/r1/images/0.png``; also
    without ``images`` and without the suffix. A longer one matches when the whole path below the root is its end.

    Args:
        recordings: Where to look.
        root: The folder that was searched.
    """

    def __init__(self, recordings: Sequence[Recording], root: Path) -> None:
        self.recordings = recordings
        self._places: dict[str, list[tuple[tuple[str, ...], int, int | None]]] = {}
        for number, recording in enumerate(recordings):
            run = inner(recording)
            if isinstance(run, Run):
                for frame, image in enumerate(run.images):
                    below = _below(image, root)
                    for parts in {below, (*below[:-2], below[-1])}:
                        self._add(parts, number, frame)
                        self._add((*parts[:-1], image.stem), number, frame)
                self._add(_below(run.images[0].parent.parent, root), number, None)
            else:
                for path in recording.files[:1]:
                    self._add(_below(path, root), number, None)
                    self._add((*_below(path, root)[:-1], stem(path)), number, None)
            self._add(tuple(recording.name.split("/")), number, None)

    def _add(self, parts: tuple[str, ...], number: int, frame: int | None) -> None:
        if parts:
            self._places.setdefault(parts[-1], []).append((parts, number, frame))

    def find(self, mark: Mark, file: Path, *, alone: bool) -> tuple[int, int]:
        """Number of the recording and of the frame.

        Args:
            mark: From a label file.
            file: That file, for errors.
            alone: Whether the file lies beside the only recording.

        Raises:
            SourceError: No recording or frame, or several, or a name that leaves the folder.
        """
        key, frame = mark.key, mark.frame
        number, named = self._resolve(_safe_parts(key, file, mark.where)) if key else (None, None)
        if number is None and key and frame is None:
            match = _CVAT_FRAME.fullmatch(PurePosixPath(key.replace("\\", "/")).name)
            if match:
                above = _safe_parts(key, file, mark.where)[:-1]
                number, named = self._resolve(above) if above else (None, None)
                frame = int(match.group(1)) if named is None else None
                key = key if above else ""
        if number is None and (
            (alone and (not key or frame is not None)) or (not key and len(self.recordings) == 1)
        ):
            number = 0
        if number is None:
            raise self._unmatched(mark, file, "none")
        if number < 0:
            raise self._unmatched(mark, file, "several")
        if named is not None and frame is not None:
            raise bad(
                file,
                mark.where,
                f"frame {frame} of the picture {mark.key}",
                "a picture, or a frame of a clip",
            )
        frame = named if named is not None else frame
        run = inner(self.recordings[number])
        if frame is None:
            raise bad(file, mark.where, mark.key, "which frame of the clip it means (frame_index)")
        if isinstance(run, Run) and frame >= len(run.images):
            raise bad(file, mark.where, f"frame {frame}", f"a frame of 0..{len(run.images) - 1}")
        return number, frame

    def _resolve(self, key: tuple[str, ...]) -> tuple[int | None, int | None]:
        """Recording and frame of a name; None where there is none, -1 where there are several."""
        found = set()
        for parts, number, frame in self._places.get(key[-1], ()) if key else ():
            common = min(len(parts), len(key))
            if len(key) > len(parts) == 1 and len(self.recordings) > 1:
                continue  # a name directly below the root says too little to pass over the rest of the key
            if parts[-common:] == key[-common:]:
                found.add((number, frame))
        if len(found) > 1:
            return -1, None
        return next(iter(found)) if found else (None, None)

    def _unmatched(self, mark: Mark, file: Path, how_many: str) -> SourceError:
        names = ", ".join(recording.name for recording in self.recordings[:5])
        return SourceError(
            "labels of nothing" if how_many == "none" else "labels that may belong to several recordings",
            file=file,
            key=mark.where,
            expected=f"the name of a picture or clip: {names}{', ...' if len(self.recordings) > 5 else ''}",
            found=mark.key or "no name",
            remedy="correct the name"
            if how_many == "none"
            else "write more of its path: <patient>/<run>/<picture>",
        )


def inner(recording: Recording) -> Recording:
    """What was found, without the names and labels that it was given later."""
    while (wrapped := getattr(recording, "recording", None)) is not None:
        recording = cast(Recording, wrapped)
    return recording


def _below(path: Path, root: Path) -> tuple[str, ...]:
    """The path below the root; of a file that is the root, its name."""
    return path.relative_to(root).parts if path != root and path.is_relative_to(root) else (path.name,)


def _safe_parts(key: str, file: Path, where: str) -> tuple[str, ...]:
    """Parts of a name in a label file. It is only compared, never opened; one that leaves the folder is a mistake."""
    path = PurePosixPath(key.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", key) or "\0" in key:
        raise bad(file, where, key, "a relative path without ..")
    return path.parts


def might_be(key: str, name: str) -> bool:
    """Whether a key may mean a recording of which only the name is known."""
    parts = [part for part in PurePosixPath(key.replace("\\", "/")).parts if part != "images"]
    run = name.split("/")[-1]
    return any(part == run or PurePosixPath(part).stem == run for part in parts)
