"""BatchTopK sparse autoencoder (Bussmann, Leask & Nanda 2024, arXiv 2412.06410).

In training the k·B largest positive pre-activations of a batch of B rows are kept, so that a row
may use more or fewer latents than k:

    z = BatchTopK_{kB}(ReLU(W_enc (x' − b_dec) + b_enc)),    L as in `variants.topk`, with AuxK.

At inference a row stands alone: z_j = pre_j where pre_j > θ, θ being the mean over batches of the
smallest activation kept, measured with the final weights. (The paper averages it during training;
the weights that it then belongs to are gone.) `sparsity` is k.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cladescope.variants.autograd import Autoencoder, fit_autoencoder
from cladescope.variants.base import Fit, FitSpec, Job
from cladescope.variants.batches import Source


def fit(source: Source, spec: FitSpec, job: Job) -> Fit:
    """Train on a source; the seed fixes the initialisation and the order of the rows."""
    return fit_autoencoder(BatchTopK, source, spec, job)


class BatchTopK(Autoencoder):
    """Keeps the k·B largest positive pre-activations of a batch."""

    def activate(self, pre: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Return BatchTopK_{kB}(ReLU(pre))."""
        return pre * (pre >= self.smallest_kept(pre)) * (pre > 0)

    def smallest_kept(self, pre: Float[Tensor, "batch width"]) -> Float[Tensor, ""]:
        """Return the k·B-th largest pre-activation of the batch."""
        return pre.detach().flatten().topk(int(self.sparsity) * len(pre), sorted=False)[0].min()

    def inference(self, sample: Iterable[Float[Tensor, "batch d"]]) -> dict[str, Any]:
        """Return the threshold θ."""
        kept = [self.smallest_kept(self.pre_activations(x)) for x in sample]
        threshold = torch.stack(kept).mean().clamp(min=0).item()
        return {"threshold": np.array([threshold], np.float32)}
