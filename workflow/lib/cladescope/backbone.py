"""The vision model whose activations are studied; the only module that knows timm."""

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from timm.models import load_state_dict
from torch import Tensor, nn

import cladescope.planted.network  # noqa: F401  registers `vit_planted` with timm


@dataclass(frozen=True)
class BackboneSpec:
    """Which model, with which weights."""

    model: str
    """timm's name, with a pretrained tag if wanted."""
    weights: str
    """`pretrained`, `random` or the path of a local checkpoint."""
    blocks: int
    """Number of blocks that the model must have."""
    image_size: int | None = None
    """Input side in pixels; None takes the model's own."""
    seed: int | None = None
    """Seed of random weights."""


@dataclass(frozen=True)
class Backbone:
    """A model ready to be read block by block."""

    model: Any
    transform: Callable[[Image.Image], Tensor]
    width: int
    """Dimension of the residual stream."""
    weights_sha256: str
    preprocessing: dict[str, Any]
    """timm's data configuration, as recorded in the manifest."""

    @torch.inference_mode()
    def class_tokens(
        self, images: Float[Tensor, "batch 3 height width"], layers: Sequence[int]
    ) -> dict[int, Float[Tensor, "batch width"]]:
        """Return the class token after each of `layers` (1-based blocks) from one forward pass.

        The values are the residual stream after the block, before any final norm; the pass stops
        after the deepest layer.
        """
        captured = self.model.forward_intermediates(
            images,
            indices=[layer - 1 for layer in layers],
            return_prefix_tokens=True,
            norm=False,
            stop_early=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        ordered = sorted(layers)
        return {layer: prefix[:, 0] for layer, (_, prefix) in zip(ordered, captured, strict=True)}


def load_backbone(spec: BackboneSpec) -> Backbone:
    """Build the model and load its weights.

    Raises
    ------
    ValueError
        If timm does not know the model, the model has another number of blocks than declared or no
        class token, or the checkpoint does not fit it; the message lists what differs.
    FileNotFoundError
        If the checkpoint does not exist.
    """
    # Random weights are drawn here; the generator's state is not used elsewhere.
    torch.manual_seed(spec.seed or 0)
    size: dict[str, Any] = {} if spec.image_size is None else {"img_size": spec.image_size}
    if not timm.is_model(spec.model):
        near = timm.list_models(f"*{spec.model.split('_')[0]}*")[:8]
        raise ValueError(f"timm has no model {spec.model!r}; close names: {', '.join(near)}")
    model: Any = timm.create_model(
        spec.model, pretrained=spec.weights == "pretrained", num_classes=0, **size
    ).eval()
    _check_architecture(model, spec)
    if spec.weights not in ("pretrained", "random"):
        _load_checkpoint(model, spec)
    data_config = resolve_model_data_config(model)
    return Backbone(
        model=model.requires_grad_(False),
        transform=create_transform(**data_config, is_training=False),
        width=model.num_features,
        weights_sha256=_hash_weights(model),
        preprocessing={key: _plain(value) for key, value in sorted(data_config.items())},
    )


def _check_architecture(model: nn.Module, spec: BackboneSpec) -> None:
    blocks = getattr(model, "blocks", None)
    if blocks is None or getattr(model, "cls_token", None) is None:
        raise ValueError(
            f"{spec.model} has no class token after each block; choose a vision transformer of timm"
            " that has one"
        )
    if len(blocks) != spec.blocks:
        raise ValueError(
            f"{spec.model} has {len(blocks)} blocks, the configuration says {spec.blocks}; "
            f"set backbone.blocks to {len(blocks)}"
        )


def _load_checkpoint(model: Any, spec: BackboneSpec) -> None:
    """Load a local checkpoint, all of it but a classifier that the model does not need."""
    path = Path(spec.weights)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist; set backbone.weights")
    # weights_only: a pickle checkpoint must not run code.
    state = load_state_dict(str(path), use_ema=False, weights_only=True)
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is not None:
        state = convert(state, model)
    classifier = model.pretrained_cfg.get("classifier") or ()
    prefixes = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    state = {
        name: value
        for name, value in state.items()
        if not name.startswith(prefixes) or not prefixes
    }
    expected = model.state_dict()
    faults = [f"missing {name}" for name in expected if name not in state]
    faults += [f"unexpected {name}" for name in state if name not in expected]
    faults += [
        f"{name} has shape {tuple(state[name].shape)}, the model's is {tuple(value.shape)}"
        for name, value in expected.items()
        if name in state and state[name].shape != value.shape
    ]
    if faults:
        shown = "\n  ".join(faults[:10])
        raise ValueError(
            f"checkpoint {path} does not fit {spec.model} ({len(faults)} differences); set "
            f"backbone.model to the architecture it was made with:\n  {shown}"
        )
    model.load_state_dict(state)


def _hash_weights(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + b"\0" + str(value.dtype).encode() + b"\0")
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
