"""Baseline: principal components of the activations, one latent for each sign of each."""

import numpy as np
from jaxtyping import Float

from cladescope.variants.base import Fit, FitSpec, signed_dictionary


def fit(x: Float[np.ndarray, "images d"], spec: FitSpec) -> Fit:
    """Return latents ReLU(±⟨v_i, x'⟩) for the eigenvectors v_i of the covariance; width 2d."""
    centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    components = vectors.T[::-1]
    # An eigenvector's sign is arbitrary: make its largest entry positive.
    largest = np.take_along_axis(components, np.abs(components).argmax(1)[:, None], axis=1)
    return Fit(signed_dictionary(x, components * np.sign(largest)))
