"""A finished dictionary on a torch device: what `Dictionary` computes, in torch's float32."""

import numpy as np
import torch
from jaxtyping import Float

from cladescope.dictionaries.dictionary import TENSORS, Dictionary, mark_largest
from cladescope.dictionaries.paths import LEAST, Walk
from cladescope.machines import make_deterministic


class OnDevice:
    """Encodes and decodes as `Dictionary` does, up to rounding."""

    def __init__(self, dictionary: Dictionary, device: torch.device):
        make_deterministic()
        self.in_trees = dictionary.paths.nodes if dictionary.paths else 0
        others = dictionary.width - self.in_trees
        self.k = dictionary.k if dictionary.k and dictionary.k < others else None
        self.device = device
        self._tensors = {
            name: torch.from_numpy(value).to(device)
            for name in TENSORS
            if (value := getattr(dictionary, name)) is not None
        }
        if dictionary.paths:
            self._walk = Walk(dictionary.paths, lambda array: torch.from_numpy(array).to(device))

    def reconstruct(
        self, x: Float[np.ndarray, "tokens d"]
    ) -> tuple[Float[np.ndarray, "tokens width"], Float[np.ndarray, "tokens d"]]:
        """Return the activations z of normalised activations x', and x̂'."""
        tensors, n = self._tensors, self.in_trees
        encoder, bias = tensors["encoder"], tensors["encoder_bias"]
        raw = torch.from_numpy(x).to(self.device)
        rest = raw - tensors["decoder_bias"]
        parts = []
        if n:
            pre = torch.addmm(bias[:n], rest, encoder[:n].T)
            parts.append(torch.where(self._walk.on(raw), pre.clamp(min=LEAST), 0))
            rest = rest - parts[0] @ tensors["decoder"][:n]
        parts.append(self._kept(torch.addmm(bias[n:], rest, encoder[n:].T)))
        z = torch.cat(parts, 1)
        guess = torch.addmm(tensors["decoder_bias"], z, tensors["decoder"])
        return z.cpu().numpy(), guess.cpu().numpy()

    def _kept(self, z: Float[torch.Tensor, "tokens n"]) -> Float[torch.Tensor, "tokens n"]:
        """Return what is above its threshold and among the k largest, 0 elsewhere."""
        z = torch.where(z > self._tensors.get("threshold", 0), z, 0)
        if not self.k:
            return z
        threshold = z.topk(self.k, sorted=False).values.amin(1, keepdim=True)
        return torch.where(mark_largest(z, threshold, self.k), z, 0)
