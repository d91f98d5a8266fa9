"""Hierarchical sparse autoencoder (H-SAE; Muchane et al. 2025, arXiv 2506.01197).

A TopK autoencoder of m parents, each with a small one of c children in a subspace of its own. With
p = W (x' − b_dec) + b the parents' pre-activations, z = TopK_{k/2}(ReLU(p)), and V_j and U_j maps
into the subspace of parent j and out of it, of `SUBSPACE` dimensions,

    q_j = E_j V_j (x' − b_dec) + b_j,
    y_ji = ReLU(q_ji) [z_j > 0] if i is the largest of q_j, else 0,
    L = ‖x' − x̂'‖² / d + ‖x' − b_dec − Σ_j z_j d_j‖² / 10 d + α AuxK,
    x̂' = b_dec + Σ_j z_j d_j + Σ_ji y_ji f_ji,

where f_ji, row i of F_j U_j at unit norm, is a child's decoder row. So a child fires only where
its parent does, at most one of each. Parents read x' and not what is left; so do children. Without
the paper's penalties on L1 and on the products of encoder and decoder rows: TopK bounds what fires.
`sparsity` is k, the most latents that fire on a token, parents and children.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cladescope.dictionaries.chosen import children_of
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_step import begin_on_device
from cladescope.dictionaries.training.initial import Beginning
from cladescope.dictionaries.training.plain_step import Autoencoder, keep_largest
from cladescope.dictionaries.training.spec import FitSpec

CHILDREN = 7
"""c: of a width of 256, 32 latents are parents. The paper has 16 of thousands of parents."""
SUBSPACE = 4
"""Dimensions of a parent's subspace, as in the paper's code."""
PARENT_LOSS = 0.1
"""Weight of what the parents alone leave over, as in the paper's code."""


class HSAE(Autoencoder):
    """Parents, and children that fire below them."""

    numbers: Tensor
    """0, 1, and so on, where the parameters are."""

    @classmethod
    def begin(cls, beginning: Beginning, spec: FitSpec) -> Dictionary:
        """Return parents and children whose rows point towards data points.

        Raises
        ------
        ValueError
            If the width is no multiple of a parent with its children, or has too few parents for
            k.
        """
        assert spec.width and spec.sparsity
        parents, left = divmod(spec.width, CHILDREN + 1)
        k = max(1, int(spec.sparsity) // 2)
        if left or k > parents:
            raise ValueError(
                f"hsae: the width {spec.width} must be a multiple of {CHILDREN + 1}, and the "
                f"sparsity {spec.sparsity:g} at most a quarter of it; change the sweep"
            )
        return replace(super().begin(beginning, spec), k=k, parents=parents)

    def __init__(self, start: Dictionary, sparsity: float):
        super().__init__(start, sparsity)
        assert start.parents and start.k
        self.k, self.parents = start.k, start.parents
        self.encoder = torch.nn.Parameter(self.encoder.data[: self.parents])
        self.decoder = torch.nn.Parameter(self.decoder.data[: self.parents])
        rows, scaled = (
            matrix[self.parents :].reshape(self.parents, CHILDREN, -1)
            for matrix in (start.decoder, start.encoder)
        )
        # The subspace that comes nearest to the children's first rows.
        basis = np.linalg.svd(rows, full_matrices=False)[2][:, :SUBSPACE]
        into = basis.transpose(0, 2, 1)
        self.down, self.up, self.child_encoder, self.child_decoder = (
            torch.nn.Parameter(torch.from_numpy(np.ascontiguousarray(array)))
            for array in (basis, basis.copy(), scaled @ into, rows @ into)
        )
        self.register_buffer("numbers", torch.arange(CHILDREN))

    def encoder_rows(self) -> Float[Tensor, "width d"]:
        """Return those of the parents, then E V of each."""
        return torch.cat([self.encoder, (self.child_encoder @ self.down).flatten(0, 1)])

    def decoder_rows(self) -> Float[Tensor, "width d"]:
        """Return those of the parents, then F U of each at unit norm."""
        rows = (self.child_decoder @ self.up).flatten(0, 1)
        return torch.cat([self.decoder, F.normalize(rows)])

    def activate(self, pre: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Return the k / 2 largest of the parents, and the largest child of each that fires."""
        z = keep_largest(pre[:, : self.parents], self.k)
        return torch.cat([z, children_of(z, pre[:, self.parents :], self.numbers)], 1)

    def loss(self, x: Float[Tensor, "batch d"], z: Float[Tensor, "batch width"]) -> Tensor:
        """Return the normalised squared error, and a tenth of that of the parents alone."""
        parents = z[:, : self.parents] @ self.decoder + self.decoder_bias
        return super().loss(x, z) + PARENT_LOSS * (x - parents).square().mean()


begin = partial(begin_on_device, HSAE)
train = partial(fit_trained, begin)
