"""What pages show of places: which latent finds a node's patches, and what is known besides.

Numbers are those of `segment`; docs/segmentation.md defines each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cladescope.about import read_about
from cladescope.atlas.chunks import smallest
from cladescope.atlas.wire import SEGMENTED


@dataclass(frozen=True)
class Places:
    """What is known of where in images latents fire; None where it is not asked for."""

    maps: str | Path | None = None
    """`relevancy.parquet`."""
    segmentation: str | Path | None = None
    """`segmentation.parquet`."""
    crop: float | None = None
    """Side of the central square that the backbone sees, as a share of the image's shorter side;
    None if it sees something else, or nothing is known of places."""


def segmentation_chunk(
    path: str | Path, position: Mapping[str | None, int], width: int
) -> dict[str, Any]:
    """Return what `segmentation.js` holds: the latent of each node, and how well it finds patches.

    Masks may show what no image is labelled with; of that the pages have no node.

    Parameters
    ----------
    position
        Of each wnid in the tree.
    """
    table, about = read_about(path)
    table = table[table["wnid"].isin([*position]) & table["precision"].notna()]
    latent = table["latent"].fillna(width).to_numpy(int)
    return {
        "n_images": about["n_images"],
        "node": smallest(np.array([position[wnid] for wnid in table["wnid"]], int), len(position)),
        "latent": smallest(latent, width),
        "patches": smallest(table["patches"].to_numpy(int), 2**32 - 1),
        **{name: table[name].to_numpy(np.float32) for name in SEGMENTED},
    }
