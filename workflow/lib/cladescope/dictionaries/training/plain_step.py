"""The plain training step: dense activations, torch's gradients, any variant, any device.

It states the mathematics. `training.processor_step` computes the same for TopK on a processor and,
on a GPU, `training.gpu_step` for variants that keep few latents, several times faster, and
`training.gpu_dense` for all others; they are tested against it. What a variant overrides must ask
nothing of the device (no `.item()`, no choice by a mask): a step is recorded there.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.initial import DATA_SHARE, Beginning, initial_dictionary
from cladescope.dictionaries.training.optimiser import Adam
from cladescope.dictionaries.training.schedule import ADAM_EPSILON, adam_betas, aux_latents
from cladescope.dictionaries.training.spec import FitSpec, Step
from cladescope.machines import torch_device


class Keeping(NamedTuple):
    """Which latents a variant keeps, and what they must reconstruct: the k largest."""

    of_batch: bool
    """Whether k · rows of a batch are kept, or else k of each row."""
    ends: Callable[[int], list[int]]
    """Given the width, the ends of the nested parts that each must reconstruct."""


class Autoencoder(torch.nn.Module):
    """Parameters of a sparse autoencoder; a variant says how latents fire and what they cost.

    A parameter that needs no gradient stays what it is at the start.
    """

    revives: ClassVar[bool] = True
    """Whether silent latents are lifted and trained on the residual (AuxK)."""
    keeping: ClassVar[Keeping | None] = None
    """Where few latents are kept, which; `training.gpu_step` then takes the step on a GPU.

    None for a variant that constrains its parameters, too, which that step does not: it gets the
    step of `training.gpu_dense`.
    """
    data_share: ClassVar[float] = DATA_SHARE
    """That of the decoder rows it starts from; with 0 they are random directions."""

    @classmethod
    def begin(cls, beginning: Beginning, spec: FitSpec) -> Dictionary:
        """Return what it is before the first step."""
        return initial_dictionary(beginning, spec, data_share=cls.data_share)

    def __init__(self, start: Dictionary, sparsity: float):
        super().__init__()
        self.sparsity = sparsity
        self.encoder = _parameter(start.encoder)
        self.encoder_bias = _parameter(start.encoder_bias)
        self.decoder = _parameter(start.decoder)
        self.decoder_bias = _parameter(start.decoder_bias)

    def encoder_rows(self) -> Float[Tensor, "width d"]:
        """Return W_enc; a variant may compute it from other parameters."""
        return self.encoder

    def decoder_rows(self) -> Float[Tensor, "width d"]:
        """Return W_dec; a variant may compute it from other parameters."""
        return self.decoder

    def pre_activations(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch width"]:
        """Return W_enc (x − b_dec) + b_enc."""
        return F.linear(x - self.decoder_bias, self.encoder_rows(), self.encoder_bias)

    def activate(self, pre: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Return the latents' activations during training."""
        raise NotImplementedError

    def loss(self, x: Float[Tensor, "batch d"], z: Float[Tensor, "batch width"]) -> Tensor:
        """Return the reconstruction's loss: the normalised squared error."""
        return (x - self.decode(z)).square().mean()

    def penalty(
        self, pre: Float[Tensor, "batch width"], z: Float[Tensor, "batch width"]
    ) -> Tensor | None:
        """Return what is added to the loss for firing, with its coefficient; None for nothing."""
        return None

    def inference(self, sample: Iterable[Float[Tensor, "batch d"]]) -> dict[str, Any]:
        """Return `k` or `threshold` of the finished dictionary, given batches of training data."""
        return {}

    @torch.no_grad()
    def lift(self, latents: Bool[Tensor, " width"], by: float | Tensor) -> None:
        """Raise the encoder bias of some latents, unless the variant lets latents die."""
        if self.revives:
            bias = self.encoder_bias
            bias.copy_(torch.where(latents, bias + by, bias))

    def decode(self, z: Float[Tensor, "batch width"]) -> Float[Tensor, "batch d"]:
        """Return the reconstruction x̂'."""
        return z @ self.decoder_rows() + self.decoder_bias

    @torch.no_grad()
    def project_gradient(self) -> None:
        """Remove the gradient's part along each decoder row, which would change its norm."""
        if self.decoder.grad is not None:
            along = (self.decoder.grad * self.decoder).sum(1, keepdim=True)
            self.decoder.grad -= along * self.decoder

    @torch.no_grad()
    def constrain(self) -> None:
        """Put the parameters back, after a step, to where they may be: on unit decoder rows."""
        self.decoder.div_(self.decoder.norm(dim=1, keepdim=True))


class TopK(Autoencoder):
    """Keeps the k largest positive pre-activations of each row."""

    keeping: ClassVar[Keeping | None] = Keeping(of_batch=False, ends=lambda width: [width])

    def activate(self, pre: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Return TopK_k(ReLU(pre))."""
        return keep_largest(pre, int(self.sparsity))

    def inference(self, sample: Iterable[Float[Tensor, "batch d"]]) -> dict[str, Any]:
        """Return k, which inference keeps as training did."""
        return {"k": int(self.sparsity)}


class Autograd:
    """Trains an `Autoencoder` with Adam on unit decoder rows."""

    def __init__(
        self,
        sae: Autoencoder,
        start: Dictionary,
        aux_coefficient: float,
        warmup_steps: float,
        betas: tuple[float, float],
    ):
        self.sae = sae
        self.start = start
        self.aux_coefficient = aux_coefficient if sae.revives else 0.0
        self.warmup_steps = warmup_steps
        self.device = sae.decoder_bias.device
        self.trained = {name: p for name, p in sae.named_parameters() if p.requires_grad}
        self.adam = Adam(list(self.trained.values()), betas, ADAM_EPSILON)

    @classmethod
    def begin(
        cls, kind: type[Autoencoder], beginning: Beginning, spec: FitSpec, steps: int
    ) -> "Autograd":
        """Return an autoencoder of one variant before its first step, on a GPU if there is one."""
        assert spec.recipe and spec.sparsity
        # The sum's order follows the number of threads, and a sweep runs one job per core.
        torch.set_num_threads(1)
        start = kind.begin(beginning, spec)
        sae = kind(start, spec.sparsity).to(torch_device())
        warmup = spec.recipe.warmup_share * steps
        return cls(sae, start, spec.recipe.aux_coefficient, warmup, adam_betas(steps))

    def step(
        self, x: Float[np.ndarray, "batch d"], rate: float, dead: Bool[np.ndarray, " width"]
    ) -> Step:
        """Take one step on normalised activations; the penalty grows during warm-up."""
        sae = self.sae
        target = torch.from_numpy(x).to(self.device)
        pre = sae.pre_activations(target)
        z = sae.activate(pre)
        loss = sae.loss(target, z)
        losses = {"loss": loss.item(), "aux_loss": 0.0}
        residual = (target - sae.decode(z)).detach()
        if self.aux_coefficient and dead.any():
            aux = aux_loss(sae, residual, pre, torch.from_numpy(dead).to(self.device))
            loss = loss + self.aux_coefficient * aux
            losses["aux_loss"] = aux.item()
        penalty = sae.penalty(pre, z)
        if penalty is not None:
            loss = loss + penalty * min(1.0, (self.adam.steps + 1) / max(self.warmup_steps, 1.0))
            losses["penalty_loss"] = penalty.item()
        loss.backward()
        sae.project_gradient()
        gradients = [p.grad for p in self.trained.values() if p.grad is not None]
        norm = float(torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt())
        self.adam.step(rate)
        sae.constrain()
        firing = (z > 0).sum(0).cpu().numpy()
        return Step(losses, float(residual.square().sum()), firing, norm)

    def lift(self, latents: Bool[np.ndarray, " width"], by: float) -> None:
        """Raise the encoder bias of some latents."""
        self.sae.lift(torch.from_numpy(latents).to(self.device), by)

    def state(self) -> dict[str, np.ndarray]:
        """Return everything that later steps depend on."""
        state = {"steps": np.array(self.adam.steps)}
        for prefix, tensors in self._tensors().items():
            for name, tensor in zip(self.trained, tensors, strict=True):
                state[prefix + name] = tensor.detach().cpu().numpy()
        return state

    @torch.no_grad()
    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        self.adam.steps = int(state["steps"])
        for prefix, tensors in self._tensors().items():
            for name, tensor in zip(self.trained, tensors, strict=True):
                tensor.copy_(torch.from_numpy(state[prefix + name]))

    def _tensors(self) -> dict[str, list[Tensor]]:
        return {"": self.adam.parameters, "mean.": self.adam.means, "square.": self.adam.squares}

    def finished(self, sample: Iterable[np.ndarray]) -> dict[str, Any]:
        """Return the trained fields of the `Dictionary`."""
        return finished_fields(self.sae, sample)


@torch.no_grad()
def finished_fields(sae: Autoencoder, sample: Iterable[np.ndarray]) -> dict[str, Any]:
    """Return the trained fields of an autoencoder's `Dictionary`, given batches of its data."""
    device = sae.decoder_bias.device
    tensors = (torch.from_numpy(x).to(device) for x in sample)
    weights = {
        "encoder": sae.encoder_rows(),
        "encoder_bias": sae.encoder_bias,
        "decoder": sae.decoder_rows(),
        "decoder_bias": sae.decoder_bias,
    }
    fields = {name: tensor.detach().cpu().numpy() for name, tensor in weights.items()}
    return {**fields, **sae.inference(tensors)}


def aux_loss(
    sae: Autoencoder,
    residual: Float[Tensor, "batch d"],
    pre: Float[Tensor, "batch width"],
    dead: Bool[Tensor, " width"],
) -> Float[Tensor, ""]:
    """Return ‖e − ê‖² / ‖e − ē‖² for the dead latents' reconstruction ê of the residual e."""
    k = min(aux_latents(residual.shape[1]), int(dead.sum()))
    chosen = keep_largest(pre[:, dead], k)
    error = residual - chosen @ sae.decoder_rows()[dead]
    return error.square().mean() / (residual - residual.mean(0)).square().mean()


def keep_largest(pre: Float[Tensor, "batch n"], k: int) -> Float[Tensor, "batch n"]:
    """Return ReLU(pre) where it is among its row's k largest, 0 elsewhere."""
    values, latents = pre.topk(k, sorted=False)
    return torch.zeros_like(pre).scatter(1, latents, values.relu())


def _parameter(values: np.ndarray) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.from_numpy(values.copy()))
