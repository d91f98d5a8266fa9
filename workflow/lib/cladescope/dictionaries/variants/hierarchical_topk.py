"""TopK autoencoder for every k up to a largest one (Balagansky et al. 2025, arXiv 2505.24473).

With x̂'_j the reconstruction from the j latents of a token that fire most, j = 1, …, K,

    L = 1/K Σ_j ‖x' − x̂'_j‖² / d + α AuxK,

so that inference may keep as few latents as it likes. Everything else is as in `variants.topk`.
`sparsity` is the k of inference; the option `k_max` is K, by default the same. Dictionaries of one
width, seed and K differ in k alone.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_step import begin_on_device
from cladescope.dictionaries.training.initial import Beginning
from cladescope.dictionaries.training.loop import Learner
from cladescope.dictionaries.training.plain_step import TopK
from cladescope.dictionaries.training.spec import FitSpec


def begin(beginning: Beginning, spec: FitSpec, steps: int, threads: int) -> Learner:
    """Return the autoencoder before the first of so many steps."""
    assert spec.sparsity
    kept = int(spec.sparsity)

    class UpTo(HierarchicalTopK):
        k = kept

    largest = spec.options.get("k_max", spec.sparsity)
    return begin_on_device(UpTo, beginning, replace(spec, sparsity=largest), steps)


train = partial(fit_trained, begin)


class HierarchicalTopK(TopK):
    """TopK with a loss for every number of latents that is kept, up to `sparsity`."""

    keeping = None
    k: ClassVar[int]
    """Of inference."""

    def loss(self, x: Float[Tensor, "batch d"], z: Float[Tensor, "batch width"]) -> Tensor:
        """Return the mean, over the numbers of latents, of the normalised squared error."""
        values, latents = z.topk(int(self.sparsity))
        parts = values[:, :, None] * self.decoder[latents]
        errors = (x - self.decoder_bias)[:, None] - parts.cumsum(1)
        return errors.square().mean()

    def inference(self, sample: Iterable[Float[Tensor, "batch d"]]) -> dict[str, Any]:
        """Return the k of inference."""
        return {"k": self.k}
