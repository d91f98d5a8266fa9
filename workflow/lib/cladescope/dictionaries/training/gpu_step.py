"""The training step on a GPU for variants that keep few latents: nothing dense after the selection.

The encoder's product is taken in bfloat16 and decides which latents are kept; their values, and so
every gradient, are computed in float32 from the rows themselves. Rates, silent latents and the log
stay on the device, which is asked once a stretch, and a step is recorded as a CUDA graph. The
arithmetic is that of `training.plain_step`; `docs/performance.md` says what a step costs.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training import expressions
from cladescope.dictionaries.training.batches import Batches
from cladescope.dictionaries.training.cost import dictionary_memory, step_memory, widest
from cladescope.dictionaries.training.expressions import Entries, Extra, Weights
from cladescope.dictionaries.training.feeding import Feed
from cladescope.dictionaries.training.initial import Beginning, initial_dictionary
from cladescope.dictionaries.training.plain_step import Autoencoder, Autograd
from cladescope.dictionaries.training.schedule import ADAM_EPSILON, Pace, adam_betas, aux_latents
from cladescope.dictionaries.training.spec import FitSpec, Step, Stretch
from cladescope.dictionaries.training.stepwise import Stepwise
from cladescope.machines import check_compiler, free_memory, torch_device

LEAST_DEAD = 256
"""Room for dead latents in a step that has any."""


def begin_on_device(
    kind: type[Autoencoder], beginning: Beginning, spec: FitSpec, steps: int, threads: int = 1
) -> "SparseLearner | Stepwise":
    """Return an autoencoder before its first step: sparse on a GPU, plain elsewhere.

    Parameters
    ----------
    threads
        Any number: torch has its own.

    Raises
    ------
    ValueError
        If the GPU has too little memory for the width, and names the widest that it has room for,
        or for one more dictionary beside the others of the job.
    """
    device = torch_device()
    pace = Pace.of(spec, steps)
    if device.type == "cpu" or kind.keeping is None:
        return Stepwise(Autograd.begin(kind, beginning, spec, steps), pace)
    _, memory = torch.cuda.mem_get_info(device)
    free = free_memory(device)
    d, batch = len(beginning.mean), pace.recipe.batch_size
    need = dictionary_memory(pace.width, d) + step_memory(pace.width, d, batch)
    if need > memory:
        raise ValueError(
            f"a dictionary of {pace.width} latents over {d} dimensions does not fit into the "
            f"{memory / 1e9:.0f} GB of this GPU; up to {widest(memory, d, batch)} latents do with "
            f"training.batch_size {batch}: lower the sweep's width"
        )
    if need > free:
        raise ValueError(
            f"a dictionary of {pace.width} latents over {d} dimensions does not fit into the "
            f"{free / 1e9:.1f} GB that the others of this job leave of the GPU's memory; lower "
            "sweep.dictionaries_per_job"
        )
    return SparseLearner(kind, initial_dictionary(beginning, spec), spec, pace, device)


@dataclass
class Totals:
    """What a stretch has come to so far, on the device."""

    sums: Float[Tensor, "4"]
    """Loss, AuxK's, norm of the gradient, squared error; float64."""
    worst: Float[Tensor, ""]
    firing: Float[Tensor, " width"]
    dead: Float[Tensor, ""]

    @classmethod
    def zero(cls, width: int, device: torch.device) -> "Totals":
        """Return those of no step."""
        sums = torch.zeros(4, dtype=torch.float64, device=device)
        worst, dead = torch.zeros(2, dtype=torch.float64, device=device)
        return cls(sums, worst, torch.zeros(width, dtype=torch.int64, device=device), dead)

    def fetch(self, steps: int) -> Stretch:
        """Return them, and begin again from zero."""
        loss, aux, norm, error, worst, dead = torch.cat(
            [self.sums, torch.stack([self.worst, self.dead])]
        ).tolist()
        firing = self.firing.cpu().numpy().copy()
        total = Step({"loss": loss, "aux_loss": aux}, error, firing, norm)
        for tensor in (self.sums, self.worst, self.firing):
            tensor.zero_()
        return Stretch(total, steps, worst, dead)


class SparseLearner:
    """An autoencoder that keeps few latents, in training on a torch device.

    Those of a process share the memory in which their recorded steps work: steps follow one
    another, and none leaves anything there.

    Parameters
    ----------
    selection
        Precision of the product that decides which latents are kept.
    graphs
        Whether a step is recorded once and replayed; for GPUs only.
    """

    layout = "sparse"

    def __init__(
        self,
        kind: type[Autoencoder],
        start: Dictionary,
        spec: FitSpec,
        pace: Pace,
        device: torch.device,
        selection: torch.dtype = torch.bfloat16,
        graphs: bool = True,
    ):
        assert kind.keeping and spec.sparsity
        # The first weights lie on the device: the host keeps the normalisation.
        nothing = np.empty((0, len(start.mean)), np.float32)
        self.start = replace(start, encoder=nothing, decoder=nothing)
        self.kind, self.sparsity = kind, spec.sparsity
        self.pace, self.device, self.selection = pace, device, selection
        self._graphs: dict[int, torch.cuda.CUDAGraph] | None = (
            {} if graphs and device.type == "cuda" else None
        )
        self._operations: Any = expressions
        if device.type == "cuda" and selection == torch.bfloat16:
            check_compiler()
            from cladescope.dictionaries.training import gpu_kernels

            self._operations = gpu_kernels
        batch = pace.recipe.batch_size
        width, d = start.encoder.shape
        weights = (start.encoder, start.decoder, start.encoder_bias)
        self.weights = Weights(*(torch.from_numpy(value).to(device).clone() for value in weights))
        self.means = Weights(*map(torch.zeros_like, self.weights))
        self.squares = Weights(*map(torch.zeros_like, self.weights))
        # The decoder's bias, and its moments.
        self.bias = torch.from_numpy(start.decoder_bias).to(device).clone()
        self.bias_moments = torch.zeros(2, d, device=device)
        self.silent = torch.zeros(width, dtype=torch.int64, device=device)
        self._totals = Totals.zero(width, device)
        self._mean = torch.from_numpy(start.mean).to(device)
        ends = torch.tensor(kind.keeping.ends(width), device=device)
        latents = torch.arange(width, device=device)
        self._part_of = torch.searchsorted(ends, latents, right=True).int()
        self._limits = torch.cat([ends.new_zeros(1), ends[:-1]]) + width * torch.arange(
            batch, device=device
        ).unsqueeze(1)
        # What a recorded step reads.
        self._x = torch.zeros(batch, d, device=device)
        self._rates = torch.zeros(6, device=device)
        self._feed = Feed(device)

    def take(self, batches: Batches, some: range, step: int) -> Iterator[Stretch]:
        """Take a step on each of some batches, the first being the run's step of that number."""
        capacity = self._dead_soon(len(some))
        rates = torch.tensor([self._rates_of(step + n) for n in range(len(some))])
        rates = rates.to(self.device)
        for number, raw in enumerate(self._feed.batches(batches, some)):
            torch.sub(raw, self._mean, out=self._x).div_(self.start.scale)
            self._rates.copy_(rates[number])
            self._run(capacity)
        yield self._totals.fetch(len(some))

    def _dead_soon(self, steps: int) -> int:
        """Return a bound on the latents that are dead in one of the next steps, a power of two."""
        if not (self.pace.recipe.aux_coefficient and self.kind.revives):
            return 0
        rows = (steps - 1) * self.pace.recipe.batch_size
        dead = int((self.silent + rows >= self.pace.after(self.pace.recipe.dead_share)).sum())
        # Few different numbers: each is a step to be recorded.
        return min(max(LEAST_DEAD, 1 << (dead - 1).bit_length()), self.pace.width) if dead else 0

    def _rates_of(self, step: int) -> tuple[float, ...]:
        """Return what Adam needs in a step, and how far silent latents are lifted after it."""
        first, second = adam_betas(self.pace.steps)
        size = self.pace.rate(step) / (1 - first ** (step + 1))
        correction = 1 / (1 - second ** (step + 1))
        return size, first, second, correction, ADAM_EPSILON, self.pace.lift(step)

    def _run(self, capacity: int) -> None:
        """Take a step; the first of its kind as it is written, the second recorded, then replayed.

        Kernels are compiled and libraries set up in the first, which no recording may do.
        """
        if self._graphs is None:
            self._step(capacity)
        elif capacity in self._graphs:
            self._graphs[capacity].replay()
        else:
            aside, pool = _recording(self.device)
            aside.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(aside):
                self._step(capacity)
            torch.cuda.current_stream(self.device).wait_stream(aside)
            torch.cuda.empty_cache()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                self._step(capacity)
            self._graphs[capacity] = graph

    @torch.no_grad()
    def _step(self, capacity: int) -> None:
        """Take a step on the batch in `_x`, of which at most so many latents are dead.

        Nothing here waits for the device, and what is kept is written in place.
        """
        recipe, operations = self.pace.recipe, self._operations
        (rows, d), parts = self._x.shape, self._limits.shape[1]
        centred = self._x - self.bias
        dead = self.silent >= self.pace.after(recipe.dead_share)
        entries = self._select(centred)
        scale = 2 / (rows * d * parts)
        values, slopes, errors, pull = operations.decode(
            centred, self.weights, entries, scale, parts
        )
        squared_error = errors[:, -1].sum()
        aux, extra = self._aux(centred, pull[-1] / -scale, squared_error, dead, capacity)
        squares, through, firing = operations.update(
            centred, pull, entries, values, slopes, extra, self._part_of,
            self.weights, self.means, self.squares, self._rates,
        )  # fmt: skip
        slope = pull[0].sum(0) - through.sum(0)
        mean, square = self.bias_moments
        expressions.take_adams_step(self.bias, mean, square, slope, self._rates)
        norm = (squares.sum() + slope.square().sum()).sqrt()
        self.silent.copy_(torch.where(firing > 0, 0, self.silent + rows))
        if self.kind.revives:
            silent = self.silent >= self.pace.after(recipe.lift_share)
            self.weights.encoder_bias.add_(silent * self._rates[5])
        totals, error = self._totals, squared_error / (rows * d)
        totals.sums.add_(torch.stack([errors.sum() / (rows * d * parts), aux, norm, squared_error]))
        worst = torch.where(norm.isfinite(), error, torch.nan)
        totals.worst.copy_(torch.maximum(totals.worst, worst))
        totals.firing.add_(firing)
        totals.dead.copy_(dead.double().mean())

    def _select(self, centred: Float[Tensor, "batch d"]) -> Entries:
        """Return the entries that are kept, by a product in the selection's precision."""
        assert self.kind.keeping
        (rows, _), width, k = centred.shape, self.pace.width, int(self.sparsity)
        weights = (self.weights.encoder, self.weights.encoder_bias)
        pre = F.linear(centred.to(self.selection), *(w.to(self.selection) for w in weights))
        if self.kind.keeping.of_batch:
            places = self._operations.select_batch(pre, min(k, width) * rows)
        else:
            places = self._operations.select_rows(pre, k)
        bounds = torch.searchsorted(places, self._limits.flatten())
        bounds = torch.cat([bounds, bounds.new_full((1,), len(places))])
        latent = (places % width).int()
        latents = torch.arange(width + 1, dtype=torch.int32, device=self.device)
        ordered = latent.sort(stable=True)
        starts = torch.searchsorted(ordered.values, latents)
        return Entries((places // width).int(), latent, bounds, ordered.indices, starts)

    def _aux(
        self,
        centred: Float[Tensor, "batch d"],
        residual: Float[Tensor, "batch d"],
        squared_error: Float[Tensor, ""],
        dead: Bool[Tensor, " width"],
        capacity: int,
    ) -> tuple[Tensor, Extra]:
        """Return AuxK's loss and its gradients, for the dead latents alone."""
        rows, d = centred.shape
        if not capacity:
            nowhere = torch.full_like(dead, -1, dtype=torch.int32)
            none = centred.new_zeros(1, d)
            return none[0, 0], Extra(nowhere, none, none, none[0, :1])
        # The n-th dead latent stands at place n.
        position = torch.where(dead, dead.cumsum(0) - 1, -1).int()
        chosen = (~dead).byte().argsort(stable=True)[:capacity]
        is_dead = dead[chosen]
        encoder, decoder = self.weights.encoder[chosen], self.weights.decoder[chosen]
        z = F.linear(centred, encoder, self.weights.encoder_bias[chosen]).relu() * is_dead
        k = aux_latents(d)
        if capacity > k:
            z = torch.where(z >= z.topk(k, sorted=False).values.amin(1, keepdim=True), z, 0)
        miss = z @ decoder - residual
        total = squared_error - rows * residual.mean(0).square().sum()
        aux = miss.square().sum() / total * is_dead.any()
        miss *= 2 * self.pace.recipe.aux_coefficient / total
        slopes = (miss @ decoder.T) * (z > 0)
        return aux, Extra(position, slopes.T @ centred, z.T @ miss, slopes.sum(0))

    def state(self) -> dict[str, np.ndarray]:
        """Return everything that later steps depend on."""
        return {name: tensor.cpu().numpy() for name, tensor in self._tensors().items()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        for name, tensor in self._tensors().items():
            tensor.copy_(torch.from_numpy(state[name]))

    def _tensors(self) -> dict[str, Tensor]:
        kinds = {"": self.weights, "mean.": self.means, "square.": self.squares}
        named = {f"{kind}{n}": t for kind, w in kinds.items() for n, t in w._asdict().items()}
        others = {"decoder_bias": self.bias, "moments.decoder_bias": self.bias_moments}
        return {**named, **others, "silent": self.silent}

    @torch.no_grad()
    def finished(self, sample: Iterable[np.ndarray]) -> dict[str, Any]:
        """Return the trained fields of the `Dictionary`; what recorded steps held is let go."""
        self._graphs = None if self._graphs is None else {}
        weights = {name: tensor.cpu().numpy() for name, tensor in self.weights._asdict().items()}
        weights["decoder_bias"] = self.bias.cpu().numpy()
        trained = self.kind(replace(self.start, **weights), self.sparsity).to(self.device)
        tensors = (torch.from_numpy(x).to(self.device) for x in sample)
        return {**weights, **trained.inference(tensors)}


@cache
def _recording(device: torch.device) -> tuple[torch.cuda.Stream, Any]:
    """Return the stream for first steps and the memory of recorded ones, of all learners."""
    return torch.cuda.Stream(device), torch.cuda.graph_pool_handle()
