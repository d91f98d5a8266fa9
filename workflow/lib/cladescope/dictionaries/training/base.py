"""What every dictionary variant shares: its specification, its result and its initialisation."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.batches import Source

ENCODER_SCALE = 0.1
"""Encoder rows start at this multiple of the decoder's.

SAELens's default; here it raised held-out FVE by 5 points over 1.0.
"""
DATA_SHARE = 0.9
"""Share of the data in the rows that a decoder starts from; the rest is noise."""
CENTRED_ROWS = 2**14
"""Rows that are in float64 at a time."""
ADAM_BETAS = (0.9, 0.999)
"""As in long runs; short ones have another first (`loop.adam_betas`)."""
ADAM_EPSILON = 1e-8


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to train; defaults and sources in docs/dictionaries.md."""

    images: int
    batch_size: int
    """Rows (tokens) per step."""
    learning_rate: float
    """Peak rate at width 16384 in a run of at most 250 steps."""
    warmup_share: float
    decay_share: float
    lift_share: float
    """A latent that has not fired for this share of the run is lifted."""
    dead_share: float
    """A latent that has not fired for this share of the run is dead, a matter for AuxK."""
    aux_coefficient: float


@dataclass(frozen=True)
class FitSpec:
    """One point of the sweep. Baselines have neither width, sparsity nor seed."""

    width: int | None = None
    sparsity: float | None = None
    """k, L1 coefficient or L0 target: the variant says which."""
    seed: int | None = None
    recipe: Recipe | None = None


@dataclass(frozen=True)
class Job:
    """How a fit is run; nothing here changes its result."""

    threads: int = 1
    checkpoint: Path | None = None
    """Where an interrupted run leaves its state; None to leave none."""
    key: str = ""
    """What the state belongs to; a state with another key is ignored."""


@dataclass(frozen=True)
class Fit:
    """A fitted dictionary and what was logged on the way."""

    dictionary: Dictionary
    log: dict[str, np.ndarray] = field(default_factory=dict)
    """Columns of equal length, one entry per logged step; empty if nothing was trained."""


class Step(NamedTuple):
    """What one training step reports."""

    losses: dict[str, float]
    """Parts of the loss before the step, each without its coefficient."""
    squared_error: float
    """Σ‖x' − x̂'‖² over the batch."""
    firing: Int[np.ndarray, " width"]
    """Rows on which each latent fired."""
    gradient_norm: float


def aux_latents(d: int) -> int:
    """Return AuxK's k: the power of two at or below d / 2 (Gao et al. 2024, section A.2)."""
    return 1 << max(0, (d // 2).bit_length() - 1)


def normalisation(source: Source) -> tuple[np.ndarray, float]:
    """Return the mean (float64) and the root mean square of what is left, over all entries.

    Measured on the first block: on everything where it fits in memory, else on a random sample.

    Raises
    ------
    ValueError
        If all activations are equal.
    """
    block = next(source.blocks())
    mean = block.mean(0, dtype=np.float64)
    squares = sum(float(np.square(part).sum()) for part in centred_parts(block, mean))
    scale = math.sqrt(squares / block.size)
    if scale == 0:
        raise ValueError("all activations are equal, there is nothing to learn; check the layer")
    return mean, scale


def centred_parts(
    block: Shaped[np.ndarray, "rows d"], mean: Float[np.ndarray, " d"]
) -> Iterator[Float[np.ndarray, "part d"]]:
    """Yield rows minus their mean in parts: in float64 the block would be four times as large."""
    for start in range(0, len(block), CENTRED_ROWS):
        yield block[start : start + CENTRED_ROWS] - mean


def initial_dictionary(
    source: Source, spec: FitSpec, k: int | None = None, data_share: float = DATA_SHARE
) -> Dictionary:
    """Return the sparse autoencoder at initialisation: decoder rows towards random data points.

    The encoder lies along the decoder. Where points are fewer than latents, noise keeps the rows
    apart; with a `data_share` of 0 the rows are random directions.
    """
    assert spec.width and spec.seed is not None
    mean, scale = normalisation(source)
    rng = np.random.default_rng(spec.seed)
    block = next(source.blocks())
    points = block[rng.choice(len(block), spec.width, replace=len(block) < spec.width)] - mean
    noise = _unit(rng.standard_normal(points.shape))
    rows = data_share * _unit(points) + (1 - data_share) * noise
    decoder = _unit(rows).astype(np.float32)
    return Dictionary(
        encoder=np.float32(ENCODER_SCALE) * decoder,
        encoder_bias=np.zeros(spec.width, np.float32),
        decoder=decoder,
        decoder_bias=np.zeros(source.d, np.float32),
        mean=mean.astype(np.float32),
        scale=scale,
        k=k,
    )


def signed_dictionary(source: Source, directions: Float[np.ndarray, "n d"]) -> Dictionary:
    """Return a dictionary with two latents per orthonormal direction, one for each sign."""
    mean, scale = normalisation(source)
    rows = np.concatenate([directions, -directions]).astype(np.float32)
    return Dictionary(
        encoder=rows,
        encoder_bias=np.zeros(len(rows), np.float32),
        decoder=rows,
        decoder_bias=np.zeros(source.d, np.float32),
        mean=mean.astype(np.float32),
        scale=scale,
    )


def _unit(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
