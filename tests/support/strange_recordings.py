"""Recordings that count, fail, crash or kill, for the tests of the import. Other processes import this file."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sfvd_pl.errors import SourceError
from sfvd_pl.sources import Clip


@dataclass(frozen=True)
class Strange:
    """A recording of 3 frames; ``deed`` is what happens when it is read: nothing, "refuse", "bug", "crash", or "kill"
    with the process to kill."""

    name: str
    file: Path
    deed: str = ""
    victim: int = 0

    @property
    def patient(self) -> str:
        return self.name.split("/")[0]

    frame_shape = (16, 20)
    intensity_max = 255

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.file,)

    def read(self) -> Clip:
        with self.file.open("a") as log:
            log.write(f"{os.getpid()}\n")
        about = self.file.stat()
        os.utime(self.file, ns=(about.st_atime_ns, 0))  # the log isn't a change of the recording
        if self.deed == "refuse":
            raise SourceError("it won't do", file=self.file)
        if self.deed == "bug":
            raise ZeroDivisionError("a decoder's own")
        if self.deed == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.deed == "kill":
            os.kill(self.victim, signal.SIGKILL)
            signal.pause()
        rng = np.random.default_rng(len(self.name))
        image = rng.integers(100, 200, (3, 16, 20)).astype(np.uint8)
        mask = np.zeros(image.shape, np.uint8)
        mask[:, 4:12, 9] = 1
        image[mask == 1] = 60
        return Clip(self.name, self.patient, image, mask, np.ones(3, np.bool_), 15.0, 0.3, 255)
