"""Baseline: directions of k-means clusters of the activations, read like a TopK dictionary."""

import numpy as np

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.clustering import clusters
from cladescope.dictionaries.training.initial import Beginning, directed_dictionary, normalised
from cladescope.dictionaries.training.spec import FitSpec


def fit(beginning: Beginning, spec: FitSpec) -> Dictionary:
    """Return latents along the centres of `width` clusters; the `sparsity` largest are kept.

    Lloyd's algorithm (`training.clustering`) from random images of the training split.
    """
    assert spec.width and spec.seed is not None
    if len(beginning.rows) < spec.width:
        raise ValueError(
            f"kmeans: {spec.width} clusters need as many images, there are {len(beginning.rows)}"
        )
    random = np.random.default_rng(spec.seed)
    return directed_dictionary(beginning, spec, clusters(normalised(beginning), spec.width, random))
