"""Baseline: principal components of the activations, one latent for each sign of each."""

import numpy as np

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.initial import Beginning, centred_parts, signed_dictionary
from cladescope.dictionaries.training.spec import FitSpec


def fit(beginning: Beginning, spec: FitSpec) -> Dictionary:
    """Return latents ReLU(±⟨v_i, x'⟩) for the eigenvectors v_i of the covariance; width 2d."""
    covariance = sum(part.T @ part for part in centred_parts(beginning.rows, beginning.mean))
    _, vectors = np.linalg.eigh(covariance)
    components = vectors.T[::-1]
    # An eigenvector's sign is arbitrary: make its largest entry positive.
    largest = np.take_along_axis(components, np.abs(components).argmax(1)[:, None], axis=1)
    return signed_dictionary(beginning, components * np.sign(largest))
