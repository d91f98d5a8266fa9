"""Baseline: the raw units of the residual stream, one latent for each sign of each."""

import numpy as np
from jaxtyping import Float

from cladescope.variants.base import Fit, FitSpec, signed_dictionary


def fit(x: Float[np.ndarray, "images d"], spec: FitSpec) -> Fit:
    """Return latents ReLU(±x'_i); the width is 2d."""
    return Fit(signed_dictionary(x, np.eye(x.shape[1])))
