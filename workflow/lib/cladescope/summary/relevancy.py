"""How right the maps are, over latents: one row for each dictionary, choice and method."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from cladescope.scores.nulls import INTERVAL

MEASURES = (
    "object_share",
    "object_area",
    "object_excess",
    "deletion_area",
    "insertion_area",
)


class Maps(NamedTuple):
    """Relevancy maps of one dictionary."""

    table: pd.DataFrame
    """One row for each latent, image and method."""
    grid: tuple[int, int]
    """Rows and columns of patches."""

    @classmethod
    def load(cls, path: str | Path) -> "Maps":
        """Read what `map_relevancy` wrote."""
        table = pq.read_table(path)
        about = table.schema.metadata
        return cls(table.to_pandas(), (int(about[b"rows"]), int(about[b"columns"])))


def summarise(maps: pd.DataFrame, draws: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each choice of latents and each method: means over latents, 95% intervals.

    docs/relevancy.md has the columns. An interval resamples latents, not maps: maps of one latent
    are alike.
    """
    maps = maps.assign(
        object_excess=maps["object_share"] - maps["object_area"],
        deletion_area=maps["deletion"].map(_area).astype(float),
        insertion_area=maps["insertion"].map(_area).astype(float),
    )
    for (chosen, method), part in maps.groupby(["chosen", "method"], sort=False):
        by_latent = part.groupby("latent")[list(MEASURES)].mean()
        row: dict[str, Any] = {
            "chosen": chosen,
            "method": method,
            "n_latents": len(by_latent),
            "n_maps": len(part),
        }
        # The same resamples of the latents for every method, so that methods can be compared.
        picks = np.random.default_rng(seed).integers(len(by_latent), size=(draws, len(by_latent)))
        for name in MEASURES:
            values = by_latent[name].to_numpy(float)
            known = ~np.isnan(values)
            if not known.any():
                row |= dict.fromkeys((name, f"{name}_low", f"{name}_high"))
                continue
            means = np.nanmean(values[picks], axis=1)
            low, high = np.nanpercentile(means, INTERVAL)
            row |= {name: values[known].mean(), f"{name}_low": low, f"{name}_high": high}
        yield row


def _area(curve: np.ndarray) -> float:
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))
