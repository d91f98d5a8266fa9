"""Control: a TopK sparse autoencoder at initialisation. `sparsity` is k."""

from cladescope.variants.base import Fit, FitSpec, Job, initial_dictionary
from cladescope.variants.batches import Source


def fit(source: Source, spec: FitSpec, job: Job) -> Fit:
    """Return the dictionary that `topk` starts from with the same width, sparsity and seed."""
    assert spec.sparsity
    return Fit(initial_dictionary(source, spec, k=int(spec.sparsity)))
