"""The training loop that all trained variants share.

Batches, learning rate, dead latents, log, checkpoints and the check for divergence are here; what a
step does is the learner's. Every quantity that a step depends on is a function of the step's number
or part of the checkpoint, so that an interrupted run ends with the same bits.
"""

import logging
import math
import time
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.base import ADAM_BETAS, FitSpec, Job, Recipe, Step
from cladescope.dictionaries.training.batches import Source, batches
from cladescope.dictionaries.training.checkpoint import load_checkpoint, save_checkpoint
from cladescope.jobs import progress

REFERENCE_WIDTH = 2**14
REFERENCE_STEPS = 250
WIDTH_EXPONENT = 1 / 6
STEPS_EXPONENT = 1 / 2
"""How the best learning rate falls with the width and the steps beyond the references.

Measured, as all that follows from them; see docs/dictionaries.md.
"""
LIFT = 2.0
"""Learning rates by which a silent latent is lifted in a step."""
LOGGED_STEPS = 100
DENSE_RATE = 0.5
DIVERGED = 10.0
"""A normalised squared error above this, after warm-up, is a diverged run; the mean scores 1."""
CHECKPOINT_SECONDS = 300.0


class Learner(Protocol):
    """A dictionary in training."""

    def step(
        self, x: Float[np.ndarray, "batch d"], rate: float, dead: Bool[np.ndarray, " width"]
    ) -> Step:
        """Take one step on normalised activations; AuxK works on the latents marked dead."""

    def lift(self, latents: Bool[np.ndarray, " width"], by: float) -> None:
        """Raise the encoder bias of some latents."""

    def state(self) -> dict[str, np.ndarray]:
        """Return everything that later steps depend on."""

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""

    def finished(self, sample: Iterable[np.ndarray]) -> dict[str, Any]:
        """Return the trained fields of the `Dictionary`, given batches of training data."""


def train(
    learner: Learner, start: Dictionary, source: Source, spec: FitSpec, job: Job
) -> dict[str, np.ndarray]:
    """Run the whole training, from the job's checkpoint if there is one, and return the log.

    Raises
    ------
    FloatingPointError
        If the loss is not finite or explodes; names the step, the loss and the learning rate.
    """
    assert spec.recipe and spec.width and spec.seed is not None
    recipe = spec.recipe
    steps = n_steps(recipe, source)
    peak = peak_rate(recipe, spec.width, steps)
    rows_in_run = steps * recipe.batch_size
    interval = max(1, steps // LOGGED_STEPS)
    first = 0
    silent = np.zeros(spec.width, np.int64)
    log = Log(spec.width, source.d)
    if job.checkpoint and (found := load_checkpoint(job.checkpoint, job.key)):
        first, state = found
        silent = state.pop("silent")
        log.restore(state)
        learner.restore(state)
        logging.info("continuing from step %d of %d", first, steps)
    started = saved = time.monotonic()
    stream = batches(source, recipe.batch_size, spec.seed, first, steps)
    for step, rows in enumerate(progress(stream, steps - first, "training"), first):
        rate = peak * schedule(step, steps, recipe)
        dead = silent >= recipe.dead_share * rows_in_run
        report = learner.step(start.normalise(rows), rate, dead)
        log.add(report, len(rows))
        error = report.squared_error / rows.size
        if not math.isfinite(error + report.gradient_norm) or (
            error > DIVERGED and step > recipe.warmup_share * steps
        ):
            raise FloatingPointError(
                f"training diverged at step {step + 1}: normalised error {error:g}, learning rate "
                f"{rate:g}; lower training.learning_rate"
            )
        silent += len(rows)
        silent[report.firing > 0] = 0
        learner.lift(silent >= recipe.lift_share * rows_in_run, lift(rate, steps))
        if (step + 1) % interval == 0 or step == steps - 1:
            images = (step + 1) * recipe.batch_size // source.tokens
            log.close_interval(step + 1, images, float(dead.mean()), rate)
        if job.checkpoint and time.monotonic() - saved >= CHECKPOINT_SECONDS:
            state = {**learner.state(), **log.state(), "silent": silent}
            save_checkpoint(job.checkpoint, job.key, step + 1, state)
            saved = time.monotonic()
    seconds = time.monotonic() - started
    columns = log.columns()
    # The speed is in this file alone: a table of results must not change with the load.
    logging.info(
        "%d steps, %.0f tokens/s: loss %.4g, FVE %.3f",
        steps - first,
        (steps - first) * recipe.batch_size / max(seconds, 1e-9),
        columns["loss"][-1],
        columns["fve"][-1],
    )
    return columns


def n_steps(recipe: Recipe, source: Source) -> int:
    """Return the length of a run in steps; a step takes `batch_size` tokens."""
    return max(1, recipe.images * source.tokens // recipe.batch_size)


def peak_rate(recipe: Recipe, width: int, steps: int) -> float:
    """Return the learning rate between warm-up and decay."""
    narrow = (REFERENCE_WIDTH / width) ** WIDTH_EXPONENT
    long = max(1.0, steps / REFERENCE_STEPS) ** -STEPS_EXPONENT
    return recipe.learning_rate * narrow * long


def adam_betas(steps: int) -> tuple[float, float]:
    """Return Adam's: gradients are averaged over a hundredth of the run, 2 to 10 steps.

    A longer average lags behind in a short run, a shorter one lets activations of low rank
    destabilise the run.
    """
    longest, second = ADAM_BETAS
    return min(max(1 - 100 / steps, 0.5), longest), second


def lift(rate: float, steps: int) -> float:
    """Return how far a silent latent's bias rises in one step of a run of so many.

    Twice as far as Adam moves a parameter whose gradients agree, and further in short runs, so
    that all of the run lifts as far as 250 steps do.
    """
    return LIFT * rate * max(1.0, REFERENCE_STEPS / steps)


def schedule(step: int, steps: int, recipe: Recipe) -> float:
    """Return the learning rate's factor: linear warm-up, constant, linear decay to zero."""
    warmup = recipe.warmup_share * steps
    decay = recipe.decay_share * steps
    rise = (step + 1) / warmup if warmup else 1.0
    fall = (steps - step) / decay if decay else 1.0
    return min(1.0, rise, fall)


class Log:
    """What a run reports: the mean of each interval, one row per interval."""

    def __init__(self, width: int, d: int):
        self._d = d
        self._rows: dict[str, list[float]] = {}
        self._sums: dict[str, float] = {}
        self._firing = np.zeros(width, np.int64)

    def add(self, report: Step, n: int) -> None:
        """Take in the report of one step on n rows."""
        values = {f"mean.{name}": value for name, value in report.losses.items()}
        values |= {"mean.gradient_norm": report.gradient_norm}
        values |= {"squared_error": report.squared_error, "rows": float(n), "steps": 1.0}
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._firing += report.firing

    def close_interval(self, step: int, images: int, dead_share: float, rate: float) -> None:
        """Write the row of the interval that ends with `step`."""
        sums, rows = self._sums, self._sums["rows"]
        # E‖x'‖² = d: the normalisation has made the variance 1.
        row = {
            "step": step,
            "images": images,
            "fve": 1 - sums["squared_error"] / (rows * self._d),
            "l0": self._firing.sum() / rows,
            "dead_share": dead_share,
            "dense_share": (self._firing > DENSE_RATE * rows).mean(),
            "learning_rate": rate,
        }
        for name in sorted(name for name in sums if name.startswith("mean.")):
            row[name.removeprefix("mean.")] = sums[name] / sums["steps"]
        for name, value in row.items():
            self._rows.setdefault(name, []).append(float(value))
        self._sums = {}
        self._firing[:] = 0

    def columns(self) -> dict[str, np.ndarray]:
        """Return the log so far; step and images are integers."""
        return {
            name: np.array(self._rows[name], np.int64 if name in ("step", "images") else np.float64)
            for name in sorted(self._rows)
        }

    def state(self) -> dict[str, np.ndarray]:
        """Return the log and the interval under way as arrays."""
        rows = {f"log.row.{name}": np.array(values) for name, values in self._rows.items()}
        sums = {f"log.sum.{name}": np.array(value) for name, value in self._sums.items()}
        return {**rows, **sums, "log.firing": self._firing}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        for name, value in state.items():
            if name.startswith("log.row."):
                self._rows[name.removeprefix("log.row.")] = value.tolist()
            elif name.startswith("log.sum."):
                self._sums[name.removeprefix("log.sum.")] = float(value)
        self._firing = state["log.firing"]
