"""TopK with decoder rows kept apart (OrtSAE; Korznikov et al. 2025, arXiv 2509.22033).

    L = ‖x' − x̂'‖² / d + γ / width Σ_i max_{j≠i} ⟨d_i, d_j⟩² + α AuxK,    γ = 0.25,

as `variants.topk` but for the second term, which grows during warm-up. The paper splits the latents
at random into parts of 8192 and takes the largest within a part, to save time; here it is that of
all, which is the same up to a width of 8192, and needs width² numbers in memory. The paper keeps
latents as `variants.batchtopk` does; here k a token, so that nothing else differs from `topk`.
`sparsity` is k.
"""

from functools import partial

from jaxtyping import Float
from torch import Tensor

from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_step import begin_on_device
from cladescope.dictionaries.training.plain_step import TopK

PENALTY = 0.25
"""γ, the paper's."""


class OrtSAE(TopK):
    """TopK with a price for decoder rows that are alike."""

    keeping = None

    def penalty(self, pre: Float[Tensor, "batch width"], z: Float[Tensor, "batch width"]) -> Tensor:
        """Return γ times the mean over the rows of the squared cosine with the nearest other."""
        cosine = self.decoder @ self.decoder.T
        return PENALTY * cosine.fill_diagonal_(0).square().amax(1).mean()


begin = partial(begin_on_device, OrtSAE)
train = partial(fit_trained, begin)
