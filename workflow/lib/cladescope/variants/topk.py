"""TopK sparse autoencoder (Gao et al. 2024, arXiv 2406.04093).

With x' the normalised activation and z = TopK_k(ReLU(W_enc (x' − b_dec) + b_enc)),

    L = ‖x' − x̂'‖² / d + α ‖e − ê‖² / ‖e − ē‖²,    e = x' − x̂' (detached),

where ê decodes, without b_dec, the k_aux largest pre-activations among the dead latents (AuxK,
their section A.2); its gradient reaches the encoder. E‖x'‖² = d, so the first term is the
normalised MSE.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cladescope.jobs import progress
from cladescope.variants.adam import Adam
from cladescope.variants.base import Fit, FitSpec, Recipe, initial_dictionary

ADAM_BETAS = (0.9, 0.999)
GRADIENT_NORM_LIMIT = 1.0
REFERENCE_WIDTH = 2**14
LOGGED_STEPS = 100


def fit(x: Float[np.ndarray, "images d"], spec: FitSpec) -> Fit:
    """Train on x; the seed fixes the initialisation and the order of the images.

    Raises
    ------
    FloatingPointError
        If the loss is not finite; names the step and the learning rate.
    """
    assert spec.recipe and spec.sparsity and spec.seed is not None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        # Not on a CPU: deterministic as it is, and the call would import the compiler.
        torch.use_deterministic_algorithms(True)
    start = initial_dictionary(x, spec)
    sae = TopK(start.encoder, start.encoder_bias, start.decoder, start.decoder_bias, spec.sparsity)
    sae.to(device)
    data = torch.from_numpy(start.normalise(x)).to(device)
    log = _train(sae, data, spec.recipe, spec.seed)
    weights: dict[str, Any] = {
        name: value.detach().cpu().numpy() for name, value in sae.named_parameters()
    }
    return Fit(replace(start, **weights), log)


class TopK(torch.nn.Module):
    """The autoencoder during training."""

    def __init__(
        self,
        encoder: Float[np.ndarray, "width d"],
        encoder_bias: Float[np.ndarray, " width"],
        decoder: Float[np.ndarray, "width d"],
        decoder_bias: Float[np.ndarray, " d"],
        k: int,
    ):
        super().__init__()
        self.k = k
        self.encoder = torch.nn.Parameter(torch.from_numpy(encoder.copy()))
        self.encoder_bias = torch.nn.Parameter(torch.from_numpy(encoder_bias.copy()))
        self.decoder = torch.nn.Parameter(torch.from_numpy(decoder.copy()))
        self.decoder_bias = torch.nn.Parameter(torch.from_numpy(decoder_bias.copy()))

    def pre_activations(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch width"]:
        """Return W_enc (x − b_dec) + b_enc."""
        return F.linear(x - self.decoder_bias, self.encoder, self.encoder_bias)

    def decode(
        self, values: Float[Tensor, "batch k"], latents: Int[Tensor, "batch k"]
    ) -> Float[Tensor, "batch d"]:
        """Return Σ_j values_j · decoder row of latents_j, without b_dec."""
        sparse = torch.zeros(len(values), len(self.decoder), device=values.device)
        return sparse.scatter(1, latents, values) @ self.decoder

    @torch.no_grad()
    def project_gradient(self) -> None:
        """Remove the gradient's part along each decoder row, which would change its norm."""
        assert self.decoder.grad is not None
        along = (self.decoder.grad * self.decoder).sum(1, keepdim=True)
        self.decoder.grad -= along * self.decoder

    @torch.no_grad()
    def normalise_decoder(self) -> None:
        """Return the decoder's rows to unit norm."""
        self.decoder.div_(self.decoder.norm(dim=1, keepdim=True))


def aux_loss(
    sae: TopK,
    residual: Float[Tensor, "batch d"],
    pre: Float[Tensor, "batch width"],
    dead: Tensor,
) -> Float[Tensor, ""]:
    """Return ‖e − ê‖² / ‖e − ē‖² for the dead latents' reconstruction ê of the residual e."""
    k_aux = min(2 ** int(math.log2(residual.shape[1] / 2)), int(dead.sum()))
    values, latents = pre.masked_fill(~dead, -torch.inf).topk(k_aux, sorted=False)
    error = residual - sae.decode(values.relu(), latents)
    return error.square().mean() / (residual - residual.mean(0)).square().mean()


def _train(
    sae: TopK, data: Float[Tensor, "images d"], recipe: Recipe, seed: int
) -> dict[str, list[float]]:
    steps = recipe.images // recipe.batch_size
    peak = recipe.learning_rate / math.sqrt(len(sae.decoder) / REFERENCE_WIDTH)
    optimizer = Adam(list(sae.parameters()), ADAM_BETAS)
    silent = torch.zeros(len(sae.decoder), dtype=torch.long, device=data.device)
    variance = (data - data.mean(0)).square().sum(1).mean()
    log: dict[str, list[float]] = {}
    interval = max(1, steps // LOGGED_STEPS)
    batches = _batches(len(data), recipe.batch_size, steps, seed)
    for step, rows in enumerate(progress(batches, steps, "training")):
        rate = peak * _schedule(step, steps, recipe)
        x = data[rows]
        pre = sae.pre_activations(x)
        values, latents = pre.topk(sae.k, sorted=False)
        values = values.relu()
        residual = x - sae.decode(values, latents) - sae.decoder_bias
        loss = residual.square().mean()
        dead = silent >= recipe.dead_share * recipe.images
        aux = torch.zeros((), device=data.device)
        if recipe.aux_coefficient and bool(dead.any()):
            aux = aux_loss(sae, residual.detach(), pre, dead)
        (loss + recipe.aux_coefficient * aux).backward()
        sae.project_gradient()
        norm = torch.nn.utils.clip_grad_norm_(sae.parameters(), GRADIENT_NORM_LIMIT)
        optimizer.step(rate)
        sae.normalise_decoder()
        silent += len(rows)
        silent[latents[values > 0]] = 0
        if step % interval == 0 or step == steps - 1:
            entry = {
                "step": step + 1,
                "images": (step + 1) * recipe.batch_size,
                "loss": loss.item(),
                "aux_loss": aux.item(),
                "fve": 1 - (residual.square().sum(1).mean() / variance).item(),
                "l0": (values > 0).sum(1).float().mean().item(),
                "dead_share": dead.float().mean().item(),
                "learning_rate": rate,
                "gradient_norm": norm.item(),
            }
            if not all(math.isfinite(value) for value in entry.values()):
                raise FloatingPointError(
                    f"training diverged at step {step + 1}: loss {entry['loss']}, learning rate "
                    f"{rate:g}; lower training.learning_rate"
                )
            for column, value in entry.items():
                log.setdefault(column, []).append(value)
    logging.info("%d steps: loss %.4g, FVE %.3f", steps, log["loss"][-1], log["fve"][-1])
    return log


def _batches(n: int, size: int, steps: int, seed: int) -> Iterator[Int[Tensor, " batch"]]:
    """Yield row numbers: one random permutation of the images after another, cut into batches."""
    # A stream of its own: the initialisation draws from default_rng(seed).
    rng = np.random.default_rng([seed, 1])
    queue = rng.permutation(n)
    for _ in range(steps):
        while len(queue) < size:
            queue = np.concatenate([queue, rng.permutation(n)])
        yield torch.from_numpy(queue[:size])
        queue = queue[size:]


def _schedule(step: int, steps: int, recipe: Recipe) -> float:
    """Return the learning rate's factor: linear warm-up, constant, linear decay to zero."""
    warmup = recipe.warmup_share * steps
    decay = recipe.decay_share * steps
    rise = (step + 1) / warmup if warmup else 1.0
    fall = (steps - step) / decay if decay else 1.0
    return min(1.0, rise, fall)
