"""Control: a TopK autoencoder whose decoder stays random (Korznikov et al. 2026, arXiv 2602.14111).

As `variants.topk`, but the decoder rows are random directions, those of `variants.random`, and are
not trained. What it scores is owed to how its encoder and biases choose latents, not to directions
that were found. `sparsity` is k.
"""

from functools import partial

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_step import begin_on_device
from cladescope.dictionaries.training.plain_step import TopK


class FrozenDecoder(TopK):
    """TopK with a decoder that is not trained."""

    keeping = None
    data_share = 0

    def __init__(self, start: Dictionary, sparsity: float):
        super().__init__(start, sparsity)
        self.decoder.requires_grad_(False)

    def constrain(self) -> None:
        """Do nothing: the rows have unit norm, and another division would change their bits."""


begin = partial(begin_on_device, FrozenDecoder)
train = partial(fit_trained, begin)
