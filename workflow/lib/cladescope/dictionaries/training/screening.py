"""The largest pre-activations of each row, found with a matrix product in bfloat16.

Processors with AMX multiply bfloat16 matrices six times as fast as float32 ones. A product of
rounded factors is off by no more than the rounding errors allow. Latents that cannot be among a
row's k largest by that bound are done with; the few others are computed in float32. The outcome is
that of float32 throughout: it does not depend on how the first product was rounded.
"""

import math
import threading

import numpy as np
import torch
from jaxtyping import Float, Int

from cladescope.dictionaries.training.kernels import (
    DEPTH,
    LANES,
    REORDER,
    SMALLEST,
    TILE,
    count_tiles,
    find_bound,
    keep_largest,
    kernel,
    products,
)

ROUNDING = np.float32(2.0**-8)
"""Largest relative error of a number rounded to bfloat16."""
SLACK = np.float32(1.01)
"""Bounds are widened by this, for how they are computed themselves and for second orders."""
LOWER_BITS = np.uint32(16)
"""Bits of a float32 that bfloat16 lacks."""


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
        """Write what `kernels.select_largest` would write of x · encoderᵀ.

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


@kernel(False)
def _widened(bits: np.uint16) -> np.float32:
    """Return the number that bfloat16 writes with these bits."""
    return np.uint32(np.uint32(bits) << LOWER_BITS).view(np.float32)


@kernel(REORDER)
def round_rows(
    matrix: np.ndarray, rounded: np.ndarray, norms: np.ndarray, errors: np.ndarray
) -> None:
    """Write a float32 matrix rounded to bfloat16 (bits, uint16), and two norms for each row.

    Those of the row and of its rounding error, float32 (rows,). Ties go to even.
    """
    rows, d = matrix.shape
    for row in range(rows):
        squares = missed = np.float32(0)
        for i in range(d):
            value = matrix[row, i]
            bits = np.float32(value).view(np.uint32)
            odd = np.uint32(np.uint32(bits >> LOWER_BITS) & np.uint32(1))
            bits = np.uint32(np.uint32(bits + np.uint32(0x7FFF) + odd) >> LOWER_BITS)
            rounded[row, i] = np.uint16(bits)
            error = value - _widened(np.uint16(bits))
            squares += value * value
            missed += error * error
        norms[row] = math.sqrt(squares)
        errors[row] = math.sqrt(missed)


@kernel(REORDER | {"nnan"})
def _lowest_maxima(
    z: np.ndarray, bias: np.ndarray, doubt: np.float32, norms: np.ndarray, largest: np.ndarray
) -> None:
    """Write the maximum of z + bias − doubt · norm in each lane of each tile."""
    for tile in range(len(largest) // LANES):
        for lane in range(LANES):
            start = tile * TILE + lane
            top = _widened(z[start]) + bias[start] - doubt * norms[start]
            for deep in range(1, DEPTH):
                j = start + deep * LANES
                top = max(top, _widened(z[j]) + bias[j] - doubt * norms[j])
            largest[tile * LANES + lane] = top


@kernel(REORDER | {"nnan"})
def select_screened(
    rough: np.ndarray,
    doubts: np.ndarray,
    norms: np.ndarray,
    x: np.ndarray,
    encoder: np.ndarray,
    bias: np.ndarray,
    latents: np.ndarray,
    values: np.ndarray,
) -> None:
    """Find the k largest positive entries of each row of x · encoderᵀ + bias, exactly.

    An entry lies within rough + bias ± (doubt · norm + change), where change is what rounding has
    done to `rough` itself. At least k lower ends reach some B − change. What cannot reach that is
    not among the k largest, what cannot reach 0 is not positive, and all else is computed. Groups
    of columns spare most of them a look, as in `select_largest`.

    Parameters
    ----------
    rough
        About x · encoderᵀ: bfloat16 (rows, width), as bits.
    doubts, norms
        float32 (rows,) and (width,): before it was rounded itself, an entry of `rough` was within
        doubt · norm / SLACK.
    x, encoder, bias
        float32 (rows, d), (width, d), (width,).
    latents, values
        As `select_largest` writes them.
    """
    (rows, width), k = rough.shape, latents.shape[1]
    tiles = count_tiles(width, k)
    largest = np.empty(tiles * LANES, np.float32)
    columns = np.empty(width, np.int32)
    candidates = np.empty(width, np.float32)
    longest = norms.max()
    farthest = np.abs(bias).max()
    for row in range(rows):
        z, doubt = rough[row], doubts[row]
        # What is far above the bound stays above it, so that the entries near it alone matter, and
        # of those rounding has changed less than of the largest.
        change = SLACK * ROUNDING * farthest
        bound = -change
        if tiles:
            _lowest_maxima(z, bias, doubt, norms, largest)
            top = max(largest.max() + doubt * longest, np.float32(0))
            change += SLACK * ROUNDING * top
            bound = max(find_bound(largest, k) - 2 * change, -change)
        found = 0
        for group in range(tiles * LANES):
            if largest[group] + 2 * doubt * longest >= bound:
                start = group // LANES * TILE + group % LANES
                for j in range(start, start + TILE, LANES):
                    columns[found] = j
                    found += _widened(z[j]) + bias[j] + doubt * norms[j] >= bound
        for j in range(tiles * TILE, width):
            columns[found] = j
            found += _widened(z[j]) + bias[j] + doubt * norms[j] >= bound
        products(x[row], encoder, columns[:found], candidates[:found])
        kept = 0
        for i in range(found):
            j = columns[i]
            value = candidates[i] + bias[j]
            columns[kept] = j
            candidates[kept] = value
            kept += value >= SMALLEST
        keep_largest(columns, candidates, kept, k, latents[row], values[row])
