"""TopK as torch writes it: the reference that `training.processor` is tested against."""

from collections.abc import Iterable
from typing import Any

from jaxtyping import Float
from torch import Tensor

from cladescope.dictionaries.training.reference import Autoencoder, keep_largest


class TopK(Autoencoder):
    """Keeps the k largest positive pre-activations of each row."""

    def activate(self, pre: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Return TopK_k(ReLU(pre))."""
        return keep_largest(pre, int(self.sparsity))

    def inference(self, sample: Iterable[Float[Tensor, "batch d"]]) -> dict[str, Any]:
        """Return k, which inference keeps as training did."""
        return {"k": int(self.sparsity)}
