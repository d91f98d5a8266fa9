"""Control: a TopK sparse autoencoder along random directions. `sparsity` is k."""

from cladescope.dictionaries.training.base import Fit, FitSpec, Job, initial_dictionary
from cladescope.dictionaries.training.batches import Source


def fit(source: Source, spec: FitSpec, job: Job) -> Fit:
    """Return an autoencoder that knows nothing of the data but its mean and scale.

    Not what `topk` starts from: that points towards images, and images have classes.
    """
    assert spec.sparsity
    return Fit(initial_dictionary(source, spec, k=int(spec.sparsity), data_share=0))
