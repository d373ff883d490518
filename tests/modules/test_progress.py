"""Progress in a log file: a line now and then, with where it is and how long it takes."""

from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from sfvd_pl.modules.progress import LogLines, TerminalBar, make_progress


class Line(LightningModule):
    """A model of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
        loss: torch.Tensor = self.layer(batch).square().mean()
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def predict_step(self, batch: torch.Tensor, _: int) -> Any:
        return self.layer(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def run(lines: LogLines, tmp_path: Any, steps: int = 6) -> Trainer:
    trainer = Trainer(
        max_steps=steps, callbacks=[lines], logger=False, enable_checkpointing=False, enable_model_summary=False,
        accelerator="cpu", default_root_dir=tmp_path,
    )  # fmt: skip
    loader = DataLoader(torch.ones(8, 1), batch_size=2)
    model = Line()
    trainer.fit(model, loader)
    trainer.predict(model, loader)
    return trainer


def test_lines_tell_step_speed_time_left_and_loss(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = run(LogLines("scene fit", seconds=0.0), tmp_path)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("scene fit")]
    assert sum("step" in line for line in said) == 6 and sum("batch" in line for line in said) == 4
    assert "step 3 of 6" in said[2] and "a second" in said[2] and "s left" in said[2] and "train/loss" in said[2]
    assert said[-1].startswith("scene fit: batch 4 of 4")
    assert len([c for c in vars(trainer)["callbacks"] if isinstance(c, LogLines | TerminalBar)]) == 1


def test_between_two_lines_lies_some_time(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(LogLines("scene fit", seconds=3600.0), tmp_path)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("scene fit")]
    assert [line.split("  ")[0] for line in said] == ["scene fit: step 6 of 6", "scene fit: batch 4 of 4"]


def test_other_ranks_are_silent(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    lines = LogLines("scene fit", seconds=0.0)
    lines.disable()
    run(lines, tmp_path)
    assert "scene fit" not in capsys.readouterr().out


def test_a_terminal_gets_a_bar_and_a_file_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert isinstance(make_progress("x"), TerminalBar)
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    assert isinstance(make_progress("x"), LogLines)
