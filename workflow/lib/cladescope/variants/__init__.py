"""Dictionary variants, one module each; `fit` of a module makes its `Dictionary`."""

from importlib import import_module

import numpy as np
from jaxtyping import Float

from cladescope.variants.base import Fit, FitSpec


def fit_dictionary(variant: str, x: Float[np.ndarray, "images d"], spec: FitSpec) -> Fit:
    """Fit `variant` to activations x.

    The module is imported by name, so that baselines start without torch; a rule's code
    fingerprint therefore names the variant's module explicitly.
    """
    return import_module(f"cladescope.variants.{variant}").fit(x, spec)
