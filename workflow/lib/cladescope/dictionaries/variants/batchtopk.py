"""BatchTopK sparse autoencoder (Bussmann, Leask & Nanda 2024, arXiv 2412.06410).

In training the k·B largest positive pre-activations of a batch of B rows are kept, so that a row
may use more or fewer latents than k:

    z = BatchTopK_{kB}(ReLU(W_enc (x' − b_dec) + b_enc)),    L as in `variants.topk`, with AuxK.

At inference a row stands alone: z_j = pre_j where pre_j > θ, with θ such that k latents a row fire
over many batches together, under the final weights. (The paper averages the smallest activation
kept during training: the weights that it belongs to are gone, and small batches bias the mean,
here to 2.85 latents for 3.) `sparsity` is k.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_step import begin_on_device
from cladescope.dictionaries.training.plain_step import Autoencoder, Keeping


class BatchTopK(Autoencoder):
    """Keeps the k·B largest positive pre-activations of a batch."""

    keeping = Keeping(of_batch=True, ends=lambda width: [width])

    def activate(self, pre: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Return BatchTopK_{kB}(ReLU(pre))."""
        smallest_kept = largest(pre.detach(), int(self.sparsity)).min()
        return pre * (pre >= smallest_kept) * (pre > 0)

    def inference(self, sample: Iterable[Float[Tensor, "batch d"]]) -> dict[str, Any]:
        """Return the threshold θ."""
        k, rows, candidates = int(self.sparsity), 0, []
        for x in sample:
            # More than twice its share of the sample's largest would be a peculiar batch.
            candidates.append(largest(self.pre_activations(x), 2 * k))
            rows += len(x)
        kept = torch.cat(candidates).topk(k * rows, sorted=False)[0]
        return {"threshold": np.array([kept.min().clamp(min=0).item()], np.float32)}


begin = partial(begin_on_device, BatchTopK)
train = partial(fit_trained, begin)


def largest(pre: Float[Tensor, "batch width"], k: int) -> Float[Tensor, " n"]:
    """Return the k·B largest of a batch of B rows, all of them where there are fewer."""
    return pre.flatten().topk(min(k * len(pre), pre.numel()), sorted=False)[0]
