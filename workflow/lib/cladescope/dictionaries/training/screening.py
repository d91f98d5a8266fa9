"""The largest pre-activations of each row, found with a matrix product in bfloat16.

Processors with AMX multiply bfloat16 matrices six times as fast as float32 ones. A product of
rounded factors is off by no more than the rounding errors allow. Latents that cannot be among a
row's k largest by that bound are done with; the few others are computed in float32. The outcome is
that of float32 throughout: it does not depend on how the first product was rounded.
"""

import threading

import numpy as np
import torch
from jaxtyping import Float, Int

from cladescope.dictionaries.training.processor_kernels import (
    SLACK,
    SMALLEST,
    round_rows,
    select_screened,
)


class Screen:
    """Finds the latents that fire; made once for a run, given the encoder at every step.

    The rows of encoder and activations have norms whose squares float32 can hold.
    """

    def __init__(self, width: int, d: int):
        self._rounded = np.empty((width, d), np.uint16)
        self._norms, self._errors = np.empty((2, width), np.float32)
        self._local = threading.local()

    def load(self, encoder: Float[np.ndarray, "width d"], some: slice) -> None:
        """Take in some rows of the encoder; all are needed before `select`."""
        round_rows(encoder[some], self._rounded[some], self._norms[some], self._errors[some])

    def select(
        self,
        x: Float[np.ndarray, "rows d"],
        encoder: Float[np.ndarray, "width d"],
        bias: Float[np.ndarray, " width"],
        latents: Int[np.ndarray, "rows k"],
        values: Float[np.ndarray, "rows k"],
    ) -> None:
        """Write what `processor_kernels.select_largest` would write of x · encoderᵀ.

        Calls may run in several threads, each of which keeps its memory.
        """
        rough, rounded, norms, errors = self._buffers(*x.shape)
        round_rows(x, rounded, norms, errors)
        torch.mm(_bfloat16(rounded), _bfloat16(self._rounded).T, out=_bfloat16(rough))
        # x · w − x̂ · ŵ = (x − x̂) · w + x̂ · (w − ŵ), by Cauchy and Schwarz, by norm of w.
        worst = (self._errors / np.maximum(self._norms, SMALLEST)).max()
        doubts = errors + (norms + errors) * worst
        # Sums of d products in float32, here and below.
        doubts += (norms + errors) * np.float32(x.shape[1] * 2.0**-23)
        doubts *= SLACK
        select_screened(rough, doubts, self._norms, x, encoder, bias, latents, values)

    def _buffers(self, rows: int, d: int) -> tuple[np.ndarray, ...]:
        local, width = self._local, len(self._norms)
        if not hasattr(local, "rough") or len(local.rough) < rows:
            # The caller's threads share the rows out, and each would else have a team of its own.
            torch.set_num_threads(1)
            local.rough = np.empty((rows, width), np.uint16)
            local.rounded = np.empty((rows, d), np.uint16)
            local.lengths = np.empty((2, rows), np.float32)
        norms, errors = local.lengths[:, :rows]
        return local.rough[:rows], local.rounded[:rows], norms, errors


def _bfloat16(bits: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(bits).view(torch.bfloat16)
