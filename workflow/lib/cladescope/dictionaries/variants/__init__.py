"""Dictionary variants, one module each; `fit` of a module makes its `Dictionary`."""

from importlib import import_module

from cladescope.dictionaries.training.base import Fit, FitSpec, Job
from cladescope.dictionaries.training.batches import Source


def fit_dictionary(variant: str, source: Source, spec: FitSpec, job: Job | None = None) -> Fit:
    """Fit `variant` to a source of activations.

    The module is imported by name, so that a job loads only what its variant needs; a rule's code
    fingerprint therefore names the variant's module explicitly.
    """
    return import_module(f"{__name__}.{variant}").fit(source, spec, job or Job())
