"""Control: the TopK sparse autoencoder before its first step. `sparsity` is k.

Its rows point towards single images, and images have classes: what `topk` has beyond it, training
has found.
"""

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.initial import Beginning, initial_dictionary
from cladescope.dictionaries.training.spec import FitSpec


def fit(beginning: Beginning, spec: FitSpec) -> Dictionary:
    """Return what `topk` of the same width, sparsity and seed starts from, to the bit."""
    assert spec.sparsity
    return initial_dictionary(beginning, spec, k=int(spec.sparsity))
