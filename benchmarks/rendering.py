"""Images of the planted world per second of one core, PNG files included.

.venv/bin/python benchmarks/rendering.py
"""

import tempfile
import time
from pathlib import Path
from statistics import median

from cladescope.planted.rendering import LEAF_WNIDS, PlantedSpec, render_split

IMAGES_PER_CLASS = 30
ROUNDS = 5


def main() -> None:
    """Render a small split several times and print the rates."""
    n_images = IMAGES_PER_CLASS * len(LEAF_WNIDS)
    wall, cpu = [], []
    for seed in range(ROUNDS + 1):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter(), time.process_time()
            render_split(
                PlantedSpec(seed=seed),
                "train",
                IMAGES_PER_CLASS,
                Path(folder) / "images",
                Path(folder) / "factors.parquet",
            )
            wall.append(n_images / (time.perf_counter() - started[0]))
            cpu.append(n_images / (time.process_time() - started[1]))
    # The first round also draws the textures and fills caches.
    for name, rates in (("wall", wall[1:]), ("processor", cpu[1:])):
        print(
            f"images per {name} second: median {median(rates):.0f}, "
            f"range {min(rates):.0f} to {max(rates):.0f} over {ROUNDS} rounds"
        )


if __name__ == "__main__":
    main()
