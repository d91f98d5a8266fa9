"""Relaxed archetypal TopK autoencoder (RA-SAE; Fel et al. 2025, arXiv 2502.12892).

Decoder rows are convex combinations of points of the data, up to a bounded rest:

    D = W C + Λ,    W ≥ 0, rows of W sum to 1,    ‖λ_j‖ ≤ δ,    d_j = D_j / ‖D_j‖,

with C the centres of k-means clusters of x', `CANDIDATES` for each latent. Decoder rows are of unit
norm, as those of all dictionaries here, so that only the directions of points matter: theirs, too,
are brought to it (the paper has points as they come, and one factor for all of D). W starts as the
first rows of the identity and Λ as 0; after each step W and Λ are put back to where they may be.
Everything else is as in `variants.topk`. `sparsity` is k.
"""

from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.clustering import clusters
from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_step import begin_on_device
from cladescope.dictionaries.training.initial import ENCODER_SCALE, Beginning, normalised
from cladescope.dictionaries.training.loop import Learner
from cladescope.dictionaries.training.plain_step import TopK
from cladescope.dictionaries.training.spec import FitSpec

CANDIDATES = 2
"""Points for each latent, as far as there are rows."""
RELAXATION = 0.1
"""δ, in units of a point's norm."""


def begin(beginning: Beginning, spec: FitSpec, steps: int, threads: int) -> Learner:
    """Return the autoencoder before the first of so many steps.

    Raises
    ------
    ValueError
        If there are fewer rows than latents.
    """
    candidates = points(beginning, spec)

    class OfTheseData(Archetypal):
        data = candidates

    return begin_on_device(OfTheseData, beginning, spec, steps)


train = partial(fit_trained, begin)


def points(beginning: Beginning, spec: FitSpec) -> Float[np.ndarray, "points d"]:
    """Return the points that rows are combined of, at length 1."""
    assert spec.width and spec.seed is not None
    rows = normalised(beginning)
    if len(rows) < spec.width:
        raise ValueError(
            f"archetypal: {spec.width} latents need as many images, there are {len(rows)}"
        )
    n = min(CANDIDATES * spec.width, len(rows))
    centres = clusters(rows, n, np.random.default_rng([spec.seed, 3]))
    return (centres / np.linalg.norm(centres, axis=1, keepdims=True)).astype(np.float32)


class Archetypal(TopK):
    """TopK whose decoder rows stay near the convex hull of points of the data."""

    keeping = None
    data: ClassVar[np.ndarray]
    points: Tensor
    """C, (points, d). A buffer: no part of a checkpoint, since it follows from the seed."""

    @classmethod
    def begin(cls, beginning: Beginning, spec: FitSpec) -> Dictionary:
        """Return the first points as rows."""
        start, rows = super().begin(beginning, spec), cls.data[: spec.width]
        return replace(start, encoder=np.float32(ENCODER_SCALE) * rows, decoder=rows)

    def __init__(self, start: Dictionary, sparsity: float):
        super().__init__(start, sparsity)
        del self.decoder
        self.register_buffer("points", torch.from_numpy(self.data))
        self.weights = torch.nn.Parameter(torch.eye(start.width, len(self.data)))
        self.rest = torch.nn.Parameter(torch.zeros(start.decoder.shape))

    def decoder_rows(self) -> Float[Tensor, "width d"]:
        """Return D, at unit norm."""
        return F.normalize(self.weights @ self.points + self.rest)

    @torch.no_grad()
    def project_gradient(self) -> None:
        """Do nothing: the norm is divided out."""

    @torch.no_grad()
    def constrain(self) -> None:
        """Make the weights convex again, and the rest short."""
        self.weights.relu_()
        self.weights.div_(self.weights.sum(1, keepdim=True).clamp(min=1e-12))
        self.rest.mul_((RELAXATION / self.rest.norm(dim=1, keepdim=True)).clamp(max=1))
