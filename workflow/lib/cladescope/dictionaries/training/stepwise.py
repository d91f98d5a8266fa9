"""Learners that take one step at a time and report it at once."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.batches import Batches
from cladescope.dictionaries.training.schedule import Pace
from cladescope.dictionaries.training.spec import Step, Stretch


class Stepper(Protocol):
    """An autoencoder that is told its learning rate and which latents are dead."""

    start: Dictionary

    def step(
        self, x: Float[np.ndarray, "batch d"], rate: float, dead: Bool[np.ndarray, " width"]
    ) -> Step:
        """Take one step on normalised activations; AuxK works on the latents marked dead."""

    def lift(self, latents: Bool[np.ndarray, " width"], by: float) -> None:
        """Raise the encoder bias of some latents."""

    def state(self) -> dict[str, np.ndarray]:
        """Return everything that later steps depend on, but for what is counted here."""

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""

    def finished(self, sample: Iterable[np.ndarray]) -> dict[str, Any]:
        """Return the trained fields of the `Dictionary`, given batches of training data."""


class Stepwise:
    """A stepper as a `Learner`: counts how long latents are silent, and lifts those that are."""

    def __init__(self, stepper: Stepper, pace: Pace):
        self.start = stepper.start
        self.stepper = stepper
        self.finished = stepper.finished
        self.layout = type(stepper).__name__
        self._pace = pace
        self._silent = np.zeros(pace.width, np.int64)

    def take(self, batches: Batches, some: range, step: int) -> Iterator[Stretch]:
        """Take a step on each of some batches, the first being the run's step of that number."""
        pace, recipe = self._pace, self._pace.recipe
        for number, batch in enumerate(some, step):
            x = self.start.normalise(batches[batch])
            dead = self._silent >= pace.after(recipe.dead_share)
            report = self.stepper.step(x, pace.rate(number), dead)
            self._silent += len(x)
            self._silent[report.firing > 0] = 0
            self.stepper.lift(self._silent >= pace.after(recipe.lift_share), pace.lift(number))
            error = report.squared_error / x.size
            worst = error if math.isfinite(report.gradient_norm) else math.nan
            yield Stretch(report, 1, worst, float(dead.mean()))

    def state(self) -> dict[str, np.ndarray]:
        """Return everything that later steps depend on."""
        return {**self.stepper.state(), "silent": self._silent}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        self._silent = state["silent"]
        self.stepper.restore(state)
