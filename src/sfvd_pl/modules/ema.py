"""Exponential moving average of the weights, once an optimiser step."""

from typing import Any

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from sfvd_pl.errors import ConfigError


class EMA(WeightAveraging):
    """Averages the weights with a horizon that grows with the training up to ``decay``.

    The decay of step n is ``min(decay, (1 + n) / (10 + n))`` (as TensorFlow's ExponentialMovingAverage), so that a
    short training does not average over its own random start. A checkpoint's ``state_dict`` holds the average, the
    raw weights are beside it under ``current_model_state``, from which the training resumes.

    Args:
        decay: Largest decay; 0.999 looks back over about a thousand optimiser steps.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0.0 <= decay < 1.0:
            raise ConfigError("the decay of an average", key="decay", expected="0 <= decay < 1", found=decay)
        self.decay = decay
        super().__init__(multi_avg_fn=self._average)

    def _average(self, averaged: list[Tensor], current: list[Tensor], num_averaged: Tensor | int) -> None:
        step = int(num_averaged)
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(averaged, current, 1.0 - decay)

    def __deepcopy__(self, memo: dict[int, Any]) -> "EMA":
        """A fresh callback with the same decay: copying a model must not copy its average."""
        return EMA(self.decay)
