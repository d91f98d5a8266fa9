"""The example sheet: what is written beside its rows."""

import numpy as np
import pandas as pd
from PIL import Image

from cladescope.summary.figures.examples import plot_examples
from cladescope.summary.relevancy import Maps


def test_rows_are_titled_by_the_node_that_they_match():
    image = Image.new("RGB", (8, 8), (90, 60, 20))
    rows = [("best", 3, "relevancy"), ("named", 5, "relevancy"), ("named", 7, "relevancy")]
    rows += [("random", 8, "relevancy"), ("best", 3, "shuffled")]
    maps = pd.DataFrame(rows, columns=["chosen", "latent", "method"])
    maps = maps.assign(image=0, relevancy=[np.ones(4)] * len(rows))
    latents = pd.DataFrame(
        {
            "latent": [3, 5, 7],
            "status": ["scored", "scored", "rare"],
            # The smallest node above most of its images may be far above the one that it matches.
            "lch_tau_name": ["entity.n.01", "animal.n.01", None],
            "best_internal_name": ["big_cat.n.01", "insect.n.01", None],
            "best_internal_mcc": [0.871, 0.4, np.nan],
        }
    )
    nodes = pd.DataFrame(
        {
            "wnid": ["n1", "n2", "n3"],
            "name": ["butterfly.n.01", "whale.n.02", "fish.n.01"],
            "best_latent": [5, 7, 3],
        }
    )
    figure = plot_examples(
        Maps(maps, (2, 2)), latents, nodes, ["n1", "n2"], lambda row: image, title="t"
    )
    titles = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert titles == [
        "insect\nlatent 5, MCC 0.40\nbest latent for butterfly",
        "latent 7, rare\nbest latent for whale",
        "big cat\nlatent 3, MCC 0.87",
    ]
