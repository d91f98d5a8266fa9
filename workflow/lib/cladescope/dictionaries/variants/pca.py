"""Baseline: principal components of the activations, one latent for each sign of each."""

import numpy as np

from cladescope.dictionaries.training.base import (
    Fit,
    FitSpec,
    Job,
    centred_parts,
    normalisation,
    signed_dictionary,
)
from cladescope.dictionaries.training.batches import Source


def fit(source: Source, spec: FitSpec, job: Job) -> Fit:
    """Return latents ReLU(±⟨v_i, x'⟩) for the eigenvectors v_i of the covariance; width 2d."""
    mean, _ = normalisation(source)
    covariance = sum(part.T @ part for part in centred_parts(next(source.blocks()), mean))
    _, vectors = np.linalg.eigh(covariance)
    components = vectors.T[::-1]
    # An eigenvector's sign is arbitrary: make its largest entry positive.
    largest = np.take_along_axis(components, np.abs(components).argmax(1)[:, None], axis=1)
    return Fit(signed_dictionary(source, components * np.sign(largest)))
