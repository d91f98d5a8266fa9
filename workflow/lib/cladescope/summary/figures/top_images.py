"""What the best latents respond to."""

from collections.abc import Callable
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL.Image import Image

from cladescope.codes.codes import Codes
from cladescope.relevancy.choose import best_latents, strongest_images
from cladescope.summary.figures.base import plain, remark, set_style
from cladescope.summary.figures.sheet import Sheet

SHOWN_LATENTS = 10
SHOWN_IMAGES = 10


def plot_top_images(
    codes: Codes, latents: pd.DataFrame, read: Callable[[int], Image], title: str
) -> Figure:
    """Draw the strongest images of the latents that match an internal node best.

    One row per node: the latent with the highest MCC for it, titled with the synset of its LCH_τ,
    which is a leaf where one class fills the top set. `read` opens an image of the split.
    """
    set_style()
    shown = best_latents(latents, SHOWN_LATENTS)
    if shown.empty:
        return remark("no scored latent matches an internal node")
    sheet = Sheet(len(shown), SHOWN_IMAGES, f"Latents that match an internal node best: {title}")
    records: list[dict[str, Any]] = shown.to_dict("records")  # type: ignore[assignment]
    for number, latent in enumerate(records):
        words = (
            f"{plain(latent['lch_tau_name'])}\n"
            f"latent {latent['latent']}, MCC {latent['best_internal_mcc']:.2f}\n"
            f"with {plain(latent['best_internal_name'])}"
        )
        images = strongest_images(codes, latent["latent"], SHOWN_IMAGES)
        for axis, image in zip(sheet.row(number, words), images, strict=False):
            axis.imshow(read(image))
    return sheet.finished()
