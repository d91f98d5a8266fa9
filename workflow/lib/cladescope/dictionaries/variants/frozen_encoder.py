"""Control: a TopK autoencoder whose encoder stays random (Korznikov et al. 2026, arXiv 2602.14111).

As `variants.topk`, but the encoder's weights lie along random directions, those of
`variants.random`, and are not trained; its biases and the decoder are. `sparsity` is k.
"""

from functools import partial

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_step import begin_on_device
from cladescope.dictionaries.training.plain_step import TopK


class FrozenEncoder(TopK):
    """TopK with an encoder that is not trained."""

    keeping = None
    data_share = 0

    def __init__(self, start: Dictionary, sparsity: float):
        super().__init__(start, sparsity)
        self.encoder.requires_grad_(False)


begin = partial(begin_on_device, FrozenEncoder)
train = partial(fit_trained, begin)
