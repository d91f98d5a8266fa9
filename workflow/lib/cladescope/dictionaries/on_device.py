"""A finished dictionary on a torch device: what `Dictionary` computes, in torch's float32."""

import numpy as np
import torch
from jaxtyping import Float

from cladescope.dictionaries.dictionary import TENSORS, Dictionary, mark_largest
from cladescope.machines import make_deterministic


class OnDevice:
    """Encodes and decodes as `Dictionary` does, up to rounding."""

    def __init__(self, dictionary: Dictionary, device: torch.device):
        make_deterministic()
        self.k = dictionary.k if dictionary.k and dictionary.k < dictionary.width else None
        self.device = device
        self._tensors = {
            name: torch.from_numpy(value).to(device)
            for name in TENSORS
            if (value := getattr(dictionary, name)) is not None
        }

    def reconstruct(
        self, x: Float[np.ndarray, "tokens d"]
    ) -> tuple[Float[np.ndarray, "tokens width"], Float[np.ndarray, "tokens d"]]:
        """Return the activations z of normalised activations x', and x̂'."""
        tensors = self._tensors
        bias = tensors["decoder_bias"]
        z = torch.from_numpy(x).to(self.device) - bias
        z = torch.addmm(tensors["encoder_bias"], z, tensors["encoder"].T)
        z = torch.where(z > tensors.get("threshold", 0), z, 0)
        if self.k:
            threshold = z.topk(self.k, sorted=False).values.amin(1, keepdim=True)
            z = torch.where(mark_largest(z, threshold, self.k), z, 0)
        return z.cpu().numpy(), torch.addmm(bias, z, tensors["decoder"]).cpu().numpy()
