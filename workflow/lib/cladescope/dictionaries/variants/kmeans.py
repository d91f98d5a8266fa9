"""Baseline: directions of k-means clusters of the activations, read like a TopK dictionary."""

import numpy as np
from jaxtyping import Float, Int

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.initial import Beginning
from cladescope.dictionaries.training.spec import FitSpec

ROUNDS = 25
_BLOCK_ROWS = 8192


def fit(beginning: Beginning, spec: FitSpec) -> Dictionary:
    """Return latents along the centres of `width` clusters; the `sparsity` largest are kept.

    Lloyd's algorithm (`ROUNDS` rounds) from random images of the training split. A cluster without
    images starts again at a random one. z_j = ReLU(⟨c_j / ‖c_j‖, x'⟩).
    """
    assert spec.width and spec.sparsity and spec.seed is not None
    x, mean, scale = beginning
    if len(x) < spec.width:
        raise ValueError(f"kmeans: {spec.width} clusters need as many images, there are {len(x)}")
    mean = mean.astype(np.float32)
    x = (x.astype(np.float32) - mean) / np.float32(scale)
    random = np.random.default_rng(spec.seed)
    centres = x[random.choice(len(x), spec.width, replace=False)]
    for _ in range(ROUNDS):
        nearest = _nearest(x, centres)
        order = np.argsort(nearest, kind="stable")
        size = np.bincount(nearest, minlength=spec.width)
        sums = np.add.reduceat(x[order], np.minimum(np.cumsum(size) - size, len(x) - 1))
        empty = size == 0
        centres = sums / np.maximum(size, 1)[:, None]
        centres[empty] = x[random.integers(len(x), size=int(empty.sum()))]
    rows = centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    rows = rows.astype(np.float32)
    zeros = np.zeros(len(rows), np.float32), np.zeros(x.shape[1], np.float32)
    return Dictionary(rows, zeros[0], rows, zeros[1], mean, scale, int(spec.sparsity))


def _nearest(
    x: Float[np.ndarray, "images d"], centres: Float[np.ndarray, "width d"]
) -> Int[np.ndarray, " images"]:
    """Return the centre with the smallest distance to each row, block by block."""
    half_norm = np.square(centres).sum(1) / 2
    blocks = range(0, len(x), _BLOCK_ROWS)
    return np.concatenate(
        [(x[i : i + _BLOCK_ROWS] @ centres.T - half_norm).argmax(1) for i in blocks]
    )
