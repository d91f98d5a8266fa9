"""The order in which training sees its rows.

A source yields blocks of rows that fit in memory; activations that fit as a whole are one block.
Every dictionary shuffles each block by its own seed and cuts it into batches, so that several can
train from one reading of a source, each as if alone.
"""

from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Float, Int, Shaped

from cladescope.activations.store import ActivationStore, Seen
from cladescope.machines import free_memory

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BLOCK_ROWS = 2**18
"""Rows of a streamed block; with 1536 dimensions in float16 they take 0.8 GB."""
IMAGES_AT_A_TIME = 2**12
"""Images whose means are in float64 at a time."""
DEVICE_SHARE = 0.5
"""Share of a device's free memory that blocks may take to lie there as a whole."""
PINNED_ROWS = 2**14
"""Rows that are pinned, and copied to a device, at a time; copies of less would wait for them."""
BLOCK_ORDER = 0
"""Seed of the order of streamed blocks, the same for all dictionaries."""


class Source(Protocol):
    """Where training's rows come from; a row is one token of one image."""

    @property
    def n_rows(self) -> int:
        """Number of tokens of all images."""

    @property
    def tokens(self) -> int:
        """Rows per image."""

    @property
    def d(self) -> int:
        """Length of a row."""

    @property
    def rows_per_block(self) -> int:
        """Rows of a block."""

    def blocks(self, first: int = 0) -> Iterator[Shaped[np.ndarray, "rows d"]]:
        """Yield blocks of raw rows without end, from block number `first`."""

    def image_means(self) -> Iterator[Float[np.ndarray, "images d"]]:
        """Yield the mean over the tokens of every image, in order, some images at a time; float64.

        Raises DamagedError if they are not what was extracted.
        """

    def check(self) -> None:
        """Raise DamagedError if anything that was read is not what was extracted."""

    def afresh(self) -> "Source":
        """Return the same rows as a source of which nothing was read yet."""


class InMemory:
    """Activations in memory: the same block again and again."""

    def __init__(self, x: Shaped[np.ndarray, "*rows d"]):
        self.tokens = 1 if x.ndim == 2 else x.shape[1]
        self._rows = x.reshape(-1, x.shape[-1])
        self.n_rows, self.d = self._rows.shape
        self.rows_per_block = self.n_rows

    def blocks(self, first: int = 0) -> Iterator[Shaped[np.ndarray, "rows d"]]:
        """Yield all rows."""
        return repeat(self._rows)

    def image_means(self) -> Iterator[Float[np.ndarray, "images d"]]:
        """Yield the means of some images after another."""
        images = self._rows.reshape(-1, self.tokens, self.d)
        for first in range(0, len(images), IMAGES_AT_A_TIME):
            yield images[first : first + IMAGES_AT_A_TIME].mean(1, dtype=np.float64)

    def check(self) -> None:
        """Do nothing: they were checked when they were read."""

    def afresh(self) -> "InMemory":
        """Return itself."""
        return self


class Streamed:
    """A store that is read in shuffled blocks, pass after pass, and never as a whole."""

    def __init__(self, store: ActivationStore, threads: int = 1):
        self.store = store
        self.threads = threads
        self._seen = Seen(store)

    @property
    def n_rows(self) -> int:
        """Number of tokens of all images."""
        return self.store.shape[0] * self.tokens

    @property
    def tokens(self) -> int:
        """Rows per image."""
        return self.store.shape[1]

    @property
    def d(self) -> int:
        """Length of a row."""
        return self.store.shape[2]

    @property
    def rows_per_block(self) -> int:
        """Rows of a block."""
        return min(BLOCK_ROWS, self.n_rows)

    def blocks(self, first: int = 0) -> Iterator[Shaped[np.ndarray, "rows d"]]:
        """Yield the blocks from number `first`, skipping those before without reading them."""
        if first:
            self._seen.doubt()
        return self.store.stream(self.rows_per_block, BLOCK_ORDER, first, self.threads, self._seen)

    def image_means(self) -> Iterator[Float[np.ndarray, "images d"]]:
        """Yield the means of some images after another; check the shards at the end."""
        at_a_time = max(1, self.rows_per_block // self.tokens)
        for first in range(0, self.store.shape[0], at_a_time):
            images = np.arange(first, min(first + at_a_time, self.store.shape[0]))
            yield self.store.gather(images).mean(1, dtype=np.float64)
        self._seen.doubt()
        self.check()

    def check(self) -> None:
        """Check the shards that were not read as a whole."""
        self._seen.check()

    def afresh(self) -> "Streamed":
        """Return the same store as a source of which nothing was read yet."""
        return Streamed(self.store, self.threads)


def batches_per_block(source: Source, size: int) -> int:
    """Return how many batches of `size` rows a block fills.

    Raises
    ------
    ValueError
        If no block fills a batch.
    """
    if source.rows_per_block < size:
        raise ValueError(
            f"training.batch_size: {size} exceeds the {source.rows_per_block} rows there are to "
            "train on at a time; lower it"
        )
    return source.rows_per_block // size


class Block:
    """Rows in memory and, once a learner has asked for them there, on its device."""

    def __init__(self, rows: Shaped[np.ndarray, "rows d"]):
        self.rows = rows
        self._copy: Tensor | None = None

    def on(self, device: "torch.device", beside: "Block | None" = None) -> "Tensor | None":
        """Return the rows on a device; None if they take more than half of what is free there.

        Parameters
        ----------
        beside
            A block that may lie there as well, and counts.
        """
        import torch

        if self._copy is None and device.type == "cuda":
            held = beside.rows.nbytes if beside and beside._copy is not None else 0
            if self.rows.nbytes + held > DEVICE_SHARE * (free_memory(device) + held):
                return None
            self._copy = _copied(torch.from_numpy(self.rows), device)
        elif self._copy is None:
            self._copy = torch.from_numpy(self.rows).to(device)
        return self._copy


def _copied(rows: "Tensor", device: "torch.device") -> "Tensor":
    """Copy rows to a GPU through pinned memory, and wait for them; other streams go on."""
    import torch

    copy = torch.empty_like(rows, device=device)
    for part, place in zip(rows.split(PINNED_ROWS), copy.split(PINNED_ROWS), strict=True):
        place.copy_(part.pin_memory(), non_blocking=True)
    torch.cuda.current_stream(device).synchronize()
    return copy


def in_turn(blocks: Iterable[Shaped[np.ndarray, "rows d"]]) -> Iterator[Block]:
    """Yield blocks of rows; the same rows again are the same block, and stay where they are."""
    block = None
    for rows in blocks:
        if block is None or block.rows is not rows:
            block = Block(rows)
        yield block


class Batches:
    """One block in the order in which a run takes its rows.

    The order is random and depends on the seed and the block's number alone; rows that do not fill
    a batch are left out of this pass.
    """

    def __init__(self, block: Block, size: int, seed: int, number: int):
        self.block = block
        self.size = size
        self.order = shuffled(len(block.rows), seed, number)

    def places(self, batch: int) -> Int[np.ndarray, " batch"]:
        """Return which rows a batch takes, in increasing order."""
        return np.sort(self.order[batch * self.size : (batch + 1) * self.size])

    def __getitem__(self, batch: int) -> Shaped[np.ndarray, "batch d"]:
        return self.block.rows[self.places(batch)]


def batches(
    source: Source, size: int, seed: int, n: int
) -> Iterator[Shaped[np.ndarray, "batch d"]]:
    """Yield the first n batches of a run."""
    per_block = batches_per_block(source, size)
    for number, rows in enumerate(source.blocks()):
        block = Batches(Block(rows), size, seed, number)
        yield from (block[batch] for batch in range(min(per_block, n - number * per_block)))
        if (number + 1) * per_block >= n:
            return


def shuffled(n: int, seed: int, block: int) -> Int[np.ndarray, " n"]:
    """Return a random order of the n rows of a block."""
    # A stream of its own: the initialisation draws from default_rng(seed).
    return np.random.default_rng([seed, 1, block]).permutation(n)
