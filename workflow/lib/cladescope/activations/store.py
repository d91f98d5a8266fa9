"""Activation stores: reading. One zarr 3 group per layer and token, one raw chunk file per shard.

The format is described in docs/store.md; `writer` writes it. Readers need neither zarr nor
torch: a chunk file is the raw array followed by its checksum.
"""

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from jaxtyping import Int, Shaped

from cladescope.files import read_json

FORMAT = "cladescope-activations-2"
CHECKSUM_BYTES = 4
BLOCK_BYTES = 2**20
"""Contiguous run that a block-shuffled reader reads at once: near a disk's sequential rate."""
WINDOW_BYTES = 256 * 2**20
"""Bytes of rows that a block-shuffled reader mixes; it holds two such windows in memory."""


@dataclass(frozen=True)
class ShardPlan:
    """How images are split over chunk files; the last shard may hold fewer rows."""

    n_images: int
    n_shards: int

    def __post_init__(self) -> None:
        if self.rows_per_shard * (self.n_shards - 1) >= self.n_images:
            raise ValueError(
                f"extraction.shards: {self.n_shards} shards leave one without images "
                f"({self.n_images} images); the nearest valid number is "
                f"{math.ceil(self.n_images / self.rows_per_shard)}"
            )

    @property
    def rows_per_shard(self) -> int:
        """Rows of every chunk but the last, which is padded with zeros to this length."""
        return math.ceil(self.n_images / self.n_shards)

    def rows(self, shard: int) -> range:
        """Image ids of one shard."""
        start = shard * self.rows_per_shard
        return range(start, min(start + self.rows_per_shard, self.n_images))


def chunk_name(shard: int) -> str:
    """Path of one shard's chunk file within the group, in zarr 3's default layout."""
    return f"values/c/{shard}/0/0"


def store_files(manifest: str, n_shards: int, sampled: bool) -> dict[str, list[str]]:
    """Return the files of a store by what they are: `chunks` and `others`.

    `sampled` stores hold a sample of each image's patches, with their positions.
    """
    folder = manifest.removesuffix(".json") + ".zarr"
    others = ["zarr.json", "values/zarr.json"]
    for name, chunk in (("image", "c/0"), ("label", "c/0"), ("position", "c/0/0")):
        if sampled or name != "position":
            others += [f"{name}/zarr.json", f"{name}/{chunk}"]
    return {
        "chunks": [f"{folder}/{chunk_name(shard)}" for shard in range(n_shards)],
        "others": [f"{folder}/{name}" for name in others],
    }


def read_activations(manifest: str | Path) -> Shaped[np.ndarray, "images tokens width"]:
    """Read a store into memory, verifying every shard; raises as `ActivationStore` does."""
    return ActivationStore.open(manifest).read()


@dataclass(frozen=True)
class ActivationStore:
    """A finished store of one layer and token."""

    folder: Path
    """The zarr group."""
    shape: tuple[int, int, int]
    """Images, tokens, width."""
    dtype: np.dtype
    plan: ShardPlan
    checksums: tuple[str, ...]
    """crc32c of each shard's array, hexadecimal."""

    @classmethod
    def load(cls, manifest: str | Path) -> "ActivationStore":
        """Read a manifest, and nothing else.

        Raises
        ------
        FileNotFoundError
            If there is no manifest.
        ValueError
            If it has another format.
        """
        manifest = Path(manifest)
        layout = read_json(manifest)
        if layout.get("format") != FORMAT:
            raise ValueError(
                f"{manifest} is not a manifest of format {FORMAT}; delete it and extract again"
            )
        images, tokens, width = layout["shape"]
        return cls(
            folder=manifest.with_suffix(".zarr"),
            shape=(images, tokens, width),
            dtype=np.dtype(layout["dtype"]),
            plan=ShardPlan(images, len(layout["shards"])),
            checksums=tuple(shard["crc32c"] for shard in layout["shards"]),
        )

    @classmethod
    def open(cls, manifest: str | Path) -> "ActivationStore":
        """Read a manifest and check that every shard is there in full size.

        Raises
        ------
        FileNotFoundError, ValueError
            As `load` does; or lists every shard that is missing or of the wrong size, with what to
            do.
        """
        store = cls.load(manifest)
        store.raise_faults(filter(None, map(store.size_fault, range(store.plan.n_shards))))
        return store

    def chunk(self, shard: int) -> Path:
        """Path of one shard's chunk file."""
        return self.folder / chunk_name(shard)

    def size_fault(self, shard: int) -> str | None:
        """Return what the size of a shard's file says is wrong with it; None if nothing is."""
        path = self.chunk(shard)
        if not path.is_file():
            return f"{path} is missing"
        wrong = path.stat().st_size != self.chunk_bytes + CHECKSUM_BYTES
        return f"{path} has the wrong size" if wrong else None

    def fault(self, shard: int) -> str | None:
        """Read a shard and return what is wrong with it; None if nothing is."""
        fault = self.size_fault(shard)
        if fault is None:
            content = self.chunk(shard).read_bytes()
            fault = self._checksum_fault(shard, content)
        return fault

    def raise_faults(self, faults: Iterator[str]) -> None:
        """Raise a ValueError that lists damaged shards and says what to do, if there are any."""
        listed = list(faults)
        if listed:
            raise DamagedError(
                "\n".join(listed) + "\nrun `make verify CONFIG=... REPAIR=1`, which makes damaged "
                "shards again and leaves all others as they are"
            )

    def read(self) -> Shaped[np.ndarray, "images tokens width"]:
        """Read everything into memory, verifying every shard's checksum.

        Raises
        ------
        ValueError
            Lists every damaged shard.
        """
        values = np.empty(self.shape, self.dtype)
        faults = []
        for shard in range(self.plan.n_shards):
            content = self.chunk(shard).read_bytes()
            fault = self._checksum_fault(shard, content)
            if fault:
                faults.append(fault)
                continue
            rows = self.plan.rows(shard)
            count = len(rows) * math.prod(self.shape[1:])
            chunk = np.frombuffer(content, self.dtype, count).reshape(-1, *self.shape[1:])
            values[rows.start : rows.stop] = chunk
        self.raise_faults(iter(faults))
        return values

    def gather(self, images: Int[np.ndarray, " batch"]) -> Shaped[np.ndarray, "batch tokens width"]:
        """Return the activations of some images, ids ascending, through memory maps.

        Sizes are checked when the store is opened, checksums are not.
        """
        values = np.empty((len(images), *self.shape[1:]), self.dtype)
        step = self.plan.rows_per_shard
        bounds = np.searchsorted(images, np.arange(self.plan.n_shards + 1) * step)
        for shard in np.flatnonzero(np.diff(bounds)):
            part = slice(bounds[shard], bounds[shard + 1])
            # Without `clip`, numpy copies through a buffer.
            rows = images[part] - shard * step
            np.take(self._maps[shard], rows, axis=0, out=values[part], mode="clip")
        return values

    def stream(
        self,
        size: int,
        seed: int,
        start: int = 0,
        workers: int = 1,
        seen: "Seen | None" = None,
    ) -> Iterator[Shaped[np.ndarray, "size width"]]:
        """Yield shuffled batches of rows (one token of an image each) without end.

        One pass over all rows follows another. Blocks of `BLOCK_BYTES` are read in random order
        and their rows mixed within windows of `WINDOW_BYTES`, so that a cold disk is read at
        nearly its sequential rate; a store smaller than a window is shuffled perfectly. The
        batches depend on the seed alone, not on `workers`, the threads that read ahead.

        Parameters
        ----------
        size
            Rows of a batch.
        start
            Number of batches to skip, without reading them: where a resumed run goes on.
        seen
            Takes note of what is read. A shard is checked once all of it has been, so that what is
            read of a pass in part is not: `Seen.check` does that.

        Raises
        ------
        DamagedError
            If a shard is not what was extracted.
        """
        seen = seen or Seen(self)
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(workers))
            files = [stack.enter_context(self.chunk(s).open("rb")) for s in self._shards]
            windows = self._windows(seed, start * size)
            buffers = [np.empty((self._window_rows, self.shape[2]), self.dtype) for _ in range(2)]
            ahead = self._read_window(next(windows), buffers[0], files, pool)
            left = ahead[0][:0]
            for number, following in enumerate(windows, start=1):
                rows, read, order = ahead
                self.raise_faults(fault for block, crc in read if (fault := seen.add(block, crc())))
                ahead = self._read_window(following, buffers[number % 2], files, pool)
                missing = min(size - len(left), len(order))
                left = np.concatenate([left, rows[order[:missing]]])
                if len(left) < size:
                    continue
                yield left.view(self.dtype).reshape(size, -1)
                for first in range(missing, len(order) - size + 1, size):
                    yield rows[order[first : first + size]].view(self.dtype).reshape(size, -1)
                left = rows[order[len(order) - (len(order) - missing) % size :]]

    @property
    def _shards(self) -> range:
        return range(self.plan.n_shards)

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a shard's array, padded to full length, without its checksum."""
        return self.plan.rows_per_shard * math.prod(self.shape[1:]) * self.dtype.itemsize

    @cached_property
    def _maps(self) -> list[np.ndarray]:
        shape = (self.plan.rows_per_shard, *self.shape[1:])
        # As plain arrays: a memmap's own indexing costs more than the copy of a few rows.
        return [
            np.asarray(np.memmap(self.chunk(shard), self.dtype, "r", shape=shape))
            for shard in self._shards
        ]

    def _checksum_fault(self, shard: int, content: bytes) -> str | None:
        checksum = google_crc32c.value(content[:-CHECKSUM_BYTES])
        if checksum != int.from_bytes(content[-CHECKSUM_BYTES:], "little"):
            return f"{self.chunk(shard)} fails its checksum"
        if f"{checksum:08x}" != self.checksums[shard]:
            return f"{self.chunk(shard)} is not the one extracted"
        return None

    @property
    def _block_rows(self) -> int:
        return max(1, BLOCK_BYTES // (self.shape[2] * self.dtype.itemsize))

    @property
    def _window_rows(self) -> int:
        return self._block_rows * max(1, WINDOW_BYTES // BLOCK_BYTES)

    def _blocks(self) -> Int[np.ndarray, "blocks 3"]:
        """Return (shard, first row, rows) of every block; rows are tokens of images."""
        return np.array(
            [
                (shard, first, min(self._block_rows, rows - first))
                for shard in self._shards
                for rows in [len(self.plan.rows(shard)) * self.shape[1]]
                for first in range(0, rows, self._block_rows)
            ]
        )

    def _windows(self, seed: int, skip: int) -> Iterator["_Window"]:
        """Yield the windows of one random pass after another, from the one that holds row `skip`.

        A window's randomness comes from its own numbers, so that any can be made on its own.
        """
        blocks = self._blocks()
        per_window = self._window_rows // self._block_rows
        number, skip = divmod(skip, int(blocks[:, 2].sum()))
        while True:
            order = np.random.default_rng([seed, number]).permutation(len(blocks))
            for first in range(0, len(order), per_window):
                chosen = blocks[order[first : first + per_window]]
                n = int(chosen[:, 2].sum())
                if skip >= n:
                    skip -= n
                    continue
                mixed = np.random.default_rng([seed, number, first]).permutation(n)
                yield _Window(chosen, mixed[skip:])
                skip = 0
            number += 1

    def _read_window(
        self, window: "_Window", rows: np.ndarray, files: list[Any], pool: ThreadPoolExecutor
    ) -> tuple[np.ndarray, list[tuple[list[int], Callable[[], int]]], np.ndarray]:
        """Start to read a window; return its rows, its blocks and their mixed order.

        A block's rows are there once its checksum has been asked for.
        """
        row_bytes = self.shape[2] * self.dtype.itemsize
        target = rows.data.cast("B")
        read: list[tuple[list[int], Callable[[], int]]] = []
        position = 0
        for shard, first, count in window.blocks.tolist():
            part = target[position : position + count * row_bytes]
            future = pool.submit(_read_fully, files[shard].fileno(), part, first * row_bytes)
            read.append(([shard, first, count], future.result))
            position += count * row_bytes
        # One opaque item a row: numpy copies it whole.
        return rows.view(f"V{row_bytes}")[:, 0], read, window.order


class DamagedError(ValueError):
    """Shards are not what was extracted."""


@dataclass(frozen=True)
class _Window:
    """Blocks that are mixed with each other."""

    blocks: Int[np.ndarray, "blocks 3"]
    order: Int[np.ndarray, " rows"]
    """The order in which its rows are shown."""


class Seen:
    """Checks shards whose blocks are read in any order, each once in a pass."""

    def __init__(self, store: ActivationStore):
        self._store = store
        self._row_bytes = store.shape[2] * store.dtype.itemsize
        self._blocks: dict[int, dict[int, tuple[int, int]]] = {}
        self._doubted: set[int] = set()

    def doubt(self) -> None:
        """Take no shard for checked: an earlier process has read some of them."""
        self._doubted.update(range(self._store.plan.n_shards))

    def add(self, block: list[int], checksum: int) -> str | None:
        """Take in a block; with the last one of a shard return what is wrong with it, if anything.

        Parameters
        ----------
        block
            Shard, first row, rows.
        """
        (shard, first, count), store = block, self._store
        self._doubted.add(shard)
        blocks = self._blocks.setdefault(shard, {})
        blocks[first] = checksum, count * self._row_bytes
        length = len(store.plan.rows(shard)) * store.shape[1] * self._row_bytes
        if sum(size for _, size in blocks.values()) < length:
            return None
        del self._blocks[shard]
        self._doubted.discard(shard)
        whole = 0
        for part, size in (blocks[first] for first in sorted(blocks)):
            whole = combined(whole, part, size)
        padding = bytes(store.chunk_bytes - length)
        whole = google_crc32c.extend(whole, padding)
        right = f"{whole:08x}" == store.checksums[shard]
        return None if right else f"{store.chunk(shard)} fails its checksum"

    def check(self) -> None:
        """Read again the shards of which only a part was read; DamagedError if one is damaged."""
        shards, self._doubted = sorted(self._doubted), set()
        self._store.raise_faults(filter(None, map(self._store.fault, shards)))


def combined(first: int, second: int, length: int) -> int:
    """Return the crc32c of two pieces in a row, given those of each and the second's length.

    A checksum is linear in what has been read so far: appending zeros multiplies it by a matrix.
    """
    moved = 0
    for bit, column in enumerate(_columns(length)):
        if first >> bit & 1:
            moved ^= column
    return moved ^ second


@lru_cache(maxsize=16)
def _columns(length: int) -> list[int]:
    """Return where each bit of a checksum leads when so many zeros follow."""
    zeros, ones = bytes(length), 2**32 - 1
    return [google_crc32c.extend(ones ^ 1 << bit, zeros) ^ ones for bit in range(32)]


def _read_fully(descriptor: int, target: memoryview, offset: int) -> int:
    """Fill `target` from a file, and return its crc32c; one call may read less."""
    left = target
    while len(left):
        count = os.preadv(descriptor, [left], offset)
        if count == 0:
            raise OSError(f"a chunk file ends early at byte {offset}; verify the store")
        left, offset = left[count:], offset + count
    return google_crc32c.value(np.frombuffer(target, np.uint8))
