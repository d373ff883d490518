"""What ``predict`` of a stage writes: an artifact that knows what it was made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from sfvd_pl.artifacts import Artifact, Kind, Provenance, refuse_seen
from sfvd_pl.errors import CheckpointError, ConfigError
from sfvd_pl.modules.checkpoint import RECORD_KEY, read_checkpoint, to_plain
from sfvd_pl.modules.recorded import RecordedModule
from sfvd_pl.modules.workers import Worker
from sfvd_pl.modules.writer import GenerationWriter
from sfvd_pl.pipeline.hashing import file_hash


@dataclass(frozen=True)
class Generation:
    """A model that generates.

    Attributes:
        stage: Name of the stage.
        out: The artifact; None where it was left out.
        ckpt: The model's file; None likewise.
        module: The model.
        datamodule: What it is given.
    """

    stage: str
    out: Path | None
    ckpt: str | None
    module: RecordedModule
    datamodule: Any

    def writer(
        self, worker: Worker, kind: Kind, parents: dict[str, str], columns: Any, learned: Sequence[str] = ()
    ) -> GenerationWriter:
        """A writer whose artifact knows the checkpoint, the source and the patients it was learned from.

        Args:
            worker: This process among those that share the work.
            kind: What is written.
            parents: Content hashes of what goes into it beside the source and the checkpoint.
            columns: Turns a prediction into columns.
            learned: Patients that those parents were learned from.

        Raises:
            ConfigError: There is no place to write to, or no model.
            CheckpointError: The model is one of another source.
        """
        if self.out is None or self.ckpt is None:
            missing = "out" if self.out is None else "ckpt_path"
            raise ConfigError(
                f"`sfvd {self.stage} predict` needs --{missing}",
                key=missing,
                expected="a path",
                found="none",
                remedy=f"sfvd {self.stage} predict --config ... --ckpt_path MODEL.ckpt --out FILE.h5",
            )
        source = Artifact.open(self.datamodule.source, Kind.SOURCE)
        record = read_checkpoint(self.ckpt)[RECORD_KEY]
        if record.get("source") != source.content_hash:
            raise CheckpointError(
                "the checkpoint was trained on another source",
                file=self.ckpt,
                key="source",
                expected=source.content_hash,
                found=record.get("source"),
                remedy="pass the source that the model was trained on",
            )
        patients = tuple(record.get("patients", ()))
        refuse_seen(patients, self.datamodule.unseen, what=f"the {self.stage} model", file=self.ckpt)
        intensity_max, seed = source.intensity_max, int(self.datamodule.seed)
        provenance = Provenance(
            seed=seed,
            config={"model": self.module.recorded_config, "data": to_plain(_data_config(self.datamodule))},
            parents={"source": source.content_hash, f"{self.stage}.ckpt": file_hash(self.ckpt), **parents},
            patients=(*patients, *learned),
        )
        return GenerationWriter(
            self.out,
            kind,
            provenance,
            intensity_max,
            lambda p: columns(p["batch"], p["image"], seed, intensity_max),
            worker,
        )


def _data_config(datamodule: pl.LightningDataModule) -> dict[str, Any]:
    """Settings that decide what is generated; neither paths nor how many at once."""
    keys = ("window", "frames", "sequences", "block", "history")
    return {key: getattr(datamodule, key) for key in keys if hasattr(datamodule, key)}
