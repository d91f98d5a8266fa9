"""What it costs to check activations as they are read: streams, and training from them.

    .venv/bin/python benchmarks/checks.py [folder]

Rounds are interleaved, with and without the checks; ratios are medians over rounds of ratios within
a round, least and largest in brackets. Processor seconds are of all threads. Everything is read
from the page cache, where the checks weigh most.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import store as reading

from cladescope.activations import store as checked
from cladescope.dictionaries.train import fit_dictionary
from cladescope.dictionaries.training.batches import Streamed
from cladescope.dictionaries.training.spec import FitSpec, Recipe

IMAGES, SHARDS = 160_000, 16
BATCH, WORKERS = 4096, 2
ROUNDS = 7
RECIPE = Recipe(IMAGES, BATCH, 5e-3, 0.05, 0.2, 0.005, 0.1, 1 / 32)


@contextmanager
def unchecked() -> Iterator[None]:
    """Read without computing or comparing checksums."""
    with ExitStack() as stack:
        for owner, name, stand_in in (
            (checked.google_crc32c, "value", lambda content: 0),
            (checked.Seen, "add", lambda self, block, checksum: None),
            (checked.Seen, "check", lambda self: None),
        ):
            stack.enter_context(patch.object(owner, name, stand_in))
        yield


def measure(read: Callable[[], int]) -> tuple[float, float]:
    """Return seconds and processor seconds per gigabyte of what a function reads."""
    wall, processor = time.perf_counter(), time.process_time()
    gigabytes = read() / 1e9
    seconds = time.perf_counter() - wall, time.process_time() - processor
    return seconds[0] / gigabytes, seconds[1] / gigabytes


def main(folder: Path) -> None:
    """Measure and print."""
    reading.IMAGES, reading.SHARDS = IMAGES, SHARDS
    stored, _ = reading.write(folder / "store")
    # A stream for each, of which the first pass, in memory that is new, does not count.
    streams = {name: stored.stream(BATCH, seed=0, workers=WORKERS) for name in ("with", "without")}

    def stream(name: str) -> int:
        return sum(next(streams[name]).nbytes for _ in range(4 * IMAGES // BATCH))

    def train(name: str) -> int:
        fit_dictionary("topk", Streamed(stored, WORKERS), FitSpec(4096, 32, 0, RECIPE), WORKERS)
        return int(np.prod(stored.shape)) * stored.dtype.itemsize

    for what, read in (("stream", stream), ("training", train)):
        costs: dict[str, list[tuple[float, float]]] = {"with": [], "without": []}
        for number in range(ROUNDS + 1):
            for name in sorted(costs, reverse=bool(number % 2)):
                with unchecked() if name == "without" else ExitStack():
                    cost = measure(lambda read=read, name=name: read(name))
                if number:
                    costs[name].append(cost)
        both, neither = (np.array(costs[name]) for name in ("with", "without"))
        for column, label in enumerate(("rate", "processor time")):
            ratios = both[:, column] / neither[:, column]
            ratios = 1 / ratios if label == "rate" else ratios
            with_, without = (np.median(c[:, column]) for c in (both, neither))
            print(
                f"{what:<9} {label:<15} {np.median(ratios):.3f} ({ratios.min():.3f}-"
                f"{ratios.max():.3f}); seconds a GB {with_:.3f} with, {without:.3f} without"
            )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as scratch:
        main(Path(scratch))
