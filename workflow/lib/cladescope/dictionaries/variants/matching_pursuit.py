"""Matching pursuit sparse autoencoder (Costa et al. 2025, arXiv 2506.03093).

Latents are chosen one after another, each for what those before it leave over. With r = x' − b_dec
and z = 0, k times

    j = argmax ⟨d_j, r⟩,    v = max(⟨d_j, r⟩, 0),    z_j ← z_j + v,    r ← r − v d_j,

and L = ‖r‖² / d: as the reconstruction is, the encoder is the decoder D, unrolled. There is no
encoder bias, no lift and no AuxK. A latent may be chosen twice, so that at most k fire.
`sparsity` is k.
"""

from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from cladescope.dictionaries.chosen import pursue
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_step import begin_on_device
from cladescope.dictionaries.training.initial import Beginning
from cladescope.dictionaries.training.plain_step import Autoencoder
from cladescope.dictionaries.training.spec import FitSpec


class MatchingPursuit(Autoencoder):
    """Decoder rows that are subtracted, the best first."""

    revives = False
    latents: Tensor
    """0, 1, and so on, where the parameters are."""

    @classmethod
    def begin(cls, beginning: Beginning, spec: FitSpec) -> Dictionary:
        """Return rows towards data points, which encode as well."""
        assert spec.sparsity
        start = super().begin(beginning, spec)
        return replace(start, encoder=start.decoder, k=int(spec.sparsity), pursuit=True)

    def __init__(self, start: Dictionary, sparsity: float):
        super().__init__(start, sparsity)
        del self.encoder
        self.encoder_bias.requires_grad_(False)
        self.register_buffer("latents", torch.arange(start.width))

    def encoder_rows(self) -> Float[Tensor, "width d"]:
        """Return the decoder."""
        return self.decoder

    def pre_activations(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch width"]:
        """Return the activations themselves: what a choice reads depends on those before."""
        rows, k = self.decoder, int(self.sparsity)
        return pursue(x - self.decoder_bias, rows, self.encoder_bias, rows, k, self.latents)

    def activate(self, pre: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Return what `pre_activations` returned."""
        return pre


begin = partial(begin_on_device, MatchingPursuit)
train = partial(fit_trained, begin)
