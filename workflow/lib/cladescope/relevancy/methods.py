"""Where in an image a latent's activation comes from: maps of patches, by four methods.

A latent's pre-activation on a token x is p = w · x + b. Its target y on an image is the sum
y = Σ_t v_t p_t over tokens, where the weights v say how the latent reads the image:

    `cls`                       v = 1 for the class token
    `mean`                      v = 1/n for each of the n patches
    `patches`, `registers`      v_t = max(p_t, 0) / Σ_s max(p_s, 0), held constant

A gated latent (ReLU, TopK, a threshold) has no gradient where it is off, hence the pre-activation.

Methods for transformers, where A is the attention of a block and only the blocks up to the layer
that the latent reads count:

`relevancy`
    Chefer, Gur & Wolf 2021 (arXiv 2103.15679), eqs. 5 and 6: R = I; R ← R + Ā R block by block,
    Ā = mean over heads of (∂y/∂A ⊙ A)⁺. The map is vᵀR; for `mean` vᵀ(R − I), since I adds 1/n to
    every patch whatever the latent and the image.
`attention`
    vᵀ (mean over heads of the layer's A).
`rollout`
    Abnar & Zuidema 2020 (arXiv 2005.00928): R ← ½ (I + mean over heads of A) R. The map is vᵀR.

and for every other model

`gradient_x_activation`
    Σ_channels (∂y/∂x ⊙ x)⁺ on the map that the latent reads, x.

Of the first method that fits a model there is also

`contrast`
    (m / Σ m − m̄ / Σ m̄)⁺, m the latent's map and m̄ that of the mean latent, whose encoder row and
    bias are the means over all latents: what the latent has beyond what any would have there.

A map holds the patches only: class token and registers are dropped.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cladescope.backbone.attention import Trace, trace_attention
from cladescope.backbone.backbone import Backbone, has_token_sequence
from cladescope.dictionaries.dictionary import Dictionary


@dataclass(frozen=True)
class Target:
    """Latents, one for each image, on raw tokens: p = weight · (x − centre) + bias."""

    weight: Float[Tensor, "images width"]
    centre: Float[Tensor, " width"]
    bias: Float[Tensor, " images"]

    @classmethod
    def of(
        cls, dictionary: Dictionary, latents: Int[np.ndarray, " images"], device: str = "cpu"
    ) -> "Target":
        """Fold the dictionary's normalisation into the encoder rows of some latents.

        Raises
        ------
        ValueError
            If the dictionary brings each token to one scale, so that p is not linear in tokens.
        """
        if dictionary.per_token:
            raise ValueError(
                "an imported dictionary brings each token to standard deviation 1, and maps are of "
                "latents that are linear in tokens; leave relevancy out, or the dictionary"
            )
        parts = (
            dictionary.encoder[latents] / dictionary.scale,
            dictionary.mean + dictionary.scale * dictionary.decoder_bias,
            dictionary.encoder_bias[latents],
        )
        return cls(*(torch.tensor(part, device=device) for part in parts))

    @classmethod
    def mean_of(cls, dictionary: Dictionary, device: str = "cpu") -> "Target":
        """Return the mean of all latents, once: it serves any number of images."""
        every = cls.of(dictionary, np.arange(dictionary.width), device)
        return cls(
            every.weight.mean(0, keepdim=True), every.centre, every.bias.mean(0, keepdim=True)
        )

    def pre_activation(
        self, tokens: Float[Tensor, "images tokens width"]
    ) -> Float[Tensor, "images tokens"]:
        """Return p of each token."""
        return ((tokens - self.centre) @ self.weight[:, :, None])[:, :, 0] + self.bias[:, None]


def methods_of(backbone: Backbone) -> tuple[str, ...]:
    """Return the methods that fit a model, the preferred one first."""
    if has_token_sequence(backbone):
        return ("relevancy", "attention", "rollout")
    return ("gradient_x_activation",)


def map_saliency(
    backbone: Backbone,
    images: Float[Tensor, "images 3 height width"],
    target: Target,
    layer: int,
    token: str,
    method: str,
) -> Float[Tensor, "images patches"]:
    """Return how much each patch contributes to each image's latent, row by row from the top left.

    Values are at least 0, in the units of the method. Images do not influence each other; an image
    may come several times, with different latents. The map of a patch latent that is positive at
    no patch is 0.

    Parameters
    ----------
    images
        Preprocessed, each with the latent of the same row of `target`.
    layer
        Layer that the latents read, from 1.
    token
        Kind of token that the latents read.

    Raises
    ------
    ValueError
        If the model lacks the token, or the method does not fit it; names the alternatives.
    """
    backbone.check_tokens([token])
    if method not in methods_of(backbone):
        raise ValueError(
            f"{backbone.name} has no maps by {method!r}; choose among "
            + ", ".join(methods_of(backbone))
        )
    n_patches = backbone.layers[layer - 1].tokens["patches"]
    if method == "gradient_x_activation":
        positions = backbone.read(images, [layer], ["patches"])[layer, "patches"]
        weights = _weights(backbone, layer, token, target.pre_activation(positions))
        # ∂y/∂x of position t is v_t w.
        return (weights * (positions @ target.weight[:, :, None])[:, :, 0]).clamp(min=0)
    with torch.set_grad_enabled(method == "relevancy"):
        trace = trace_attention(backbone, images, layer)
        pre_activation = target.pre_activation(trace.tokens)
        weights = _weights(backbone, layer, token, pre_activation.detach())
    if method == "relevancy":
        row = _relevancy(trace, pre_activation, weights)
        if token == "mean":
            row = row - weights
    elif method == "attention":
        row = _times(weights, trace.attention[-1].mean(1))
    else:
        row = _rollout(trace, weights)
    return row[:, -n_patches:]


def contrast(
    maps: Float[Tensor, "images patches"], mean: Float[Tensor, "images patches"]
) -> Float[Tensor, "images patches"]:
    """Return by how much each patch's share of a map exceeds that of the mean latent's map.

    A map of zeros, of which nothing is a share, counts as it is.
    """
    return (at_sum_1(maps) - at_sum_1(mean)).clamp(min=0)


def at_sum_1(maps: Float[Tensor, "images patches"]) -> Float[Tensor, "images patches"]:
    """Return the positive parts of maps over their sums; a map of zeros stays one."""
    maps = maps.clamp(min=0)
    total = maps.sum(1, keepdim=True)
    return maps / total.masked_fill(total == 0, 1)


def _relevancy(
    trace: Trace, pre_activation: Float[Tensor, "images tokens"], weights: Tensor
) -> Float[Tensor, "images tokens"]:
    """Multiply the row v from the left, deepest block first: R itself is never needed."""
    total = (weights * pre_activation).sum()
    gradients = torch.autograd.grad(total, trace.attention)
    row = weights
    for attention, gradient in zip(reversed(trace.attention), reversed(gradients), strict=True):
        positive = (gradient * attention.detach()).clamp(min=0).mean(1)
        row = row + _times(row, positive)
    return row


def _rollout(trace: Trace, row: Tensor) -> Float[Tensor, "images tokens"]:
    for attention in reversed(trace.attention):
        row = (row + _times(row, attention.mean(1))) / 2
    return row


def _times(row: Tensor, matrix: Tensor) -> Float[Tensor, "images tokens"]:
    return (row[:, None] @ matrix)[:, 0]


def _weights(
    backbone: Backbone, layer: int, token: str, pre_activation: Float[Tensor, "images tokens"]
) -> Float[Tensor, "images tokens"]:
    """Return v over all tokens of the layer; 0 for tokens of other kinds."""
    counts = backbone.layers[layer - 1].tokens
    n_prefix = pre_activation.shape[1] - counts["patches"]
    positions = {
        "cls": slice(0, 1),
        "registers": slice(n_prefix - counts.get("registers", 0), n_prefix),
        "mean": slice(n_prefix, None),
        "patches": slice(n_prefix, None),
    }
    weights = torch.zeros_like(pre_activation)
    read = pre_activation[:, positions[token]]
    if token in ("cls", "mean"):
        weights[:, positions[token]] = 1 / read.shape[1]
    else:
        positive = read.clamp(min=0)
        total = positive.sum(1, keepdim=True)
        weights[:, positions[token]] = positive / total.masked_fill(total == 0, 1)
    return weights
