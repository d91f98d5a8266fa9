"""Lloyd's algorithm on the rows of a block, on a GPU if there is one."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from cladescope.machines import has_gpu, make_deterministic, torch_device

ROUNDS = 25
_BLOCK_ROWS = 8192


def clusters(
    x: Float[np.ndarray, "rows d"],
    n: int,
    random: np.random.Generator,
    place: Callable[[np.ndarray], np.ndarray] = lambda centres: centres,
) -> Float[np.ndarray, "n d"]:
    """Return the centres of n clusters after `ROUNDS` rounds from random rows.

    A cluster without rows starts again at a random one. There must be n rows or more.

    Parameters
    ----------
    place
        Moves the centres of a round to where they may be.
    """
    centres = x[random.choice(len(x), n, replace=False)]
    nearest_to = search(x)
    for _ in range(ROUNDS):
        nearest = nearest_to(centres)
        sums, size = sums_of(x, nearest, n)
        empty = size == 0
        centres = sums / np.maximum(size, 1)[:, None]
        centres[empty] = x[random.integers(len(x), size=int(empty.sum()))]
        centres = place(centres)
    return centres


def sums_of(
    x: Float[np.ndarray, "rows d"], group: Int[np.ndarray, " rows"], n: int
) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]:
    """Return the sum and the number of the rows of each of n groups; of an empty one any row."""
    order = np.argsort(group, kind="stable")
    size = np.bincount(group, minlength=n)
    return np.add.reduceat(x[order], np.minimum(np.cumsum(size) - size, len(x) - 1)), size


def search(x: Float[np.ndarray, "rows d"]) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives the nearest centre of each row."""
    blocks = [x[i : i + _BLOCK_ROWS] for i in range(0, len(x), _BLOCK_ROWS)]
    if not has_gpu():
        return lambda centres: np.concatenate(
            [nearest_centres(block, centres.T, np.square(centres).sum(1) / 2) for block in blocks]
        )
    import torch

    make_deterministic()
    device = torch_device()
    there = [torch.from_numpy(block).to(device) for block in blocks]

    def search_there(centres: np.ndarray) -> np.ndarray:
        columns, half_norm = centres.T, np.square(centres).sum(1) / 2
        # After the first round the centres are float64.
        moved = [torch.from_numpy(array).to(there[0]) for array in (columns, half_norm)]
        found = [nearest_centres(block, *moved) for block in there]
        return torch.cat(found).cpu().numpy()

    return search_there


def nearest_centres(rows: Any, columns: Any, half_norm: Any) -> Any:
    """Return the centre at the smallest distance of each row: arrays of numpy or of torch.

    ‖x − c‖² / 2 is ‖c‖² / 2 − ⟨x, c⟩ and what all centres have in common.
    """
    return (rows @ columns - half_norm).argmax(1)
