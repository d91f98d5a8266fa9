"""How well single latents find classes and nodes, over these: rows for each dictionary."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cladescope.segmentation.measure import CLASS, NODE, WHOLE
from cladescope.summary.cells import span, table_of, with_null
from cladescope.summary.intervals import interval_of_mean

COVERED = 0.3
"""Average precision from which on a class or node counts as found (arXiv 2511.17735)."""
MEASURES = {
    "map": "precision",
    "probe_r": "probe_r",
    "purity_16": "purity_16",
    "coverage_30": "covered",
    "over_image_level": "over",
}
"""Columns that have an interval, and what they are means of."""
MEANS = {
    "chance": "chance",
    "image_level": "image_level",
    "map_null_permuted": "precision_null_permuted",
}


def summarise(
    table: pd.DataFrame, about: Mapping[str, Any], draws: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for classes, internal nodes and the root, and for internal nodes of each height.

    docs/segmentation.md has the columns. Intervals resample classes or nodes; images stay.
    """
    known = table[table["precision"].notna()]
    known = known.assign(
        covered=(known["precision"] >= COVERED).astype(float),
        over=known["precision"] - known["image_level"],
    )
    for kind in (CLASS, NODE, WHOLE):
        part = known[known["kind"].eq(kind)]
        yield {"kind": kind, "height": None, **_means(part, draws, seed), **about}
        if kind == NODE:
            for height in sorted(map(int, part["height"].unique())):
                of = part[part["height"].eq(height)]
                yield {"kind": kind, "height": height, **_means(of, draws, seed), **about}


def _means(part: pd.DataFrame, draws: int, seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {"n_units": len(part)}
    for name, column in MEASURES.items():
        values = part[column].to_numpy(float)
        low, high = interval_of_mean(values, draws, seed)
        found |= {name: values.mean() if len(values) else np.nan}
        found |= {f"{name}_low": low, f"{name}_high": high}
    found |= {name: part[column].mean() for name, column in MEANS.items()}
    return {name: None if pd.isna(value) else value for name, value in found.items()}


def segmentation_section(table: pd.DataFrame) -> list[str]:
    """Return the page of evidence's parts on what latents say of places, at each place.

    Parameters
    ----------
    table
        The table `segmentation.csv`, with the dictionary's kind in words as `kind_of_dictionary`.
    """
    parts = [
        "## Does a latent know where?",
        "The best single latent of each class or node, chosen on half of the images: average "
        "precision of finding its patches in the other half, by masks. “Null”: latents chosen with "
        "the leaves permuted. “Knows the image”: a latent that fires on every patch of the right "
        "images; only what is above that knows the place.",
    ]
    for (experiment, token, layer), rows in table.groupby(
        ["experiment", "token", "layer"], sort=False
    ):
        whole = rows[rows["height"].isna()]
        heights = sorted(rows.loc[rows["n_units"] > 0, "height"].dropna().astype(int).unique())
        columns = {"mAP, classes": (whole[whole["kind"] == CLASS], "map")}
        columns["Purity@16, classes"] = (whole[whole["kind"] == CLASS], "purity_16")
        columns["mAP, nodes"] = (whole[whole["kind"] == NODE], "map")
        columns |= {f"height {h}": (rows[rows["height"] == h], "map") for h in heights}
        columns["mAP, any object"] = (whole[whole["kind"] == WHOLE], "map")
        found = [
            [
                str(kind),
                *(
                    with_null(part[part["kind_of_dictionary"] == kind], measure)
                    for part, measure in columns.values()
                ),
            ]
            for kind in rows["kind_of_dictionary"].unique()
        ]
        found += [
            [name, *(span(part, column) if m == "map" else "" for part, m in columns.values())]
            for name, column in {"knows the image": "image_level", "chance": "chance"}.items()
        ]
        parts += [
            f"{experiment}, {token}, layer {layer}:",
            table_of(["dictionary", *columns], found),
        ]
    return parts
