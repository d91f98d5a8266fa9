"""What a sparse step computes on a torch device, in torch's own words.

They state what the kernels of `training.gpu_kernels` compute, and stand in for them where there is
no Triton. A batch has `rows` rows of length d, a dictionary `width` latents. The n entries that a
step keeps are ordered by row and, within a row, by latent. Latents belong to `parts` nested parts
of the dictionary, each with an error of its own (one part but for Matryoshka dictionaries).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Entries(NamedTuple):
    """Which latents a step keeps on which rows."""

    row: Int[Tensor, " n"]
    latent: Int[Tensor, " n"]
    bounds: Int[Tensor, " rows_parts_1"]
    """Where the entries of each row and part begin: row r, part m at r · parts + m."""
    places: Int[Tensor, " n"]
    """The entries' numbers, ordered by latent and then by row."""
    starts: Int[Tensor, " width_1"]
    """Where each latent's places begin."""


class Weights(NamedTuple):
    """What a latent has: parameters, or one of Adam's moments of them."""

    encoder: Float[Tensor, "width d"]
    decoder: Float[Tensor, "width d"]
    encoder_bias: Float[Tensor, " width"]


class Extra(NamedTuple):
    """Further gradients of some latents."""

    position: Int[Tensor, " width"]
    """Where a latent stands in the others; -1 where it has none."""
    encoder: Float[Tensor, "some d"]
    decoder: Float[Tensor, "some d"]
    encoder_bias: Float[Tensor, " some"]


def select_rows(pre: Float[Tensor, "rows width"], k: int) -> Int[Tensor, " rows_k"]:
    """Return where the k largest of each row stand in the flattened matrix, in increasing order.

    Among equals the lower latent is kept.
    """
    best = pre.sort(dim=1, descending=True, stable=True).indices[:, :k].sort(dim=1).values
    first = torch.arange(len(pre), device=pre.device)[:, None] * pre.shape[1]
    return (first + best).flatten()


def select_batch(pre: Float[Tensor, "rows width"], n: int) -> Int[Tensor, " n"]:
    """Return where the n largest of all rows stand in the flattened matrix, in increasing order.

    Among equals the first is kept.
    """
    return pre.flatten().sort(descending=True, stable=True).indices[:n].sort().values


def decode(
    centred: Float[Tensor, "rows d"],
    weights: Weights,
    entries: Entries,
    scale: float,
    parts: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return each entry's value and its gradient, each part's error, and what pulls on decoders.

    Parameters
    ----------
    centred
        x' − b_dec.
    scale
        2 / (rows · d · parts), the derivative of the mean square.

    Returns
    -------
    Tensor (n,)
        Values ReLU(W_enc (x' − b_dec) + b_enc).
    Tensor (n,)
        The loss's gradient by the values, 0 where they are.
    Tensor (rows, parts)
        Squared errors ‖x̂'_m − x'‖² of what the first parts, up to each, reconstruct.
    Tensor (parts, rows, d)
        scale · Σ (x̂'_m − x') over the parts from each on: the gradient by what its latents decode.
    """
    latent, row = entries.latent.long(), entries.row.long()
    values = (weights.encoder[latent] * centred[row]).sum(1) + weights.encoder_bias[latent]
    values = values.relu()
    numbers = torch.arange(len(latent), device=latent.device)
    part = (torch.searchsorted(entries.bounds, numbers, right=True) - 1) % parts
    decoded = centred.new_zeros(parts, *centred.shape)
    decoded.index_put_((part, row), values[:, None] * weights.decoder[latent], accumulate=True)
    error = decoded.cumsum(0) - centred
    pull = scale * error.flip(0).cumsum(0).flip(0)
    slopes = (pull[part, row] * weights.decoder[latent]).sum(1) * (values > 0)
    return values, slopes, error.square().sum(2).T, pull


def take_adams_step(
    parameter: Tensor, mean: Tensor, square: Tensor, slope: Tensor, adam: Tensor
) -> None:
    """Update a parameter and its two moments in place; `adam` as in `update`."""
    mean.mul_(adam[1]).add_((1 - adam[1]) * slope)
    square.mul_(adam[2]).add_(slope.square().mul_(1 - adam[2]))
    length = (square * adam[3]).sqrt_().add_(adam[4])
    parameter.sub_((adam[0] * mean).div_(length))


def update(
    centred: Float[Tensor, "rows d"],
    pull: Float[Tensor, "parts rows d"],
    entries: Entries,
    values: Float[Tensor, " n"],
    slopes: Float[Tensor, " n"],
    extra: Extra,
    part_of: Int[Tensor, " width"],
    weights: Weights,
    means: Weights,
    squares: Weights,
    adam: Float[Tensor, "5"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum each latent's gradients and take Adam's step, on unit decoder rows, in place.

    Parameters
    ----------
    values, slopes, pull
        As `decode` returned them.
    part_of
        Part that a latent belongs to.
    adam
        Step size η / (1 − β₁ᵗ), β₁, β₂, 1 / (1 − β₂ᵗ), ε.

    Returns
    -------
    Tensor
        Parts of the gradients' squared norm; decoder gradients without their part along the row.
    Tensor (any, d)
        Parts of Σ_j (gradient of bias j) · (encoder row j).
    Tensor (width,)
        Rows on which each latent fired.
    """
    latent, row = entries.latent.long(), entries.row.long()
    up, down = torch.zeros_like(weights.encoder), torch.zeros_like(weights.decoder)
    bias = torch.zeros_like(weights.encoder_bias)
    up.index_add_(0, latent, slopes[:, None] * centred[row])
    down.index_add_(0, latent, values[:, None] * pull[part_of[latent].long(), row])
    bias.index_add_(0, latent, slopes)
    place, has = extra.position.clamp(min=0).long(), extra.position >= 0
    up += extra.encoder[place] * has[:, None]
    down += extra.decoder[place] * has[:, None]
    bias += extra.encoder_bias[place] * has
    through = bias @ weights.encoder
    down -= (down * weights.decoder).sum(1, keepdim=True) * weights.decoder
    gradients = Weights(up, down, bias)
    for parameter, mean, square, slope in zip(weights, means, squares, gradients, strict=True):
        take_adams_step(parameter, mean, square, slope, adam)
    weights.decoder.div_(weights.decoder.norm(dim=1, keepdim=True))
    squared = torch.stack([slope.square().sum() for slope in gradients])
    firing = torch.zeros_like(extra.position, dtype=torch.int64)
    firing.index_add_(0, latent, (values > 0).long())
    return squared, through[None], firing
