"""The training step on a GPU for variants that keep few latents: nothing dense after the selection.

The encoder's product decides which latents are kept, in bfloat16 or, where the configuration asks
for it (`training.gpu_selection`), in TF32; their values, and so every gradient, are computed in
float32 from the rows themselves. All other variants take the dense step of `training.gpu_dense`;
what both share is `training.gpu_stretch`. The arithmetic is that of `training.plain_step`;
`docs/performance.md` says what a step costs.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training import expressions
from cladescope.dictionaries.training.cost import (
    LANES,
    SMALL_STEP,
    dense_step_memory,
    dictionary_memory,
    step_memory,
    widest,
)
from cladescope.dictionaries.training.expressions import Entries, Extra, Weights
from cladescope.dictionaries.training.gpu_dense import DenseLearner
from cladescope.dictionaries.training.gpu_stretch import DeviceLearner, first_dead
from cladescope.dictionaries.training.initial import Beginning
from cladescope.dictionaries.training.plain_step import Autoencoder, Autograd
from cladescope.dictionaries.training.schedule import Pace, aux_latents
from cladescope.dictionaries.training.spec import FitSpec
from cladescope.dictionaries.training.stepwise import Stepwise
from cladescope.machines import check_compiler, free_memory, torch_device

SELECTIONS = {None: torch.bfloat16, "bfloat16": torch.bfloat16, "tf32": torch.float32}
"""Numbers in which latents are chosen, by what the recipe asks for."""


def begin_on_device(
    kind: type[Autoencoder], beginning: Beginning, spec: FitSpec, steps: int, threads: int = 1
) -> DeviceLearner | Stepwise:
    """Return an autoencoder before its first step: sparse or dense on a GPU, plain elsewhere.

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
    if device.type == "cpu":
        return Stepwise(Autograd.begin(kind, beginning, spec, steps), pace)
    _check_memory(kind, pace, len(beginning.mean), device)
    return learner_on(device, kind, beginning, spec, steps)


def learner_on(
    device: torch.device,
    kind: type[Autoencoder],
    beginning: Beginning,
    spec: FitSpec,
    steps: int,
) -> DeviceLearner:
    """Return an autoencoder before its first step by a GPU's way, on any device."""
    learner = SparseLearner if kind.keeping else DenseLearner
    return learner(kind, kind.begin(beginning, spec), spec, Pace.of(spec, steps), device)


def _check_memory(kind: type[Autoencoder], pace: Pace, d: int, device: torch.device) -> None:
    counted = step_memory if kind.keeping else dense_step_memory
    batch = pace.recipe.batch_size
    working = counted(pace.width, d, batch)
    # Small ones have memory of their own each, up to the number of lanes.
    need = dictionary_memory(pace.width, d) + working * (LANES if working <= SMALL_STEP else 1)
    _, memory = torch.cuda.mem_get_info(device)
    free = free_memory(device)
    if need > memory:
        raise ValueError(
            f"a dictionary of {pace.width} latents over {d} dimensions does not fit into the "
            f"{memory / 1e9:.0f} GB of this GPU; up to {widest(memory, d, batch, counted)} latents "
            f"do with training.batch_size {batch}: lower the sweep's width"
        )
    if need > free:
        raise ValueError(
            f"a dictionary of {pace.width} latents over {d} dimensions does not fit into the "
            f"{free / 1e9:.1f} GB that the others of this job leave of the GPU's memory; lower "
            "sweep.dictionaries_per_job"
        )


class SparseLearner(DeviceLearner):
    """An autoencoder that keeps few latents, in training on a torch device."""

    layout = "sparse"

    def __init__(
        self,
        kind: type[Autoencoder],
        start: Dictionary,
        spec: FitSpec,
        pace: Pace,
        device: torch.device,
        graphs: bool = True,
    ):
        assert kind.keeping and spec.sparsity
        batch, (width, d) = pace.recipe.batch_size, start.encoder.shape
        memory = step_memory(width, d, batch)
        super().__init__(kind, start, pace, device, memory, graphs)
        self.sparsity, self.selection = spec.sparsity, SELECTIONS[pace.recipe.gpu_selection]
        self._operations: Any = expressions
        if device.type == "cuda":
            check_compiler()
            from cladescope.dictionaries.training import gpu_kernels

            self._operations = gpu_kernels
        weights = (start.encoder, start.decoder, start.encoder_bias)
        self.weights = Weights(*(torch.from_numpy(value).to(device).clone() for value in weights))
        self.means = Weights(*map(torch.zeros_like, self.weights))
        self.squares = Weights(*map(torch.zeros_like, self.weights))
        # The decoder's bias, and its moments.
        self.bias = torch.from_numpy(start.decoder_bias).to(device).clone()
        self.bias_moments = torch.zeros(2, d, device=device)
        ends = torch.tensor(kind.keeping.ends(width), device=device)
        latents = torch.arange(width, device=device)
        self._part_of = torch.searchsorted(ends, latents, right=True).int()
        self._limits = torch.cat([ends.new_zeros(1), ends[:-1]]) + width * torch.arange(
            batch, device=device
        ).unsqueeze(1)

    @torch.no_grad()
    def _step(self, capacity: int) -> None:
        operations = self._operations
        (rows, d), parts = self._x.shape, self._limits.shape[1]
        centred = self._x - self.bias
        dead, dead_share = self._dead()
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
        losses = errors.sum() / (rows * d * parts), aux
        self._close_step(losses, squared_error, norm, firing, dead_share)

    def _lift(self, latents: Bool[Tensor, " width"], by: Float[Tensor, ""]) -> None:
        self.weights.encoder_bias.add_(latents * by)

    def _select(self, centred: Float[Tensor, "batch d"]) -> Entries:
        """Return the entries that are kept, by a product in the selection's precision."""
        assert self.kind.keeping
        (rows, _), width, k = centred.shape, self.pace.width, int(self.sparsity)
        weights = (self.weights.encoder, self.weights.encoder_bias)
        with _tf32():
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
        chosen = first_dead(dead, capacity)
        is_dead = dead[chosen]
        encoder, decoder = self.weights.encoder[chosen], self.weights.decoder[chosen]
        z = F.linear(centred, encoder, self.weights.encoder_bias[chosen]).relu() * is_dead
        k = aux_latents(d)
        if capacity > k:
            z = torch.where(z >= z.topk(k, sorted=False).values.amin(1, keepdim=True), z, 0)
        miss = z @ decoder - residual
        total = squared_error - rows * residual.mean(0).square().sum()
        aux = miss.square().sum() / total * is_dead.any()
        miss *= 2 * self.aux_coefficient / total
        slopes = (miss @ decoder.T) * (z > 0)
        return aux, Extra(position, slopes.T @ centred, z.T @ miss, slopes.sum(0))

    def _tensors(self) -> dict[str, Tensor]:
        kinds = {"": self.weights, "mean.": self.means, "square.": self.squares}
        named = {f"{kind}{n}": t for kind, w in kinds.items() for n, t in w._asdict().items()}
        return {**named, "decoder_bias": self.bias, "moments.decoder_bias": self.bias_moments}

    @torch.no_grad()
    def finished(self, sample: Iterable[np.ndarray]) -> dict[str, Any]:
        """Return the trained fields of the `Dictionary`; what recorded steps held is let go."""
        self._forget_recorded()
        weights = {name: tensor.cpu().numpy() for name, tensor in self.weights._asdict().items()}
        weights["decoder_bias"] = self.bias.cpu().numpy()
        trained = self.kind(replace(self.start, **weights), self.sparsity).to(self.device)
        tensors = (torch.from_numpy(x).to(self.device) for x in sample)
        return {**weights, **trained.inference(tensors)}


@contextmanager
def _tf32() -> Iterator[None]:
    """Let float32 products on a GPU round what they multiply to TF32, 10 bits behind the first."""
    products = torch.backends.cuda.matmul
    before, products.fp32_precision = products.fp32_precision, "tf32"
    try:
        yield
    finally:
        products.fp32_precision = before
