"""Baseline: directions of k-means clusters of the activations, read like a TopK dictionary."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.initial import Beginning, directed_dictionary
from cladescope.dictionaries.training.spec import FitSpec
from cladescope.machines import has_gpu, make_deterministic, torch_device

ROUNDS = 25
_BLOCK_ROWS = 8192


def fit(beginning: Beginning, spec: FitSpec) -> Dictionary:
    """Return latents along the centres of `width` clusters; the `sparsity` largest are kept.

    Lloyd's algorithm (`ROUNDS` rounds) from random images of the training split. A cluster without
    images starts again at a random one.
    """
    assert spec.width and spec.seed is not None
    x, mean, scale = beginning
    if len(x) < spec.width:
        raise ValueError(f"kmeans: {spec.width} clusters need as many images, there are {len(x)}")
    mean = mean.astype(np.float32)
    x = (x.astype(np.float32) - mean) / np.float32(scale)
    random = np.random.default_rng(spec.seed)
    centres = x[random.choice(len(x), spec.width, replace=False)]
    nearest_to = _search(x)
    for _ in range(ROUNDS):
        nearest = nearest_to(centres)
        order = np.argsort(nearest, kind="stable")
        size = np.bincount(nearest, minlength=spec.width)
        sums = np.add.reduceat(x[order], np.minimum(np.cumsum(size) - size, len(x) - 1))
        empty = size == 0
        centres = sums / np.maximum(size, 1)[:, None]
        centres[empty] = x[random.integers(len(x), size=int(empty.sum()))]
    return directed_dictionary(beginning, spec, centres)


def _search(x: Float[np.ndarray, "images d"]) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives the nearest centre of each row, on a GPU if there is one."""
    blocks = [x[i : i + _BLOCK_ROWS] for i in range(0, len(x), _BLOCK_ROWS)]
    if not has_gpu():
        return lambda centres: np.concatenate(
            [nearest_centres(block, centres.T, np.square(centres).sum(1) / 2) for block in blocks]
        )
    import torch

    make_deterministic()
    device = torch_device()
    there = [torch.from_numpy(block).to(device) for block in blocks]

    def search(centres: np.ndarray) -> np.ndarray:
        columns, half_norm = centres.T, np.square(centres).sum(1) / 2
        # After the first round the centres are float64.
        moved = [torch.from_numpy(array).to(there[0]) for array in (columns, half_norm)]
        found = [nearest_centres(block, *moved) for block in there]
        return torch.cat(found).cpu().numpy()

    return search


def nearest_centres(rows: Any, columns: Any, half_norm: Any) -> Any:
    """Return the centre at the smallest distance of each row: arrays of numpy or of torch.

    ‖x − c‖² / 2 is ‖c‖² / 2 − ⟨x, c⟩ and what all centres have in common.
    """
    return (rows @ columns - half_norm).argmax(1)
