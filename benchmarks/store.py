"""Reading an activation store, against a plain .npy memory map, zarr's indexing and the disk.

    .venv/bin/python benchmarks/store.py [folder]

Rounds are interleaved; rates are megabytes of activations per second; ratios are medians over
rounds of ratios within a round. Cold means that the files were dropped from the page cache before.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import zarr

from cladescope.activations.statistics import Statistics, measure
from cladescope.activations.store import ActivationStore, ShardPlan
from cladescope.activations.writer import ActivationWriter, scratch_of
from cladescope.images.index import ImageIndex

IMAGES, WIDTH, SHARDS = 1_000_000, 768, 64
BATCH = 4096
ROUNDS = 9


def write(folder: Path) -> tuple[ActivationStore, Path]:
    """Write the same float16 values as a store and as one .npy file."""
    scratch_of(folder / "L1.json").mkdir(parents=True)
    plan = ShardPlan(IMAGES, SHARDS)
    writer = ActivationWriter(folder / "L1.json", plan, "benchmark")
    rng = np.random.default_rng(0)
    plain = np.lib.format.open_memmap(folder / "plain.npy", "w+", np.float16, (IMAGES, 1, WIDTH))
    for shard in range(SHARDS):
        rows = plan.rows(shard)
        values = rng.standard_normal((len(rows), 1, WIDTH), np.float32).astype(np.float16)
        plain[rows.start : rows.stop] = values
        writer.append(shard, values, Statistics.of(measure(torch.from_numpy(values))))
    plain.flush()
    labels = np.zeros(IMAGES, np.int32)
    paths = np.array([""] * IMAGES, np.dtypes.StringDType())
    hashes = np.zeros((IMAGES, 32), np.uint8)
    index = ImageIndex(paths, labels, ["n00000001"], hashes)
    writer.finish({}, index, None)
    return ActivationStore.open(folder / "L1.json"), folder / "plain.npy"


def drop(paths: list[Path]) -> None:
    """Drop files from the page cache."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def rate(read: Callable[[], int]) -> float:
    """Megabytes per second of a function that returns how many bytes it delivered."""
    start = time.perf_counter()
    count = read()
    return count / (time.perf_counter() - start) / 1e6


def main(folder: Path) -> None:
    """Measure and print."""
    store, plain_path = write(folder / "warm")
    # Another one, for the pages of a mapped file cannot be dropped.
    cold, _ = write(folder / "cold")
    plain = np.load(plain_path, mmap_mode="r")
    array = zarr.open_array(store.folder / "values", mode="r")
    rng = np.random.default_rng(1)
    chunks = [cold.chunk(shard) for shard in range(SHARDS)]

    def gather(source: Callable[[np.ndarray], np.ndarray], batches: int) -> Callable[[], int]:
        def read() -> int:
            order = rng.permutation(IMAGES)
            chosen = [order[first : first + BATCH] for first in range(0, batches * BATCH, BATCH)]
            return sum(source(rows).nbytes for rows in chosen)

        return read

    # One stream through all rounds: its two windows of memory are new in the first only.
    batches = cold.stream(BATCH, seed=0, workers=2)

    def stream() -> int:
        return sum(next(batches).nbytes for _ in range(IMAGES // BATCH))

    def sequential() -> int:
        buffer = bytearray(2**22)
        total = 0
        for path in chunks:
            with path.open("rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    total += count
        return total

    rates: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, read in (
            ("shuffled: .npy memory map", gather(lambda rows: plain[rows], 100)),
            ("shuffled: store.gather", gather(lambda rows: store.gather(np.sort(rows)), 100)),
            ("shuffled: zarr", gather(lambda rows: array.oindex[rows], 1)),
            ("cold: sequential read", sequential),
            ("cold: store.stream", stream),
        ):
            if name.startswith("cold"):
                drop(chunks)
            rates.setdefault(name, []).append(rate(read))
    for name, values in rates.items():
        print(f"{name:<28} {np.median(values):>9,.0f} MB/s ({min(values):,.0f}-{max(values):,.0f})")
    for name, one, other in (
        ("gather / memory map", "shuffled: store.gather", "shuffled: .npy memory map"),
        ("gather / zarr", "shuffled: store.gather", "shuffled: zarr"),
        ("stream / sequential, cold", "cold: store.stream", "cold: sequential read"),
    ):
        ratios = np.array(rates[one]) / np.array(rates[other])
        print(f"{name:<28} {np.median(ratios):>9.2f} ({ratios.min():.2f}-{ratios.max():.2f})")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as scratch:
        main(Path(scratch))
