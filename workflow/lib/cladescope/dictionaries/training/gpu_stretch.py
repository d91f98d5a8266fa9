"""What learners on a GPU share: a stretch of steps is launched as a whole and asked for once.

Batches are picked, rates, silent latents and the log kept on the device; nothing between a
stretch's launch and the question for its report waits for it. A step is recorded once as a CUDA
graph and replayed. Small dictionaries work side by side, each lane of them on a stream of its own
with memory of its own; large ones, which fill a GPU alone, one after another in one lane.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.batches import Batches
from cladescope.dictionaries.training.cost import LANES, SMALL_STEP
from cladescope.dictionaries.training.feeding import Feed, sent
from cladescope.dictionaries.training.plain_step import Autoencoder
from cladescope.dictionaries.training.schedule import ADAM_EPSILON, Pace, adam_betas
from cladescope.dictionaries.training.spec import Step, Stretch

LEAST_DEAD = 256
"""Room for dead latents in a step that has any."""
LIFT_AT, PENALTY_AT = 5, 6
"""Where a step's rates say, behind Adam's five (`expressions.update`), how far silent latents are
lifted and what share of its coefficient the penalty has."""


class Lane(NamedTuple):
    """Where steps follow one another on a GPU."""

    stream: torch.cuda.Stream
    pool: Any
    """Memory of recorded steps: none leaves anything there."""


@cache
def _lane(device: torch.device, number: int) -> Lane:
    return Lane(torch.cuda.Stream(device), torch.cuda.graph_pool_handle())


_small = count(1)


@dataclass
class Totals:
    """What a stretch has come to so far, on the device."""

    sums: Float[Tensor, " losses_2"]
    """Squared error, norm of the gradient, losses; float64."""
    worst: Float[Tensor, ""]
    dead: Float[Tensor, ""]
    firing: Int[Tensor, " width"]

    @classmethod
    def zero(cls, width: int, losses: int, device: torch.device) -> "Totals":
        """Return those of no step."""
        sums = torch.zeros(2 + losses, dtype=torch.float64, device=device)
        worst, dead = torch.zeros(2, dtype=torch.float64, device=device)
        return cls(sums, worst, dead, torch.zeros(width, dtype=torch.int64, device=device))

    def report(self, silent: Int[Tensor, " width"]) -> Float[Tensor, " n"]:
        """Return them in a row, and the silent counts; begin again from zero."""
        parts = self.sums, torch.stack([self.worst, self.dead]), self.firing, silent
        report = torch.cat([part.double() for part in parts])
        for tensor in (self.sums, self.worst, self.firing):
            tensor.zero_()
        return report


class DeviceLearner(ABC):
    """An autoencoder in training on a torch device; what a step computes is the subclass's.

    Parameters
    ----------
    start
        Before the first step; only its normalisation and what inference needs are kept.
    memory
        Bytes that a step works in: it says whether others may work beside it.
    graphs
        Whether a step is recorded once and replayed; for GPUs only.
    """

    layout: str

    def __init__(
        self,
        kind: type[Autoencoder],
        start: Dictionary,
        pace: Pace,
        device: torch.device,
        memory: int,
        graphs: bool = True,
    ):
        # The first weights lie on the device: the host keeps the normalisation.
        nothing = np.empty((0, len(start.mean)), np.float32)
        self.start = replace(start, encoder=nothing, decoder=nothing)
        self.kind, self.pace, self.device = kind, pace, device
        penalised = kind.penalty is not Autoencoder.penalty
        self.losses = ["loss", "aux_loss"] + ["penalty_loss"] * penalised
        self.aux_coefficient = pace.recipe.aux_coefficient if kind.revives else 0.0
        self.beside = memory <= SMALL_STEP
        self._lane: Lane | None = None
        self._graphs: dict[int, torch.cuda.CUDAGraph] | None = None
        if device.type == "cuda":
            self._lane = _lane(device, 1 + next(_small) % LANES if self.beside else 0)
            self._graphs = {} if graphs else None
        batch, d = pace.recipe.batch_size, len(start.mean)
        self.silent = torch.zeros(pace.width, dtype=torch.int64, device=device)
        self._known_silent = np.zeros(pace.width, np.int64)
        self._totals = Totals.zero(pace.width, len(self.losses), device)
        self._mean = torch.from_numpy(start.mean).to(device)
        # What a recorded step reads.
        self._x = torch.zeros(batch, d, device=device)
        self._rates = torch.zeros(7, device=device)
        self._feed = Feed(device)

    @abstractmethod
    def _step(self, capacity: int) -> None:
        """Take a step on the batch in `_x`, of which at most so many latents are dead.

        Nothing in it waits for the device, and what is kept is written in place.
        """

    @abstractmethod
    def _lift(self, latents: Bool[Tensor, " width"], by: Float[Tensor, ""]) -> None:
        """Raise the encoder bias of some latents."""

    @abstractmethod
    def _tensors(self) -> dict[str, Tensor]:
        """Return, by name, what later steps depend on, besides the silent counts."""

    @abstractmethod
    def finished(self, sample: Iterable[np.ndarray]) -> dict[str, Any]:
        """Return the trained fields of the `Dictionary`; what recorded steps held is let go."""

    def take(self, batches: Batches, some: range, step: int) -> Iterator[Stretch | None]:
        """Take a step on each of some batches, the first being the run's step of that number.

        Where others may work beside it, yields None between the launch and the report.
        """
        with self._in_lane():
            report, event = self._launch(batches, some, step)
        if self.beside:
            yield None
        if event:
            event.synchronize()
        yield self._stretch(report.numpy(), len(some))

    def state(self) -> dict[str, np.ndarray]:
        """Return everything that later steps depend on."""
        tensors = {**self._tensors(), "silent": self.silent}
        return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}

    @torch.no_grad()
    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        for name, tensor in {**self._tensors(), "silent": self.silent}.items():
            tensor.copy_(torch.from_numpy(state[name]))
        self._known_silent = state["silent"].copy()

    def _in_lane(self) -> AbstractContextManager[Any]:
        if not self._lane:
            return nullcontext()
        # What was copied or restored outside of it comes first.
        self._lane.stream.wait_stream(torch.cuda.current_stream(self.device))
        return torch.cuda.stream(self._lane.stream)

    def _launch(
        self, batches: Batches, some: range, step: int
    ) -> tuple[Float[Tensor, " n"], torch.cuda.Event | None]:
        """Queue the steps and what they come to; return it, and what says that it is there."""
        capacity = self._dead_soon(len(some))
        rates = sent(
            torch.tensor([self._rates_of(step + n) for n in range(len(some))]), self.device
        )
        for number, raw in enumerate(self._feed.batches(batches, some)):
            torch.sub(raw, self._mean, out=self._x).div_(self.start.scale)
            self._rates.copy_(rates[number])
            self._run(capacity)
        report = self._totals.report(self.silent).to("cpu", non_blocking=True)
        if not self._lane:
            return report, None
        event = torch.cuda.Event()
        event.record()
        return report, event

    def _stretch(self, report: Float[np.ndarray, " n"], steps: int) -> Stretch:
        error, norm, *losses = report[: 2 + len(self.losses)].tolist()
        worst, dead = report[2 + len(self.losses) :][:2].tolist()
        firing, silent = report[4 + len(self.losses) :].astype(np.int64).reshape(2, -1)
        self._known_silent = silent
        named = dict(zip(self.losses, losses, strict=True))
        return Stretch(Step(named, error, firing, norm), steps, worst, dead)

    def _dead_soon(self, steps: int) -> int:
        """Return a bound on the latents that are dead in one of the next steps, a power of two."""
        if not self.aux_coefficient:
            return 0
        rows = (steps - 1) * self.pace.recipe.batch_size
        last = self.pace.after(self.pace.recipe.dead_share)
        dead = int((self._known_silent + rows >= last).sum())
        # Few different numbers: each is a step to be recorded.
        return min(max(LEAST_DEAD, 1 << (dead - 1).bit_length()), self.pace.width) if dead else 0

    def _rates_of(self, step: int) -> tuple[float, ...]:
        """Return what a step reads besides its batch: Adam's rates, `LIFT_AT` and `PENALTY_AT`."""
        pace, (first, second) = self.pace, adam_betas(self.pace.steps)
        size = pace.rate(step) / (1 - first ** (step + 1))
        correction = 1 / (1 - second ** (step + 1))
        warmup = pace.recipe.warmup_share * pace.steps
        penalty = min(1.0, (step + 1) / max(warmup, 1.0))
        return size, first, second, correction, ADAM_EPSILON, pace.lift(step), penalty

    def _run(self, capacity: int) -> None:
        """Take a step; the first of its kind as it is written, the second recorded, then replayed.

        Kernels are compiled and libraries set up in the first, which no recording may do. The
        same stream throughout: cuBLAS has memory of its own for each, which lanes must not share.
        """
        if self._graphs is None or not self._lane:
            self._step(capacity)
        elif capacity in self._graphs:
            self._graphs[capacity].replay()
        else:
            self._step(capacity)
            graph, (stream, pool) = torch.cuda.CUDAGraph(), self._lane
            # Another thread may be copying the next block.
            with torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
                self._step(capacity)
            self._graphs[capacity] = graph

    def _forget_recorded(self) -> None:
        self._graphs = None if self._graphs is None else {}

    def _dead(self) -> tuple[Bool[Tensor, " width"], Float[Tensor, ""]]:
        """Return which latents are dead, and their share."""
        dead = self.silent >= self.pace.after(self.pace.recipe.dead_share)
        return dead, dead.double().mean()

    @torch.no_grad()
    def _close_step(
        self,
        losses: Sequence[Float[Tensor, ""]],
        squared_error: Float[Tensor, ""],
        norm: Float[Tensor, ""],
        firing: Int[Tensor, " width"],
        dead_share: Float[Tensor, ""],
    ) -> None:
        """Count what a step has come to and how long latents are silent; lift those that are."""
        (rows, d), totals = self._x.shape, self._totals
        self.silent.copy_(torch.where(firing > 0, 0, self.silent + rows))
        if self.kind.revives:
            silent = self.silent >= self.pace.after(self.pace.recipe.lift_share)
            self._lift(silent, self._rates[LIFT_AT])
        totals.sums.add_(torch.stack([squared_error, norm, *losses]))
        worst = torch.where(norm.isfinite(), squared_error / (rows * d), torch.nan)
        totals.worst.copy_(torch.maximum(totals.worst, worst))
        totals.firing.add_(firing)
        totals.dead.copy_(dead_share)


def first_dead(dead: Bool[Tensor, " width"], capacity: int) -> Int[Tensor, " capacity"]:
    """Return so many latents, the dead ones first, each kind in order."""
    return (~dead).byte().argsort(stable=True)[:capacity]
