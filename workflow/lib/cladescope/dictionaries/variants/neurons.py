"""Baseline: the raw units of the residual stream, one latent for each sign of each."""

import numpy as np

from cladescope.dictionaries.training.base import Fit, FitSpec, Job, signed_dictionary
from cladescope.dictionaries.training.batches import Source


def fit(source: Source, spec: FitSpec, job: Job) -> Fit:
    """Return latents ReLU(±x'_i); the width is 2d."""
    return Fit(signed_dictionary(source, np.eye(source.d)))
