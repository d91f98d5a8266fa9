"""The TopK step on a processor: the mathematics of `training.plain_step`, without dense work.

After the encoder's matrix product nothing of size (batch, width) is written: each row decodes from
its k decoder rows, and each latent's gradients come from the rows it fires on. Work is cut into
blocks of fixed size, which threads share and whose sums are taken in order, so that the result does
not depend on the number of threads. Torch is not imported here, but by the `screening.Screen` that
a long run may be given.
"""

import math
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float
from threadpoolctl import threadpool_limits

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training import processor_kernels as kernels
from cladescope.dictionaries.training.schedule import ADAM_EPSILON, aux_latents
from cladescope.dictionaries.training.spec import Step

if TYPE_CHECKING:
    from cladescope.dictionaries.training.screening import Screen

ROWS = 512
"""Rows whose dense pre-activations exist at a time, per thread; they stay in the cache."""
LATENTS = 512
"""Latents that one thread updates at a time."""

Select = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Given rows, writes the latents that fire and their values; returns some pre-activations."""

PARAMETERS = ("encoder", "decoder", "encoder_bias", "decoder_bias")


class SparseTopK:
    """A TopK SAE in training."""

    def __init__(
        self,
        start: Dictionary,
        aux_coefficient: float,
        betas: tuple[float, float],
        threads: int = 1,
        screen: "Screen | None" = None,
    ):
        assert start.k
        self.start = start
        self.k = start.k
        self.aux_coefficient = aux_coefficient
        self.betas = betas
        self.parameters = {name: getattr(start, name).copy() for name in PARAMETERS}
        self.means = {name: np.zeros_like(value) for name, value in self.parameters.items()}
        self.squares = {name: np.zeros_like(value) for name, value in self.parameters.items()}
        self.steps = 0
        # Blocks are the unit of parallel work, so the matrix products themselves take one thread.
        self._limits = threadpool_limits(1, user_api="blas")
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._local = threading.local()
        self._screen = screen

    def step(
        self, x: Float[np.ndarray, "batch d"], rate: float, dead: Bool[np.ndarray, " width"]
    ) -> Step:
        """Take one step on normalised activations; AuxK works on the latents marked dead."""
        encoder, decoder = self.parameters["encoder"], self.parameters["decoder"]
        encoder_bias, decoder_bias = (self.parameters[f"{n}_bias"] for n in ("encoder", "decoder"))
        (width, d), batch = encoder.shape, len(x)
        centred, residual = np.empty((2, *x.shape), np.float32)
        chosen = np.flatnonzero(dead) if self.aux_coefficient else np.empty(0, int)
        pre_dead = np.empty((batch, len(chosen)), np.float32)
        latents = np.empty((batch, self.k), np.int32)
        values, gradient = np.empty((2, batch, self.k), np.float32)
        select = self._screened(self._screen, chosen) if self._screen else self._dense(chosen)

        def forward(start: int) -> float:
            rows = slice(start, start + ROWS)
            np.subtract(x[rows], decoder_bias, out=centred[rows])
            pre_dead[rows] = select(centred[rows], latents[rows], values[rows])
            return kernels.decode(
                x[rows],
                decoder,
                decoder_bias,
                latents[rows],
                values[rows],
                np.float32(2 / (batch * d)),
                residual[rows],
                gradient[rows],
            )

        squared_error = sum(self._map(forward, range(0, batch, ROWS)))
        starts = np.empty(width + 1, np.int64)
        places = np.empty(latents.size, np.int64)
        kernels.sort_by_latent(latents, values, starts, places)
        aux, extra = self._aux_gradients(centred, residual, squared_error, pre_dead, chosen)

        self.steps += 1
        adam = self._adam(rate)
        sparse = (values, gradient, starts, places)
        moments = tuple(
            kind[name]
            for name in ("encoder", "decoder", "encoder_bias")
            for kind in (self.means, self.squares)
        )

        def update(first: int) -> tuple[float, np.ndarray]:
            return kernels.update_latents(
                first,
                min(first + LATENTS, width),
                (centred, residual),
                sparse,
                extra,
                encoder,
                decoder,
                encoder_bias,
                moments,
                adam,
            )

        sums = list(self._map(update, range(0, width, LATENTS)))
        slope = residual.sum(0) - sum(through for _, through in sums)
        self._move("decoder_bias", slope, adam)
        norm = math.sqrt(sum(squares for squares, _ in sums) + float(slope @ slope))
        losses = {"loss": squared_error / (batch * d), "aux_loss": aux}
        return Step(losses, squared_error, np.diff(starts), norm)

    def lift(self, latents: Bool[np.ndarray, " width"], by: float) -> None:
        """Raise the encoder bias of some latents."""
        self.parameters["encoder_bias"][latents] += np.float32(by)

    def state(self) -> dict[str, np.ndarray]:
        """Return everything that later steps depend on."""
        kinds = {"": self.parameters, "mean.": self.means, "square.": self.squares}
        arrays = {kind + name: kinds[kind][name] for kind in kinds for name in PARAMETERS}
        return {**arrays, "steps": np.array(self.steps)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        for prefix, kind in (
            ("", self.parameters),
            ("mean.", self.means),
            ("square.", self.squares),
        ):
            for name in PARAMETERS:
                kind[name][...] = state[prefix + name]
        self.steps = int(state["steps"])

    def finished(self, batches: Iterable[np.ndarray]) -> dict[str, Any]:
        """Return the fields of the trained `Dictionary`."""
        return {**self.parameters, "k": self.k}

    def _dense(self, chosen: np.ndarray) -> Select:
        """Return how a step selects, and looks at some latents, by the dense product."""
        encoder, bias = self.parameters["encoder"], self.parameters["encoder_bias"]

        def select(x: np.ndarray, latents: np.ndarray, values: np.ndarray) -> np.ndarray:
            pre = self._buffer(len(x), len(encoder))
            np.matmul(x, encoder.T, out=pre)
            kernels.select_largest(pre, bias, self.k, latents, values)
            return pre[:, chosen] + bias[chosen]

        return select

    def _screened(self, screen: "Screen", chosen: np.ndarray) -> Select:
        """Return the same by the screen, loaded with the step's encoder."""
        encoder, bias = self.parameters["encoder"], self.parameters["encoder_bias"]
        chosen_rows = encoder[chosen]
        parts = [slice(first, first + LATENTS) for first in range(0, len(encoder), LATENTS)]
        list(self._map(partial(screen.load, encoder), parts))

        def select(x: np.ndarray, latents: np.ndarray, values: np.ndarray) -> np.ndarray:
            screen.select(x, encoder, bias, latents, values)
            return x @ chosen_rows.T + bias[chosen]

        return select

    def _buffer(self, rows: int, width: int) -> np.ndarray:
        """Return this thread's memory for dense pre-activations; fresh pages cost a sixth more."""
        if not hasattr(self._local, "pre"):
            self._local.pre = np.empty((ROWS, width), np.float32)
        return self._local.pre[:rows]

    def _map(self, work: Callable[[Any], Any], parts: Iterable[Any]) -> Iterable[Any]:
        return self._pool.map(work, parts) if self._pool else map(work, parts)

    def _adam(self, rate: float) -> tuple[np.float32, ...]:
        first, second = self.betas
        values = (
            rate / (1 - first**self.steps),
            first,
            second,
            1 / (1 - second**self.steps),
            ADAM_EPSILON,
        )
        return tuple(np.float32(value) for value in values)

    def _move(self, name: str, slope: np.ndarray, adam: tuple[np.float32, ...]) -> None:
        step, first, second, correction, epsilon = adam
        mean = self.means[name] = first * self.means[name] + (1 - first) * slope
        square = self.squares[name] = second * self.squares[name] + (1 - second) * slope**2
        self.parameters[name] -= step * mean / (np.sqrt(square * correction) + epsilon)

    def _aux_gradients(
        self,
        x: Float[np.ndarray, "batch d"],
        residual: Float[np.ndarray, "batch d"],
        squared_error: float,
        pre: Float[np.ndarray, "batch dead"],
        chosen: np.ndarray,
    ) -> tuple[float, tuple[np.ndarray, ...]]:
        """Return AuxK's loss and its gradients, for the dead latents alone.

        `residual` is scaled as `kernels.decode` writes it; `squared_error` is its squares' sum,
        unscaled. `pre` is overwritten.
        """
        (width, d), (batch, n) = self.parameters["encoder"].shape, pre.shape
        position = np.full(width, -1, np.int32)
        up, down = np.empty((2, n, d), np.float32)
        if not n:
            return 0.0, (position, up, down, np.empty(0, np.float32))
        position[chosen] = np.arange(n)
        unscale = np.float32(-batch * d / 2)
        mean = residual.mean(0) * unscale
        total = squared_error - batch * float(mean @ mean)
        decoder = self.parameters["decoder"][chosen]
        miss, slopes = np.empty_like(x), np.empty_like(pre)
        k_aux = aux_latents(d)

        def backward(start: int) -> float:
            rows = slice(start, start + ROWS)
            z = np.maximum(pre[rows], 0)
            if n > k_aux:
                z[z < np.partition(z, n - k_aux, axis=1)[:, [n - k_aux]]] = 0
            np.matmul(z, decoder, out=miss[rows])
            miss[rows] -= residual[rows] * unscale
            squares = float(np.square(miss[rows]).sum())
            miss[rows] *= np.float32(2 * self.aux_coefficient / total)
            np.matmul(miss[rows], decoder.T, out=slopes[rows])
            slopes[rows] *= z > 0
            pre[rows] = z
            return squares

        def gather(first: int) -> None:
            some = slice(first, first + LATENTS)
            np.matmul(slopes[:, some].T, x, out=up[some])
            np.matmul(pre[:, some].T, miss, out=down[some])

        squares = sum(self._map(backward, range(0, batch, ROWS)))
        list(self._map(gather, range(0, n, LATENTS)))
        return squares / total, (position, up, down, slopes.sum(0))
