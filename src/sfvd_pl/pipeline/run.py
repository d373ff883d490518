"""``sfvd run``: the four stages as chains of steps."""

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from sfvd_pl.augment.gate import GateConfig
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.segmentation import NEEDS
from sfvd_pl.modules.logging import LoggingConfig
from sfvd_pl.pipeline.check import check_step, require_passed
from sfvd_pl.pipeline.note import note_run
from sfvd_pl.pipeline.presets import load_preset, merged
from sfvd_pl.pipeline.rollout import RolloutConfig, measure_step
from sfvd_pl.pipeline.settings import RunSettings, as_devices
from sfvd_pl.pipeline.source import source_step
from sfvd_pl.pipeline.steps import Run, Step, say, sfvd_command
from sfvd_pl.pipeline.summary import clips_line, model_line, synthetic_line

SEGMENTER_SEEDS = {"guide": 101, "gate": 202, "evaluator": 303}
"""Added to the run's seed: the three must not start from one another's weights."""
FEATURES_SEED = 404
"""The same for the network by whose features clips are compared."""
WITHOUT_EFFECT = {
    "": ("run_dir", "logging", "checkpoint"),
    "data": ("num_workers", "batch_size"),
    "trainer": ("accumulate_grad_batches", "enable_progress_bar", "enable_model_summary", "log_every_n_steps"),
}
"""Settings, by section, a change of which makes nothing anew: they say where things are kept, how they are shown and
how a step's samples are divided."""
DEFAULT_ARMS = ("real", "paste", "pseudo", "synthetic")


class Pipeline:
    """The steps of one run.

    Args:
        settings: What is asked for.
    """

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings
        self.run = Run(settings.root / settings.name, settings.name)
        self.source = self.run.path("source.h5")
        self.scenes = self.run.path("scenes.h5")
        self.motions = self.run.path("motions.h5")
        self.suspects = self.run.path("suspects.h5")
        self.synthetic = self.run.path("synthetic.h5")
        seeds = settings.seeds or (settings.seed,)
        self.seeds = list(seeds)

    def perform(self, stages: Iterable[str]) -> None:
        """Run stages; a stage whose predecessors never ran runs the source step first."""
        settings = self.settings
        data = "the simulator" if settings.data is None else settings.data
        say(f"run {settings.name}: preset {settings.preset}, seed {settings.seed}, clips from {data}")
        stages = list(stages)
        together = set(stages) == {"clips"}
        with self.run.locked(together=together):
            note_run(self.run, settings.preset, settings.seed, self._wandb)
            for stage in stages:
                if stage not in ("source", "stage1"):
                    require_passed(self.run, self.source)
                for step in getattr(self, f"_{stage}")():
                    self.run.perform(step, together=together)
                if stage == "guides":
                    self._make_room_for_clips()

    @property
    def arms(self) -> list[str]:
        """Arms of the comparison, as the command line or the preset names them."""
        return list(self._config("segment").get("arms") or DEFAULT_ARMS)

    def compare(self, arms: Sequence[str]) -> Path:
        """Train arms with the run's seed and predict the test clips, without a report.

        Each arm is trained as soon as what it learns from is there; what no arm learns from isn't made.

        Returns:
            The predictions.
        """
        say(f"run {self.settings.name}: arms {', '.join(arms)}, seed {self.settings.seed}")
        with self.run.locked():
            note_run(self.run, self.settings.preset, self.settings.seed, self._wandb)
            for step in self._compared(arms):
                self.run.perform(step)
        return step.outputs[0]

    def _compared(self, arms: Sequence[str]) -> Iterator[Step]:
        base = self._config("segment")
        base.pop("arms", None)
        trained = {arm: self._arm(base, arm, self.settings.seed) for arm in arms}
        waiting, made = list(trained.values()), set[Path]()
        for stage in (self._stage1, self._stage2, self._augment):
            for step in stage() if waiting else ():
                if not waiting:
                    break
                yield step
                made |= {*step.outputs}
                if step.name != "source":  # nothing learns from clips that the check hasn't passed
                    ready = [arm for arm in waiting if made.issuperset(arm.inputs.values())]
                    waiting = [arm for arm in waiting if arm not in ready]
                    yield from ready
        yield self._predictions({arm: step.outputs[0] for arm, step in trained.items()}, self.settings.seed)

    # -- configuration ---------------------------------------------------------------------------------------

    def _config(self, *names: str, step: str | None = None) -> dict[str, Any]:
        """Preset files on top of one another, and the command line's settings of the step on top of them."""
        config: dict[str, Any] = {}
        for name in names:
            config = merged(config, load_preset(self.settings.stages, self.settings.preset, name))
        for name in dict.fromkeys([*names, *([step] if step else [])]):
            config = merged(config, self.settings.overrides.get(name, {}))
        return config

    def _training(self, folder: str, config: dict[str, Any], *, seed: int, stage: str | None = None) -> dict[str, Any]:
        """A LightningCLI configuration that belongs to this run."""
        return merged(
            config,
            {
                "seed_everything": seed,
                "run_dir": str(self.run.path(folder)),
                "data": {"source": str(self.source)},
                "logging": {"run": self.settings.name, "stage": stage or folder.replace("/", "-")},
            },
        )

    @property
    def _isolated(self) -> bool:
        """Several devices: each step is a process of its own, which Lightning's launcher can start again."""
        devices = as_devices(self.settings.devices)
        count = torch.cuda.device_count() if devices in ("auto", -1) else devices
        return bool(self.settings.launcher) or (isinstance(count, int) and count > 1)

    def _where(self, prefix: str = "trainer.") -> list[str]:
        """Arguments that say how many devices to use: no part of what decides a result."""
        devices = as_devices(self.settings.devices)
        return [] if devices == "auto" else [f"--{prefix}devices", str(devices)]

    def _samples_a_step(self, config: dict[str, Any]) -> int | None:
        """Samples of an optimiser step, over all devices; None where the configuration says nothing of it."""
        size = config.get("data", {}).get("batch_size")
        if not isinstance(size, int):
            return None
        accumulated = int(config.get("trainer", {}).get("accumulate_grad_batches", 1))
        devices = as_devices(self.settings.devices)
        # What "auto" finds may differ from node to node; a training refuses to go on where that matters.
        return size * accumulated * (max(devices, 1) if isinstance(devices, int) else 1) * self.settings.nodes

    def _command(self, folder: str, command: list[str], config: dict[str, Any], extra: list[str]) -> None:
        """Write the configuration beside the results, and run ``sfvd`` on it."""
        path = self.run.path(folder, f"{command[-1]}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Processes that share a step write the same, and must not read one another's half.
        partial = path.with_name(f".{path.name}.partial-{socket.gethostname()}-{os.getpid()}")
        partial.write_text(yaml.safe_dump(config, sort_keys=False))
        partial.replace(path)
        arguments = [*command, "--config", str(path), *extra]
        sfvd_command(
            arguments, isolated=self._isolated, keep_open=self.run.lock_files, launcher=self.settings.launcher
        )

    def _fit(self, name: str, stage: str, config: dict[str, Any], inputs: dict[str, Path]) -> Step:
        """Train one model in a folder of its own."""
        model = self.run.path(name, "model.ckpt")

        def action(resume: bool) -> None:
            where = [*self._where(), "--trainer.num_nodes", str(self.settings.nodes)]
            self._command(name, [stage, "fit"], config, [*where, *(["--ckpt_path", "last"] if resume else [])])

        decisive = {**deciding(config), "samples_a_step": self._samples_a_step(config)}
        return Step(name, decisive, inputs, [model], action, lambda: model_line(model))

    # -- stages ----------------------------------------------------------------------------------------------

    def _source(self) -> list[Step]:
        return [source_step(self.run, self.settings, self._config("source"), self.source)]

    def _stage1(self) -> list[Step]:
        config = self._training("scene", self._config("scene"), seed=self.settings.seed)
        config = merged(config, {"data": {"suspects": str(self.suspects)}})
        fit = self._fit("scene", "scene", config, {"source": self.source, "suspects": self.suspects})
        check = check_step(self.run, self.source, self._config("check"), self._config("motion").get("data", {}))
        scenes = self._predict("scenes", "scene", config, {}, self.scenes)
        return [*self._source(), check, self._segmenter("guide"), self._suspects(), fit, scenes]

    def _suspects(self) -> Step:
        """Where the guide suspects a wire in the training clips."""
        guide, out, seed = self.run.path("guide", "model.ckpt"), self.suspects, self.settings.seed

        def action(resume: bool) -> None:
            from sfvd_pl.pipeline.suspects import write_suspects

            write_suspects(out, self.source, guide, seed=seed)

        inputs = {"source": self.source, "guide": guide}
        return Step("suspects", {"seed": seed}, inputs, [out], action, lambda: f"wrote {out}")

    def _stage2(self) -> list[Step]:
        scene_ckpt = self.run.path("scene", "model.ckpt")
        config = self._training("motion", self._config("motion"), seed=self.settings.seed)
        data = {"scenes": str(self.scenes), "suspects": str(self.suspects)}
        config = merged(config, {"data": data, "model": {"network": self._scene_network()}})
        fit_config = merged(config, {"model": {"scene_ckpt": str(scene_ckpt)}})
        inputs = {"source": self.source, "suspects": self.suspects, "scene model": scene_ckpt}
        fit = self._fit("motion", "motion", fit_config, inputs)
        return [fit, self._predict("motions", "motion", config, {"scenes": self.scenes}, self.motions)]

    def _rollout(self) -> list[Step]:
        asked, seed = RolloutConfig.read(self._config("rollout")), self.settings.seed
        scenes, motions = (self.run.path("rollout", f"{name}.h5") for name in ("scenes", "motions"))
        scene = asked.scenes(self._training("scene", self._config("scene"), seed=seed))
        motion = asked.motions(self._training("motion", self._config("motion"), seed=seed), scenes)
        motion = merged(motion, {"model": {"network": self._scene_network()}})
        return [
            self._predict("rollout/scenes", "scene", scene, {}, scenes),
            self._predict("rollout/motions", "motion", motion, {"scenes": scenes}, motions),
            measure_step(self.run, self.source, motions, self.settings.preset, seed),
        ]

    def _scene_network(self) -> dict[str, Any]:
        """The motion network is the scene network inflated, so the preset says its size once."""
        network = self._config("scene").get("model", {}).get("network", {})
        return dict(network)

    def _predict(
        self, name: str, stage: str, config: dict[str, Any], inputs: dict[str, Path], out: Path
    ) -> Step:
        """Generate with a trained model."""
        model = self.run.path(stage, "model.ckpt")
        inputs = {"source": self.source, f"{stage} model": model, **inputs}

        def action(resume: bool) -> None:
            extra = ["--ckpt_path", str(model), "--out", str(out)]
            self._command(name, [stage, "predict"], config, [*self._where(), *extra])

        return Step(name, deciding(config), inputs, [out], action, lambda: clips_line(out))

    def _segmenter(self, role: str) -> Step:
        """A segmenter with a role of its own: guide, gate or evaluator."""
        base = self._config("segment", role)
        base.pop("arms", None)
        config = self._training(role, base, seed=self.settings.seed + SEGMENTER_SEEDS[role])
        return self._fit(role, "segment", config, {"source": self.source})

    def _features(self) -> Step:
        """The network by whose features clips are compared; no clip needs a label for it."""
        config = self._training("features", self._config("features"), seed=self.settings.seed + FEATURES_SEED)
        return self._fit("features", "features", config, {"source": self.source})

    def _augment(self) -> list[Step]:
        return [*self._guides(), *self._clips()]

    def _guides(self) -> list[Step]:
        """The second segmenter, where there are labels enough for one that can be told from the guide."""
        return [self._segmenter("gate")] if self._has_second_segmenter else []

    @property
    def _has_second_segmenter(self) -> bool:
        least = GateConfig(**self._config("augment").get("gate", {})).min_labelled_clips
        train, val = (ClipIndex(self.source, split) for split in ("train", "val"))
        labelled = np.unique(train.clip_of_frame[train.labelled_rows])
        return len(labelled) >= least and len(val.labelled_rows) > 0

    def _make_room_for_clips(self) -> None:
        """Clips of other settings move aside now: the processes that make the new ones don't know of one another."""
        (clips,) = self._clips()
        if all(path.exists() for path in clips.inputs.values()):
            self.run.make_room(clips)

    def _clips(self) -> list[Step]:
        """The generated clips."""
        paths = {
            "source": self.source,
            "suspects": self.suspects,
            "scene_ckpt": self.run.path("scene", "model.ckpt"),
            "motion_ckpt": self.run.path("motion", "model.ckpt"),
            "guide_ckpt": self.run.path("guide", "model.ckpt"),
        }
        if self._has_second_segmenter:
            paths["gate_ckpt"] = self.run.path("gate", "model.ckpt")
        config = merged(
            self._config("augment"),
            {
                **{key: str(path) for key, path in paths.items()},
                "out": str(self.synthetic),
                "run_dir": str(self.run.path("augment")),
                "seed": self.settings.seed,
                "logging": {"run": self.settings.name, "stage": "augment"},
            },
        )

        def action(resume: bool) -> None:
            self._command("augment", ["augment"], config, self._where(""))

        out = self.synthetic
        return [Step("augment", deciding(config), paths, [out], action, lambda: synthetic_line(out))]

    def _segment(self) -> list[Step]:
        base, arms = self._config("segment"), self.arms
        base.pop("arms", None)
        steps: list[Step] = []
        predictions: list[Path] = []
        # Without labels to test on, the arms are trained all the same.
        tested = not self.source.exists() or len(ClipIndex(self.source, "test", "annotated").labelled_rows) > 0
        for seed in self.seeds:
            checkpoints = {}
            for arm in arms:
                step = self._arm(base, arm, seed)
                checkpoints[arm] = step.outputs[0]
                steps.append(step)
            if tested:
                steps.append(self._predictions(checkpoints, seed))
                predictions.append(steps[-1].outputs[0])
        return [*steps, self._segmenter("evaluator"), self._features(), self._report(predictions)]

    def _arm(self, base: dict[str, Any], arm: str, seed: int) -> Step:
        folder = self._seeded(f"segment/{arm}", seed)
        config = self._training(folder, base, seed=seed)
        files = {name: getattr(self, name) for name in NEEDS.get(arm, ())}
        data = {"mix": {"arm": arm}, **{name: str(path) for name, path in files.items()}}
        return self._fit(folder, "segment", merged(config, {"data": data}), {"source": self.source, **files})

    def _seeded(self, name: str, seed: int) -> str:
        """The run's own seed keeps the plain name, so that more seeds later don't train the first one again."""
        return name if seed == self.settings.seed else f"{name}-seed{seed}"

    def _predictions(self, checkpoints: dict[str, Path], seed: int) -> Step:
        from sfvd_pl.pipeline.evaluation.segmentation import write_segmentation

        name = self._seeded("segmentation", seed)
        out = self.run.path(f"{name}.h5")
        config = {"seed": seed, "arms": list(checkpoints)}

        def action(resume: bool) -> None:
            write_segmentation(out, self.source, checkpoints, seed=seed, config=config)

        inputs = {"source": self.source, **checkpoints}
        return Step(name, config, inputs, [out], action, lambda: f"wrote {out}")

    def _report(self, predictions: list[Path]) -> Step:
        from sfvd_pl.pipeline.report.write import RunFacts, report_step

        logging = LoggingConfig(wandb=self._wandb, run=self.settings.name, stage="report")
        facts = RunFacts(
            preset=self.settings.preset,
            seed=self.settings.seed,
            seeds=tuple(self.seeds) if predictions else (),
            predictions=tuple(predictions),
            generated=self.synthetic,
            evaluator=self.run.path("evaluator", "model.ckpt"),
            features=self.run.path("features", "model.ckpt"),
            logging=logging,
        )
        return report_step(self.run, facts)

    @property
    def _wandb(self) -> Any:
        """Whether the segmenters' figures go to W&B: then so does the report."""
        return self._config("segment").get("logging", {}).get("wandb", "auto")


def deciding(config: dict[str, Any]) -> dict[str, Any]:
    """Settings without those that decide no result."""
    kept = {key: value for key, value in config.items() if key not in WITHOUT_EFFECT[""]}
    for section in kept.keys() & WITHOUT_EFFECT.keys():
        kept[section] = {key: value for key, value in kept[section].items() if key not in WITHOUT_EFFECT[section]}
    return kept
