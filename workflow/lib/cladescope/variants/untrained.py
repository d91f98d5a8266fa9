"""Control: a TopK sparse autoencoder at initialisation."""

import numpy as np
from jaxtyping import Float

from cladescope.variants.base import Fit, FitSpec, initial_dictionary


def fit(x: Float[np.ndarray, "images d"], spec: FitSpec) -> Fit:
    """Return the dictionary that `topk` starts from with the same width, sparsity and seed."""
    return Fit(initial_dictionary(x, spec))
