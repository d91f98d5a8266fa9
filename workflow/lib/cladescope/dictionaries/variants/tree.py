"""Tree autoencoder: paths through trees of clusters, and sparse latents for what paths leave over.

Three eighths of the latents are nodes of trees (`training.trees`), from coarse to fine. With ℓ(x')
the leaf of a tree nearest to x' and p = W_enc (x' − b_dec) + b_enc,

    z_v = max(p_v, ε) if v is at or above ℓ(x') in its tree, else 0,
    r = x' − b_dec − Σ_v z_v d_v,
    z_j = TopK(ReLU(⟨w_j, r⟩ + b_j))    for the latents j in no tree,
    L = ½ ‖r‖² / d + ‖r − Σ_j z_j d_j‖² / d + α AuxK.

So a parent fires wherever its child does, and the others know of a token only what its paths leave
over. Nodes start as d_v = w_v = (μ_v − μ_u) / ‖·‖ with b_v = −⟨d_v, μ_u⟩, u the parent of v and μ
the mean of the rows under a node. Trees stay as they are; encoder, decoder and biases are trained.

`sparsity` is k, which the number of latents that fire on a token does not exceed on average: the
paths' mean length, and the others for what is left of k, but one at least. There is a tree for
every `LATENTS_PER_TREE` of k. Leaves are found by one product with the router, O(d · leaves), as
latents are by the encoder; a descent from the top would cost O(d · depth) and lose its way, since
what is merged last is not what is furthest apart along one direction.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.paths import LEAST, Walk
from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_step import begin_on_device
from cladescope.dictionaries.training.initial import Beginning, initial_dictionary, normalised
from cladescope.dictionaries.training.plain_step import Autoencoder, keep_largest
from cladescope.dictionaries.training.spec import FitSpec
from cladescope.dictionaries.training.trees import grow

LATENTS_PER_TREE = 8
NODE_SHARE = 3 / 8
"""Latents in trees, as a share of the width."""
LEAVES = 2
"""Leaves of a tree, in widths."""
TREE_LOSS = 0.5
"""Weight of what the paths alone leave over."""


class Tree(Autoencoder):
    """Paths, and TopK latents on what they leave over."""

    @classmethod
    def begin(cls, beginning: Beginning, spec: FitSpec) -> Dictionary:
        """Return the trees, with rows between means, and other latents towards data points."""
        assert spec.width and spec.sparsity and spec.seed is not None
        n_trees = max(1, round(spec.sparsity / LATENTS_PER_TREE))
        nodes = int(NODE_SHARE * spec.width / n_trees)
        forest = grow(normalised(beginning), n_trees, nodes, LEAVES * spec.width, spec.seed)
        parent, n = forest.paths.parent, forest.paths.nodes
        above = np.where(parent[:, None] >= 0, forest.means[parent], 0)
        rows = forest.means - above
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        others = initial_dictionary(beginning, spec)
        encoder, decoder, bias = (
            np.concatenate([of_nodes, of_others[n:]]).astype(np.float32)
            for of_nodes, of_others in (
                (rows, others.encoder),
                (rows, others.decoder),
                (-(rows * above).sum(1), others.encoder_bias),
            )
        )
        return Dictionary(
            encoder,
            bias,
            decoder,
            others.decoder_bias,
            others.mean,
            others.scale,
            k=min(max(1, int(spec.sparsity - forest.shares.sum())), spec.width - n),
            paths=forest.paths,
        )

    def __init__(self, start: Dictionary, sparsity: float):
        super().__init__(start, sparsity)
        assert start.paths and start.k
        self.nodes, self.k = start.paths.nodes, start.k
        self._paths, self._walk = start.paths, Walk(start.paths, torch.from_numpy)

    def to(self, *args: Any, **options: Any) -> "Tree":
        """Move it, and what it follows paths with."""
        super().to(*args, **options)
        device = self.decoder.device
        self._walk = Walk(self._paths, lambda array: torch.from_numpy(array).to(device))
        return self

    def pre_activations(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch width"]:
        """Return the nodes' activations, and the pre-activations of the others."""
        n, rest = self.nodes, x - self.decoder_bias
        pre = F.linear(rest, self.encoder[:n], self.encoder_bias[:n])
        on_paths = torch.where(self._walk.on(x), pre.clamp(min=LEAST), 0)
        rest = rest - on_paths @ self.decoder[:n]
        return torch.cat([on_paths, F.linear(rest, self.encoder[n:], self.encoder_bias[n:])], 1)

    def activate(self, pre: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Return the nodes' activations, and the k largest of the others'."""
        n = self.nodes
        return torch.cat([pre[:, :n], keep_largest(pre[:, n:], self.k)], 1)

    def loss(self, x: Float[Tensor, "batch d"], z: Float[Tensor, "batch width"]) -> Tensor:
        """Return the normalised squared error, and half that of the paths alone."""
        paths = z[:, : self.nodes] @ self.decoder[: self.nodes] + self.decoder_bias
        return super().loss(x, z) + TREE_LOSS * (x - paths).square().mean()

    @torch.no_grad()
    def lift(self, latents: Bool[Tensor, " width"], by: float | Tensor) -> None:
        """Raise the encoder bias of latents in no tree: a node is as rare as its rows are."""
        others = latents.clone()
        others[: self.nodes] = False
        super().lift(others, by)


begin = partial(begin_on_device, Tree)
train = partial(fit_trained, begin)
