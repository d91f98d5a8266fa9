"""Supervised baseline: directions of the classes' means, read like a TopK dictionary.

With x̄_c the mean over the training images of class c and x̄ that over all images, the rows are
(x̄_c − x̄) / ‖x̄_c − x̄‖, one for each class in the order of the labels, and latents are read as
those of `variants.kmeans`. An image of several tokens counts as their mean. `sparsity` is k.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from cladescope.dictionaries.training.batches import Source
from cladescope.dictionaries.training.initial import directed_dictionary
from cladescope.images.index import ImageIndex

fit = directed_dictionary


def directions(source: Source, index: Path) -> Float[np.ndarray, "classes d"]:
    """Return x̄_c − x̄ of each class, float64, in units of the activations.

    Parameters
    ----------
    index
        Image index of the training split, whose images the source's are.

    Raises
    ------
    DamagedError
        If the activations are not what was extracted.
    """
    images = ImageIndex.load(index)
    sums = np.zeros((len(images.wnids), source.d))
    done = 0
    for means in source.image_means():
        labels = images.labels[done : done + len(means)]
        done += len(means)
        order = np.argsort(labels, kind="stable")
        present, first = np.unique(labels[order], return_index=True)
        sums[present] += np.add.reduceat(means[order], first)
    return sums / np.bincount(images.labels)[:, None] - sums.sum(0) / done
