"""Numbers that trainings logged."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """A number that a training logged.

    Attributes:
        model: Which model or models; curves of one share a plot.
        name: In the legend; curves of one name are repetitions.
        unit: What the number is, such as ``loss``.
        steps: (n,) optimiser steps.
        values: (n,).
        of_steps: Of single optimiser steps, and so noisy.
    """

    model: str
    name: str
    unit: str
    steps: tuple[int, ...]
    values: tuple[float, ...]
    of_steps: bool = False
