"""The training loop that all trained variants share.

Batches, learning rate, dead latents, log, checkpoints and the check for divergence are here; what a
step does is the learner's. Every quantity that a step depends on is a function of the step's number
or part of the checkpoint, so that an interrupted run ends with the same bits. Runs know nothing of
each other: several that share a reading end with the bits that each has alone. One that waits for
its device leaves its turn to the next, so that small dictionaries work there side by side; one that
never waits, such as any on a processor, takes a block's steps in one turn.
"""

import logging
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice, repeat
from traceback import clear_frames
from typing import Any, Protocol

import numpy as np
from jaxtyping import Shaped

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.batches import (
    Batches,
    Block,
    Source,
    batches_per_block,
    in_turn,
)
from cladescope.dictionaries.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cladescope.dictionaries.training.log import Log
from cladescope.dictionaries.training.schedule import Pace, n_steps
from cladescope.dictionaries.training.spec import FitSpec, Stretch
from cladescope.jobs import progress

LOGGED_STEPS = 100
DIVERGED = 10.0
"""A normalised squared error above this, after warm-up, is a diverged run; the mean scores 1."""
CHECKPOINT_SECONDS = 300.0


class Learner(Protocol):
    """A dictionary in training, with what it keeps count of on the way."""

    start: Dictionary
    """As it was before the first step; only its normalisation need be kept."""
    layout: str
    """Names what `state` holds: another kind of learner cannot continue from it."""

    def take(self, batches: Batches, some: range, step: int) -> Iterator[Stretch | None]:
        """Take a step on each of some batches, the first being the run's step of that number.

        Yields as often as it suits the learner; None where it would wait, and others may work.
        """

    def state(self) -> dict[str, np.ndarray]:
        """Return everything that later steps depend on."""

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""

    def finished(self, sample: Iterable[np.ndarray]) -> dict[str, Any]:
        """Return the trained fields of the `Dictionary`, given batches of training data."""


Blocks = Callable[[int], Iterator[Shaped[np.ndarray, "rows d"]]]
"""Yields a source's blocks of raw rows without end, from the block of a number."""
Read = Callable[[Iterable[Shaped[np.ndarray, "rows d"]]], Iterator[Block]]
"""Yields the blocks that rows are in."""


def train(
    runs: Sequence["Run"], blocks: Blocks, done: Callable[["Run"], None], read: Read = in_turn
) -> None:
    """Take all runs to their end with one reading of the blocks; call `done` as each ends.

    A run that continues from a checkpoint joins at the block where it was. When one fails the
    others go on to their end. No block is read that is behind the last which a run needs.

    Raises
    ------
    FloatingPointError
        The first failure: a loss that is not finite or explodes.
    """
    failures: list[FloatingPointError] = []
    left = sum(run.steps - run.step for run in runs)
    for _ in progress(_steps(list(runs), blocks, read, done, failures), left, "training"):
        pass
    if failures:
        raise failures[0]


def _steps(
    going: list["Run"],
    blocks: Blocks,
    read: Read,
    done: Callable[["Run"], None],
    failures: list[FloatingPointError],
) -> Iterator[None]:
    """Yield after each step of any run."""
    for run in [run for run in going if run.over]:
        going.remove(run)
        done(run)
    if not going:
        return
    first, last = min(run.block for run in going), max(run.last_block for run in going)
    for number, block in enumerate(read(islice(blocks(first), last - first + 1)), first):
        ways = {run: run.through(block) for run in going if run.block == number}
        while ways:
            for run, way in list(ways.items()):
                try:
                    if not (yield from _turn(way)):
                        continue
                except FloatingPointError as error:
                    # They hold the block.
                    clear_frames(error.__traceback__)
                    failures.append(error)
                    going.remove(run)
                else:
                    if run.over:
                        going.remove(run)
                        done(run)
                del ways[run]
        if not going:
            return
        # Its memory is for the block after the next.
        del block


def _turn(way: Iterator[int]) -> Generator[None, None, bool]:
    """Yield for each step that a run takes until it waits; return whether it is through instead."""
    for steps in way:
        if not steps:
            return False
        yield from repeat(None, steps)
    return True


class Run:
    """One dictionary on its way: how far it is and what was logged.

    It continues from its checkpoint, if there is one of this run, and leaves its state there.
    """

    def __init__(
        self,
        learner: Learner,
        source: Source,
        spec: FitSpec,
        checkpoint: Checkpoint | None = None,
    ):
        assert spec.recipe and spec.width and spec.seed is not None
        self.learner = learner
        self.recipe, self.seed = spec.recipe, spec.seed
        self.steps = n_steps(spec.recipe, source.tokens)
        self.step = 0
        self._tokens = source.tokens
        self._per_block = batches_per_block(source, spec.recipe.batch_size)
        self._pace = Pace.of(spec, self.steps)
        self._log = Log(spec.width, source.d)
        self._checkpoint = checkpoint and checkpoint._replace(
            key=f"{checkpoint.key} {learner.layout}"
        )
        self._seconds, self._steps_here = 0.0, 0
        self._saved = time.monotonic()
        if self._checkpoint and (found := load_checkpoint(*self._checkpoint)):
            self.step, state = found
            self._log.restore(state)
            learner.restore(state)
            logging.info("continuing from step %d of %d", self.step, self.steps)

    @property
    def over(self) -> bool:
        """Whether no step is left."""
        return self.step == self.steps

    @property
    def block(self) -> int:
        """The source's block that the next step is in."""
        return self.step // self._per_block

    @property
    def last_block(self) -> int:
        """The source's block that the last step is in."""
        return (self.steps - 1) // self._per_block

    def through(self, block: Block) -> Iterator[int]:
        """Take the steps of the block that the next one is in.

        Yields how many were taken; 0 where the learner would wait.

        Raises
        ------
        FloatingPointError
            If the loss is not finite or explodes; names the step, the loss and the learning rate.
        """
        batches = Batches(block, self.recipe.batch_size, self.seed, self.block)
        batch = self.step % self._per_block
        last = min(self._per_block, batch + self.steps - self.step)
        while batch < last:
            some = range(batch, min(last, batch + self._until_logged()))
            started = time.monotonic()
            for stretch in self.learner.take(batches, some, self.step):
                if stretch is None:
                    yield 0
                    continue
                self._take_in(stretch)
                now = time.monotonic()
                self._seconds += now - started
                self._steps_here += stretch.steps
                if self._checkpoint and now - self._saved >= CHECKPOINT_SECONDS:
                    state = {**self.learner.state(), **self._log.state()}
                    save_checkpoint(*self._checkpoint, self.step, state)
                    self._saved = now
                yield stretch.steps
                started = time.monotonic()
            batch = some.stop

    def log(self) -> dict[str, np.ndarray]:
        """Return the columns of the log so far, and tell the job's log how it went."""
        columns = self._log.columns()
        # The speed is in this file alone: a table of results must not change with the load.
        logging.info(
            "%d steps, %.0f tokens/s: loss %.4g, FVE %.3f",
            self._steps_here,
            self._steps_here * self.recipe.batch_size / max(self._seconds, 1e-9),
            columns["loss"][-1],
            columns["fve"][-1],
        )
        return columns

    def _until_logged(self) -> int:
        """Return the steps to the next row of the log."""
        interval = max(1, self.steps // LOGGED_STEPS)
        return interval - self.step % interval

    def _take_in(self, stretch: Stretch) -> None:
        recipe = self.recipe
        self._log.add(stretch, recipe.batch_size)
        after_warmup = self.step > recipe.warmup_share * self.steps
        self.step += stretch.steps
        if not math.isfinite(stretch.worst) or (stretch.worst > DIVERGED and after_warmup):
            raise FloatingPointError(
                f"training diverged at step {self.step}: normalised error {stretch.worst:g}, "
                f"learning rate {self._pace.rate(self.step - 1):g}; lower training.learning_rate"
            )
        if self.step % max(1, self.steps // LOGGED_STEPS) == 0 or self.over:
            images = self.step * recipe.batch_size // self._tokens
            rate = self._pace.rate(self.step - 1)
            self._log.close_interval(self.step, images, stretch.dead_share, rate)
