"""The vision model whose activations are studied.

Only this room knows timm, apart from the planted world's network, which registers itself there.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import timm
import torch
from jaxtyping import Float
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from torch import Tensor

import cladescope.planted.network  # noqa: F401  registers `vit_planted` with timm
from cladescope.backbone.weights import hash_weights, load_checkpoint

MODEL_WEIGHTS = ("pretrained", "random")
TOKENS = ("cls", "mean", "patches", "registers")


@dataclass(frozen=True)
class BackboneSpec:
    """Which model, with which weights."""

    model: str
    """timm's name, with a pretrained tag if wanted."""
    weights: str
    """`pretrained`, `random` or the path of a local checkpoint."""
    blocks: int
    """Number of layers that the model must have."""
    image_size: int | None = None
    """Input side in pixels; None takes the model's own."""
    seed: int | None = None
    """Seed of random weights."""


@dataclass(frozen=True)
class Layer:
    """Where a model is read: the residual stream after a block, the map after a stage."""

    number: int
    """Counted from 1."""
    name: str
    """Name of the module that outputs it."""
    width: int
    """Channels."""
    tokens: dict[str, int]
    """Number of tokens of each kind per image, at the model's input size."""


@dataclass(frozen=True)
class Backbone:
    """A model ready to be read layer by layer."""

    name: str
    """timm's."""
    model: Any
    transform: Callable[[Image.Image], Tensor]
    layers: list[Layer]
    weights_sha256: str
    preprocessing: dict[str, Any]
    """timm's data configuration, as recorded in the manifest."""

    def check_tokens(self, kinds: Sequence[str]) -> None:
        """Raise a ValueError that names the alternatives if the model lacks a token kind."""
        available = self.layers[0].tokens
        lacking = [kind for kind in kinds if kind not in available]
        if lacking:
            raise ValueError(
                f"{self.name} has no {' and no '.join(lacking)} token after each layer; "
                f"choose among {', '.join(available)}"
            )

    @torch.inference_mode()
    def read(
        self,
        images: Float[Tensor, "batch 3 height width"],
        layers: Sequence[int],
        kinds: Sequence[str],
    ) -> dict[tuple[int, str], Float[Tensor, "batch tokens width"]]:
        """Return tokens of some kinds after each of `layers` (from 1) from one forward pass.

        The values are the residual stream after the block (the map after the stage), before any
        final norm; the pass stops after the deepest layer. Kinds: `cls`, `registers`, `patches`
        (row by row from the top left) and their `mean`, as far as the model has them.
        """
        return _read(self.model, images, layers, kinds)


def list_layers(model: str, image_size: int | None = None) -> list[Layer]:
    """Return a timm model's layers without making its weights.

    Raises
    ------
    ValueError
        If timm does not know the model or cannot read it layer by layer.
    """
    with torch.device("meta"):
        return _list_layers(_create(model, False, image_size), image_size)


def check_blocks(model: str, layers: Sequence[Layer], declared: int) -> None:
    """Raise a ValueError that names the right number if a model has another number of layers."""
    if len(layers) != declared:
        raise ValueError(
            f"{model} has {len(layers)} layers, the configuration says {declared}; "
            f"set backbone.blocks to {len(layers)}"
        )


@dataclass(frozen=True)
class ForwardCost:
    """Cost of one image's forward pass."""

    flops: int
    """Multiplications and additions up to the deepest layer."""
    parameters: int


def forward_cost(model: str, image_size: int | None, deepest: int) -> ForwardCost:
    """Count a forward pass up to a layer on the meta device, without making weights."""
    # Imported here: only planning counts.
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        built = _create(model, False, image_size)
        images = torch.zeros(1, *_data_config(built, image_size)["input_size"])
        with FlopCounterMode(display=False) as counter:
            _read(built, images, [deepest], ["patches"])
    return ForwardCost(counter.get_total_flops(), sum(p.numel() for p in built.parameters()))


def load_backbone(spec: BackboneSpec) -> Backbone:
    """Build the model and load its weights.

    Raises
    ------
    ValueError
        If timm does not know the model or cannot read it layer by layer, the model has another
        number of layers than declared, or the checkpoint does not fit; lists what differs.
    FileNotFoundError
        If the checkpoint does not exist.
    """
    layers = list_layers(spec.model, spec.image_size)
    check_blocks(spec.model, layers, spec.blocks)
    # Random weights are drawn here; the generator's state is not used elsewhere.
    torch.manual_seed(spec.seed or 0)
    model = _create(spec.model, spec.weights == "pretrained", spec.image_size)
    if spec.weights not in MODEL_WEIGHTS:
        load_checkpoint(model, spec.model, spec.weights)
    if not _has_tokens(model):
        model = model.to(memory_format=torch.channels_last)
    data_config = _data_config(model, spec.image_size)
    described = {key: _plain(value) for key, value in sorted(data_config.items())}
    transform = create_transform(**data_config, is_training=False)
    return Backbone(
        name=spec.model,
        model=model.requires_grad_(False),
        transform=transform,
        layers=layers,
        weights_sha256=hash_weights(model),
        preprocessing={**described, "transform": [str(step) for step in transform.transforms]},
    )


def has_token_sequence(backbone: Backbone) -> bool:
    """Return whether a model keeps one sequence of tokens, as a vision transformer does."""
    return _has_tokens(backbone.model)


def _create(name: str, pretrained: bool, image_size: int | None) -> Any:
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_')[0]}*")[:8]
        raise ValueError(f"timm has no model {name!r}; close names: {', '.join(near)}")
    size: dict[str, Any] = {} if image_size is None else {"img_size": image_size}
    if size:
        try:
            with torch.device("meta"):
                timm.create_model(name, num_classes=0, **size)
        except TypeError:
            # Convolutional models take images of any size and have no such argument.
            size = {}
    return timm.create_model(name, pretrained=pretrained, num_classes=0, **size).eval()


def _data_config(model: Any, image_size: int | None) -> dict[str, Any]:
    args = {} if image_size is None else {"img_size": image_size}
    return resolve_model_data_config(model, args)


def _list_layers(model: Any, image_size: int | None) -> list[Layer]:
    """Run an empty image through a model on the meta device, which computes only shapes."""
    if not hasattr(model, "forward_intermediates") or not hasattr(model, "feature_info"):
        raise ValueError(
            f"timm cannot read {type(model).__name__} layer by layer (no forward_intermediates); "
            "choose another model"
        )
    names = [info["module"] for info in model.feature_info]
    numbers = range(1, len(names) + 1)
    images = torch.zeros(1, *_data_config(model, image_size)["input_size"])
    read = _read(model, images, numbers, TOKENS)
    return [
        Layer(
            number=number,
            name=names[number - 1],
            width=read[number, "patches"].shape[2],
            tokens={kind: read[number, kind].shape[1] for kind in TOKENS if (number, kind) in read},
        )
        for number in numbers
    ]


def _read(
    model: Any, images: Tensor, layers: Sequence[int], kinds: Sequence[str]
) -> dict[tuple[int, str], Tensor]:
    """Run timm's forward_intermediates, which stops after the deepest layer."""
    options: dict[str, Any] = {"norm": False, "stop_early": True, "intermediates_only": True}
    if not _has_tokens(model):
        indices = [layer - 1 for layer in sorted(layers)]
        maps = model.forward_intermediates(images, indices, output_fmt="NCHW", **options)
        positions = [found.flatten(2).transpose(1, 2) for found in maps]
        found = dict(zip(sorted(layers), positions, strict=True))
        return {
            (layer, kind): tokens
            for layer, patches in found.items()
            for kind, tokens in _choose_tokens(model, patches, 0, kinds).items()
        }
    # timm would hold every token of every layer until the end, where a class token per layer may be
    # all that is wanted. Hooks keep only what is.
    read: dict[tuple[int, str], Tensor] = {}

    def keep(layer: int) -> Callable[..., None]:
        def hook(module: Any, arguments: Any, output: Tensor) -> None:
            chosen = _choose_tokens(model, output, model.num_prefix_tokens, kinds)
            read.update({(layer, kind): tokens.clone() for kind, tokens in chosen.items()})

        return hook

    with ExitStack() as hooks:
        for layer in layers:
            module = model.get_submodule(model.feature_info[layer - 1]["module"])
            hooks.enter_context(_hooked(module, keep(layer)))
        model.forward_intermediates(images, [max(layers) - 1], output_fmt="NLC", **options)
    return read


@contextmanager
def _hooked(module: Any, hook: Callable[..., None]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _has_tokens(model: Any) -> bool:
    """Return whether timm gives a model's class token and registers besides its patches."""
    return "return_prefix_tokens" in inspect.signature(model.forward_intermediates).parameters


def _choose_tokens(
    model: Any, tokens: Float[Tensor, "batch tokens width"], n_prefix: int, kinds: Sequence[str]
) -> dict[str, Float[Tensor, "batch tokens width"]]:
    """Return the tokens after a layer by kind; the first `n_prefix` are not patches."""
    patches = tokens[:, n_prefix:]
    found = {"patches": patches}
    if "mean" in kinds:
        found["mean"] = patches.mean(1, keepdim=True)
    # The order of timm's prefix: class token, distillation token if any, registers.
    if n_prefix and getattr(model, "cls_token", None) is not None:
        found["cls"] = tokens[:, :1]
    registers = getattr(model, "reg_token", None)
    if n_prefix and registers is not None:
        found["registers"] = tokens[:, n_prefix - registers.shape[1] : n_prefix]
    return {kind: found[kind] for kind in kinds if kind in found}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
