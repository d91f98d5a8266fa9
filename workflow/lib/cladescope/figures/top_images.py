"""What the best latents respond to."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from cladescope.codes import Codes
from cladescope.examples import best_latents, strongest_images
from cladescope.figures.base import save, set_style
from cladescope.images import ImageIndex, decode_image
from cladescope.sources.base import ImageSource

SHOWN_LATENTS = 10
SHOWN_IMAGES = 10


def plot_top_images(
    codes: Codes,
    latents: pd.DataFrame,
    index: ImageIndex,
    source: ImageSource,
    title: str,
    paths: Sequence[str],
    dpi: int,
) -> None:
    """Draw the strongest images of the latents that match an internal node best.

    One row per node: the latent with the highest MCC for it, titled with the synset of its LCH_τ,
    which is a leaf where one class fills the top set.
    """
    set_style()
    shown = best_latents(latents, SHOWN_LATENTS)
    figure, axes = plt.subplots(
        max(len(shown), 1),
        SHOWN_IMAGES,
        figsize=(SHOWN_IMAGES * 0.75 + 3.2, max(len(shown), 1) * 0.8 + 0.6),
        squeeze=False,
    )
    figure.suptitle(f"Latents that match an internal node best: {title}", x=0.02, ha="left")
    for axis in axes.flat:
        axis.set_axis_off()
    records: list[dict[str, Any]] = shown.to_dict("records")  # type: ignore[assignment]
    for row, latent in enumerate(records):
        images = strongest_images(codes, latent["latent"], SHOWN_IMAGES)
        for axis, image in zip(axes[row], images, strict=False):
            axis.imshow(decode_image(source.read_checked(index, image)))
        axes[row, 0].text(
            -0.15,
            0.5,
            "{lch_tau_name}\nlatent {latent}, MCC {best_internal_mcc:.2f}\n"
            "with {best_internal_name}".format(**latent),
            transform=axes[row, 0].transAxes,
            ha="right",
            va="center",
            fontsize=8,
        )
    figure.subplots_adjust(
        left=2.6 / figure.get_figwidth(),
        right=0.99,
        top=1 - 0.5 / figure.get_figheight(),
        bottom=0.01,
        wspace=0.05,
        hspace=0.08,
    )
    save(figure, paths, dpi)
