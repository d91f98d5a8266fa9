"""Control: a TopK sparse autoencoder along random directions. `sparsity` is k."""

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.initial import Beginning, initial_dictionary
from cladescope.dictionaries.training.spec import FitSpec


def fit(beginning: Beginning, spec: FitSpec) -> Dictionary:
    """Return an autoencoder that knows nothing of the data but its mean and scale.

    Those that `variants.frozen_decoder` and its kin start from; `variants.start` is what `topk`
    starts from.
    """
    assert spec.sparsity
    return initial_dictionary(beginning, spec, k=int(spec.sparsity), data_share=0)
