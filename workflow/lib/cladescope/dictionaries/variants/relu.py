"""ReLU sparse autoencoder with an L1 penalty (Bricken et al. 2023; Conerly et al. 2024).

With z = ReLU(W_enc (x' − b_dec) + b_enc),

    L = ‖x' − x̂'‖² / d + λ Σ_j z_j ‖d_j‖ / d,

the penalty of "Update on how we train SAEs" (Transformer Circuits, April 2024). It does not change
when a latent shrinks and its decoder row d_j grows; here the rows have norm 1, which fixes that
freedom. Divided by d as the error is, so that λ means the same for every backbone. λ rises during
warm-up. `sparsity` is λ.
"""

from functools import partial

from jaxtyping import Float
from torch import Tensor

from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_step import begin_on_device
from cladescope.dictionaries.training.plain_step import Autoencoder


class Relu(Autoencoder):
    """Every positive pre-activation fires and costs its size."""

    revives = False

    def activate(self, pre: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Return ReLU(pre)."""
        return pre.relu()

    def penalty(self, pre: Float[Tensor, "batch width"], z: Float[Tensor, "batch width"]) -> Tensor:
        """Return λ Σ_j z_j ‖d_j‖ / d, averaged over rows."""
        d = self.decoder.shape[1]
        return self.sparsity * (z * self.decoder.norm(dim=1)).sum(1).mean() / d


begin = partial(begin_on_device, Relu)
train = partial(fit_trained, begin)
