"""A finished dictionary on a torch device: what `Dictionary` computes, in torch's float32."""

import numpy as np
import torch
from jaxtyping import Float

from cladescope.dictionaries.chosen import children_of, pursue
from cladescope.dictionaries.dictionary import TENSORS, Dictionary, mark_largest
from cladescope.dictionaries.paths import LEAST, Walk
from cladescope.machines import make_deterministic


class OnDevice:
    """Encodes and decodes as `Dictionary` does, up to rounding."""

    def __init__(self, dictionary: Dictionary, device: torch.device):
        make_deterministic()
        self.in_trees = dictionary.paths.nodes if dictionary.paths else 0
        self.pursuit, self.parents = dictionary.pursuit, dictionary.parents
        self.children = dictionary.children
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
        tensors = self._tensors
        z = self._codes(torch.from_numpy(x).to(self.device))
        guess = torch.addmm(tensors["decoder_bias"], z, tensors["decoder"])
        return z.cpu().numpy(), guess.cpu().numpy()

    def _codes(self, x: Float[torch.Tensor, "tokens d"]) -> Float[torch.Tensor, "tokens width"]:
        tensors, n = self._tensors, self.in_trees
        encoder, bias, decoder = (tensors[n] for n in ("encoder", "encoder_bias", "decoder"))
        rest, width = x - tensors["decoder_bias"], len(encoder)
        if self.pursuit:
            numbers = torch.arange(width, device=self.device)
            return pursue(rest, encoder, bias, decoder, self.k or width, numbers)
        if self.parents:
            pre = torch.addmm(bias, rest, encoder.T)
            z = self._kept(pre[:, : self.parents])
            numbers = torch.arange(self.children, device=self.device)
            return torch.cat([z, children_of(z, pre[:, self.parents :], numbers)], 1)
        if not n:
            return self._kept(torch.addmm(bias, rest, encoder.T))
        pre = torch.addmm(bias[:n], rest, encoder[:n].T)
        on_paths = torch.where(self._walk.on(x), pre.clamp(min=LEAST), 0)
        rest = rest - on_paths @ decoder[:n]
        others = self._kept(torch.addmm(bias[n:], rest, encoder[n:].T))
        return torch.cat([on_paths, others], 1)

    def _kept(self, z: Float[torch.Tensor, "tokens n"]) -> Float[torch.Tensor, "tokens n"]:
        """Return what is above its threshold and among the k largest, 0 elsewhere."""
        z = torch.where(z > self._tensors.get("threshold", 0), z, 0)
        if not self.k:
            return z
        threshold = z.topk(self.k, sorted=False).values.amin(1, keepdim=True)
        return torch.where(mark_largest(z, threshold, self.k), z, 0)
