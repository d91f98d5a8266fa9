"""Where dictionaries start: the scale of the activations and the first decoder rows."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.spec import FitSpec

ENCODER_SCALE = 0.1
"""Encoder rows start at this multiple of the decoder's.

SAELens's default; here it raised held-out FVE by 5 points over 1.0.
"""
DATA_SHARE = 0.9
"""Share of the data in the rows that a decoder starts from; the rest is noise."""
CENTRED_ROWS = 2**14
"""Rows that are in float64 at a time."""
SCALED_ROWS = 8192
"""Rows that the scale of given directions is fitted to, at most: it is one number."""


class Beginning(NamedTuple):
    """What a dictionary starts from: some of the activations, and their mean and scale.

    On class tokens that is all of them, on streamed tokens a random sample: the first block.
    """

    rows: Shaped[np.ndarray, "rows d"]
    mean: Float[np.ndarray, " d"]
    """float64."""
    scale: float
    """Root mean square of the centred rows, over all entries."""

    @classmethod
    def of(cls, rows: Shaped[np.ndarray, "rows d"]) -> "Beginning":
        """Measure mean and scale.

        Raises
        ------
        ValueError
            If all activations are equal.
        """
        mean = rows.mean(0, dtype=np.float64)
        squares = sum(float(np.square(part).sum()) for part in centred_parts(rows, mean))
        scale = math.sqrt(squares / rows.size)
        if scale == 0:
            raise ValueError("all activations are equal, nothing can be learnt; check the layer")
        return cls(rows, mean, scale)


def normalised(beginning: Beginning) -> Float[np.ndarray, "rows d"]:
    """Return x' of the rows, float32."""
    mean = beginning.mean.astype(np.float32)
    return (beginning.rows.astype(np.float32) - mean) / np.float32(beginning.scale)


def centred_parts(
    block: Shaped[np.ndarray, "rows d"], mean: Float[np.ndarray, " d"]
) -> Iterator[Float[np.ndarray, "part d"]]:
    """Yield rows minus their mean in parts: in float64 the block would be four times as large."""
    for start in range(0, len(block), CENTRED_ROWS):
        yield block[start : start + CENTRED_ROWS] - mean


def initial_dictionary(
    beginning: Beginning, spec: FitSpec, k: int | None = None, data_share: float = DATA_SHARE
) -> Dictionary:
    """Return the sparse autoencoder at initialisation: decoder rows towards random data points.

    The encoder lies along the decoder. Where points are fewer than latents, noise keeps the rows
    apart; with a `data_share` of 0 the rows are random directions.
    """
    assert spec.width and spec.seed is not None
    block, mean, _ = beginning
    rng = np.random.default_rng(spec.seed)
    points = block[rng.choice(len(block), spec.width, replace=len(block) < spec.width)] - mean
    noise = _unit(rng.standard_normal(points.shape))
    rows = data_share * _unit(points) + (1 - data_share) * noise
    decoder = _unit(rows).astype(np.float32)
    return _without_biases(beginning, np.float32(ENCODER_SCALE) * decoder, decoder, k)


def signed_dictionary(beginning: Beginning, directions: Float[np.ndarray, "n d"]) -> Dictionary:
    """Return a dictionary with two latents per orthonormal direction, one for each sign."""
    rows = np.concatenate([directions, -directions]).astype(np.float32)
    return _without_biases(beginning, rows, rows)


def directed_dictionary(
    beginning: Beginning, spec: FitSpec, directions: Float[np.ndarray, "n d"]
) -> Dictionary:
    """Return a latent along each direction, whatever its length; the `sparsity` largest are kept.

    z_j = s ReLU(⟨u_j, x'⟩) and the decoder rows are u_j, of unit length. The scale s fits the
    reconstruction: several directions may be much the same, so that the sum of the largest would
    overshoot. It changes no order and no firing.

    Raises
    ------
    ValueError
        If there are fewer directions than latents to keep.
    """
    assert spec.sparsity
    if spec.sparsity > len(directions):
        raise ValueError(
            f"sweep.variants: a sparsity of {spec.sparsity} exceeds the {len(directions)} latents "
            f"that there are; the largest valid k is {len(directions)}"
        )
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    rows = (directions / np.maximum(lengths, 1e-12)).astype(np.float32)
    return scaled(_without_biases(beginning, rows, rows, k=int(spec.sparsity)), beginning.rows)


def scaled(dictionary: Dictionary, rows: Shaped[np.ndarray, "rows d"]) -> Dictionary:
    """Return a dictionary without encoder biases, its activations scaled to reconstruct best.

    The factor minimises Σ‖x' − b_dec − s (x̂' − b_dec)‖² over some of the raw rows; it changes no
    order of latents.
    """
    sample = rows[:: -(-len(rows) // SCALED_ROWS)]
    factor = _scale_of(dictionary, dictionary.normalise(sample))
    return replace(dictionary, encoder=dictionary.encoder * np.float32(factor))


def _without_biases(
    beginning: Beginning,
    encoder: Float[np.ndarray, "n d"],
    decoder: Float[np.ndarray, "n d"],
    k: int | None = None,
) -> Dictionary:
    return Dictionary(
        encoder=encoder,
        encoder_bias=np.zeros(len(encoder), np.float32),
        decoder=decoder,
        decoder_bias=np.zeros(decoder.shape[1], np.float32),
        mean=beginning.mean.astype(np.float32),
        scale=beginning.scale,
        k=k,
    )


def _scale_of(dictionary: Dictionary, x: Float[np.ndarray, "rows d"]) -> float:
    """Return Σ⟨x', x̂'⟩ / Σ‖x̂'‖², both less b_dec; 1 if nothing fires."""
    guess = dictionary.encode(x) @ dictionary.decoder
    squares = float(np.square(guess, dtype=np.float64).sum())
    target = (x - dictionary.decoder_bias).astype(np.float64)
    return float((target * guess).sum()) / squares if squares else 1.0


def _unit(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
