"""Baseline: the raw units of the residual stream, one latent for each sign of each."""

import numpy as np

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.initial import Beginning, signed_dictionary
from cladescope.dictionaries.training.spec import FitSpec


def fit(beginning: Beginning, spec: FitSpec) -> Dictionary:
    """Return latents ReLU(±x'_i); the width is 2d."""
    return signed_dictionary(beginning, np.eye(len(beginning.mean)))
