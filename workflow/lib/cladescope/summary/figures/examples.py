"""Where in their strongest images the shown latents come from."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL.Image import Image

from cladescope.relevancy.choose import NAMED
from cladescope.summary.figures.base import set_style, short_name
from cladescope.summary.figures.sheet import Sheet
from cladescope.summary.relevancy import Maps

SHOWN_LATENTS = 12
SHOWN_IMAGES = 5
CONTROLS = ("shuffled", "random", "attention", "rollout")


def plot_examples(
    maps: Maps,
    latents: pd.DataFrame,
    nodes: pd.DataFrame,
    named: Sequence[str],
    read: Callable[[int], Image],
    title: str,
) -> Figure:
    """Draw images and their relevancy maps, a row per latent.

    First the best latents of the nodes that the configuration names, then those that match an
    internal node best. The title of a row is the node that its latent matches. Each image is drawn
    twice: as it is, and in grey under its map, which is scaled to its own largest value.

    Parameters
    ----------
    maps
        `relevancy.parquet` of the dictionary.
    latents, nodes
        Of the same dictionary.
    named
        The nodes (wnids) that the configuration names.
    read
        Opens an image of the split.
    """
    set_style()
    table = maps.table
    own = table[~table["method"].isin(CONTROLS) & (table["chosen"] != "random")]
    order = own[["chosen", "latent"]].drop_duplicates()
    order = order.sort_values("chosen", key=lambda c: c != NAMED, kind="stable")
    order = order.drop_duplicates("latent").head(SHOWN_LATENTS)
    sought = nodes[nodes["wnid"].isin(named)].dropna(subset=["best_latent"])
    names = sought.groupby("best_latent")["name"].agg(lambda all_: ", ".join(map(short_name, all_)))
    sheet = Sheet(
        len(order), 2 * SHOWN_IMAGES, f"Strongest images and where the latent comes from: {title}"
    )
    about = latents.set_index("latent")
    for number, (chosen, latent) in enumerate(order.itertuples(index=False)):
        chosen_for = names.get(latent) if chosen == NAMED else None
        row = sheet.row(number, _describe(latent, about.loc[latent], chosen_for))
        part = own[own["latent"] == latent].drop_duplicates("image").head(SHOWN_IMAGES)
        for column, shown in enumerate(part.to_dict("records")):
            pixels = read(shown["image"])
            row[2 * column].imshow(pixels)
            _overlay(row[2 * column + 1], pixels, np.reshape(shown["relevancy"], maps.grid))
    return sheet.finished()


def _describe(latent: int, about: Any, chosen_for: str | None) -> str:
    """Name the node that a latent matches, how well, and the named node that it was chosen for."""
    mcc = about["best_internal_mcc"]
    if pd.isna(mcc):
        lines = [f"latent {latent}, {about['status']}"]
    else:
        lines = [short_name(about["best_internal_name"]), f"latent {latent}, MCC {mcc:.2f}"]
    if chosen_for is not None:
        lines.append(f"best latent for {chosen_for}")
    return "\n".join(lines)


def _overlay(axis: Axes, pixels: Image, relevancy: np.ndarray) -> None:
    """Show the image in grey under its map; nothing of the map where it is zero throughout."""
    width, height = pixels.size
    axis.imshow(pixels.convert("L"), cmap="gray", vmin=0, vmax=255)
    if relevancy.max() > 0:
        axis.imshow(
            relevancy / relevancy.max(),
            cmap="inferno",
            vmin=0,
            vmax=1,
            alpha=0.65,
            extent=(-0.5, width - 0.5, height - 0.5, -0.5),
            interpolation="bilinear",
        )
