"""A toy training that logs to a W&B server, in processes of its own: disturbed, and given again."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from processes import MODULES, Prepare, ended, start
from toy import STAGES

from sfvd_pl.modules.logging import JournalLogger

STAGE = MODULES["scene"]
STEPS = 24
SECONDS = 300.0


class Training:
    """A toy training in a folder of its own; the same command again and again."""

    def __init__(self, root: Path, name: str, slow: float = 0.0) -> None:
        self.folder = root / name
        self.log = root / f"{name}.txt"
        self.source = root / "source.h5"
        self.slow = slow
        self._cost = root / f"{name}.seconds"
        self.waited = 0.0
        """Seconds of the last attempt that went into the logger for W&B, its end included."""
        self.warnings: list[str] = []
        """What was said of W&B."""

    def command(self) -> list[object]:
        """What is given each time."""
        trainer = ["--trainer.max_steps", STEPS, "--trainer.log_every_n_steps", 1, "--data.steps_per_epoch", 8]
        where = ["--data.source", self.source, "--run_dir", self.folder, "--ckpt_path", "last"]
        saving = ["--checkpoint.every_n_train_steps", 3, "--logging.wandb", "auto"]
        return ["scene", "fit", "--config", STAGES / "toy" / "scene.yaml", *trainer, *where, *saving]

    def begin(self, environment: dict[str, str], prepare: Prepare | None = None) -> Any:
        """Start an attempt, whose steps take a little longer where it has to be met in the middle."""

        def prepared() -> None:
            self._measured()
            if self.slow:
                step = STAGE.training_step

                def later(*args: Any) -> Any:
                    time.sleep(self.slow)
                    return step(*args)

                STAGE.training_step = later  # type: ignore[method-assign, assignment]
            if prepare is not None:
                prepare()

        return start(self.command(), self.log, environment=environment, prepare=prepared)

    def attempt(self, environment: dict[str, str], prepare: Prepare | None = None) -> int:
        """Exit status of an attempt."""
        self._cost.unlink(missing_ok=True)
        status = ended(self.begin(environment, prepare), SECONDS)
        self.waited = float(self._cost.read_text()) if self._cost.exists() else 0.0
        self.warnings = [line for line in self.log.read_text().splitlines() if line.startswith("W&B")]
        return status

    def finish(self, environment: dict[str, str]) -> None:
        """An attempt that has to come to the end."""
        if status := self.attempt(environment):
            raise AssertionError(f"the training ended with {status}: {self.log.read_text()[-800:]}")

    def _measured(self) -> None:
        """In the process of an attempt: leave the seconds that the logger takes."""
        spent = [0.0]

        def timed(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                begun = time.monotonic()
                try:
                    return original(*args, **kwargs)
                finally:
                    spent[0] += time.monotonic() - begun
                    if original.__name__ == "close":
                        self._cost.write_text(str(spent[0]))

            return call

        for name in ("_append", "close"):
            setattr(JournalLogger, name, timed(getattr(JournalLogger, name)))

    def model(self) -> bytes:
        """The finished model."""
        return (self.folder / "model.ckpt").read_bytes()
