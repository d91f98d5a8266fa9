"""The order in which training sees its rows.

A source yields blocks of rows that fit in memory; activations that fit as a whole are one block.
Every dictionary shuffles each block by its own seed and cuts it into batches, so that several can
train from one reading of a source, each as if alone.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from jaxtyping import Int, Shaped


class Source(Protocol):
    """Where training's rows come from; a row is one token of one image."""

    n_rows: int
    d: int
    tokens: int
    """Rows per image."""

    def block_lengths(self) -> list[int]:
        """Return the number of rows of each block, in order."""

    def read_block(self, epoch: int, block: int) -> Shaped[np.ndarray, "rows d"]:
        """Return the raw rows of one block, the same at every call."""


class InMemory:
    """Activations in memory as a source of one block."""

    def __init__(self, x: Shaped[np.ndarray, "*rows d"]):
        self.tokens = 1 if x.ndim == 2 else x.shape[1]
        self._rows = x.reshape(-1, x.shape[-1])
        self.n_rows, self.d = self._rows.shape

    def block_lengths(self) -> list[int]:
        """Return the number of rows."""
        return [self.n_rows]

    def read_block(self, epoch: int, block: int) -> Shaped[np.ndarray, "rows d"]:
        """Return all rows."""
        return self._rows


def batches(source: Source, size: int, seed: int, first: int, last: int) -> Iterator[np.ndarray]:
    """Yield the batches first … last − 1 of a run, without reading the blocks before them.

    A block's rows come in a random order; those that do not fill a batch wait for the next epoch.
    The order depends on nothing but the seed, the epoch and the block.

    Raises
    ------
    ValueError
        If no block fills a batch.
    """
    per_block = [length // size for length in source.block_lengths()]
    if not sum(per_block):
        raise ValueError(
            f"training.batch_size: {size} exceeds the {max(source.block_lengths())} rows there "
            "are to train on at a time; lower it"
        )
    step = 0
    epoch = 0
    while step < last:
        for block, count in enumerate(per_block):
            if step + count > first and step < last:
                rows = source.read_block(epoch, block)
                order = shuffled(len(rows), seed, epoch, block)
                for number in range(max(first - step, 0), min(count, last - step)):
                    yield rows[np.sort(order[number * size : (number + 1) * size])]
            step += count
        epoch += 1


def shuffled(n: int, seed: int, epoch: int, block: int) -> Int[np.ndarray, " n"]:
    """Return a random order of n rows."""
    # A stream of its own: the initialisation draws from default_rng(seed).
    return np.random.default_rng([seed, 1, epoch, block]).permutation(n)
