"""Statistics of activations, gathered batch by batch and merged shard by shard."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

BINS_PER_OCTAVE = 16
LOWEST_OCTAVE, HIGHEST_OCTAVE = -24, 40
_N_BINS = (HIGHEST_OCTAVE - LOWEST_OCTAVE) * BINS_PER_OCTAVE + 1
OUTLIER_FACTOR = 4
"""A token is an outlier when its norm exceeds this multiple of the median norm.

Darcet et al. 2024 (arXiv 2309.16588) find high-norm patch tokens in vision transformers without
registers, at several times the typical norm.
"""


def measure(values: Float[Tensor, "images tokens width"]) -> dict[str, Tensor]:
    """Summarise a batch on its device; only small tensors leave it, and nothing waits for them."""
    rows = values.flatten(0, 1).double()
    squares = rows.square().sum(1)
    norms = squares.sqrt()
    octaves = norms.log2().nan_to_num(LOWEST_OCTAVE).clamp(LOWEST_OCTAVE, HIGHEST_OCTAVE)
    bins = ((octaves - LOWEST_OCTAVE) * BINS_PER_OCTAVE).long()
    histogram = torch.zeros(_N_BINS, dtype=torch.long, device=values.device)
    return {
        "finite": values.isfinite().all(),
        "total": rows.sum(0),
        "squares": squares.sum(),
        "peaks": rows.abs().amax(0),
        "norms": histogram.index_add_(0, bins, torch.ones_like(bins)),
        "largest_norm": norms.amax(),
    }


@dataclass(frozen=True)
class Statistics:
    """Sums over the tokens of images, from which mean, RMS, extremes and norms follow."""

    count: int
    """Tokens."""
    total: np.ndarray
    """float64 (width,): sum of activations."""
    squares: float
    """Sum of squares of all entries."""
    largest: float
    """Largest magnitude of an entry."""
    dimension: int
    """Dimension of that entry."""
    norms: np.ndarray
    """int64: histogram of the tokens' Euclidean norms, `BINS_PER_OCTAVE` bins an octave."""
    largest_norm: float

    @classmethod
    def of(cls, measured: dict[str, Tensor]) -> "Statistics":
        """Make statistics of what `measure` returned, once it has arrived on the CPU."""
        peaks = measured["peaks"]
        return cls(
            count=int(measured["norms"].sum()),
            total=measured["total"].numpy(),
            squares=float(measured["squares"]),
            largest=float(peaks.max()),
            dimension=int(peaks.argmax()),
            norms=measured["norms"].numpy(),
            largest_norm=float(measured["largest_norm"]),
        )

    def merge(self, other: "Statistics") -> "Statistics":
        """Return the statistics of both sets of tokens together."""
        peak = max(self, other, key=lambda part: part.largest)
        return Statistics(
            count=self.count + other.count,
            total=self.total + other.total,
            squares=self.squares + other.squares,
            largest=peak.largest,
            dimension=peak.dimension,
            norms=self.norms + other.norms,
            largest_norm=max(self.largest_norm, other.largest_norm),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values, exact when read back."""
        return {
            key: value.tolist() if isinstance(value, np.ndarray) else value
            for key, value in vars(self).items()
        }

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Statistics":
        """Read what `to_json` wrote."""
        arrays = {
            "total": np.array(plain["total"], np.float64),
            "norms": np.array(plain["norms"], np.int64),
        }
        return cls(**{**plain, **arrays})

    def summary(self) -> dict[str, Any]:
        """Return the manifest's entry; docs/store.md describes the keys."""
        mean = self.total / self.count
        median = self._norm_quantile(0.5)
        cumulative = np.cumsum(self.norms)
        return {
            "mean": mean.tolist(),
            "mean_norm": float(np.linalg.norm(mean)),
            "rms": math.sqrt(self.squares / (self.count * len(mean))),
            "max": self.largest,
            "max_dimension": self.dimension,
            "norm_median": median,
            "norm_q999": self._norm_quantile(0.999),
            "norm_max": self.largest_norm,
            "outlier_share": float(
                1 - cumulative[_bin_of(OUTLIER_FACTOR * median)] / cumulative[-1]
            ),
        }

    def _norm_quantile(self, share: float) -> float:
        """Return a quantile of the norms, to the middle of its bin (2% on either side)."""
        cumulative = np.cumsum(self.norms)
        where = int(np.searchsorted(cumulative, share * cumulative[-1]))
        return float(2 ** (LOWEST_OCTAVE + (where + 0.5) / BINS_PER_OCTAVE))


def _bin_of(norm: float) -> int:
    octave = min(max(math.log2(norm), LOWEST_OCTAVE), HIGHEST_OCTAVE)
    return int((octave - LOWEST_OCTAVE) * BINS_PER_OCTAVE)
