"""Where a timm model can be read, and reading it there: layers, the tokens after them, modules."""

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import timm
import torch
from jaxtyping import Float
from timm.data import resolve_model_data_config
from torch import Tensor

import cladescope.planted.network  # noqa: F401  registers `vit_planted` with timm

TOKENS = ("cls", "mean", "patches", "registers")


@dataclass(frozen=True)
class Layer:
    """Where a model is read: the residual stream after a block, the map after a stage or module."""

    number: int
    """Counted from 1."""
    name: str
    """Name of the module that outputs it."""
    width: int
    """Channels."""
    tokens: dict[str, int]
    """Number of tokens of each kind per image, at the model's input size."""


@dataclass(frozen=True)
class ForwardCost:
    """Cost of one image's forward pass."""

    flops: int
    """Multiplications and additions up to the deepest layer."""
    parameters: int
    transformer: bool
    """Whether the model keeps one sequence of tokens."""


def list_layers(
    model: str, image_size: int | None = None, modules: Sequence[str] | None = None
) -> list[Layer]:
    """Return a timm model's layers without making its weights.

    Parameters
    ----------
    modules
        Modules that count as its layers; by default timm's blocks or stages.

    Raises
    ------
    ValueError
        If timm does not know the model or cannot read it layer by layer; or lists the modules that
        cannot be read.
    """
    with torch.device("meta"):
        built = create_model(model, False, image_size)
        if modules is not None:
            _check_modules(built, image_size, modules)
        return _describe(built, image_size, modules_of(built, modules))


def list_modules(model: str, image_size: int | None = None) -> list[Layer]:
    """Return all modules of a convolutional model that can count as layers, in the order they run.

    Those are the modules that run once for an image and output a map.

    Raises
    ------
    ValueError
        If timm does not know the model or cannot read it, or its layers are a transformer's blocks.
    """
    with torch.device("meta"):
        built = create_model(model, False, image_size)
        outputs = _run_modules(built, image_size)
        names = [
            name
            for name, found in outputs.items()
            if len(found) == 1
            and _is_map(found[0])
            # These output what the module before them does.
            and not isinstance(built.get_submodule(name), torch.nn.Identity)
        ]
        return _describe(built, image_size, names)


def check_blocks(model: str, layers: Sequence[Layer], declared: int) -> None:
    """Raise a ValueError that names the right number if a model has another number of layers."""
    if len(layers) != declared:
        raise ValueError(
            f"{model} has {len(layers)} layers, the configuration says {declared}; "
            f"set backbone.blocks to {len(layers)}"
        )


def check_tokens(model: str, layers: Sequence[Layer], kinds: Sequence[str]) -> None:
    """Raise a ValueError that names the alternatives if a model lacks a token kind."""
    available = layers[0].tokens
    lacking = [kind for kind in kinds if kind not in available]
    if lacking:
        raise ValueError(
            f"{model} has no {' and no '.join(lacking)} token after each layer; "
            f"choose among {', '.join(available)} (tokens that are left out are [cls])"
        )


def forward_cost(
    model: str, image_size: int | None, deepest: int, modules: Sequence[str] | None = None
) -> ForwardCost:
    """Count a forward pass up to a layer on the meta device, without making weights."""
    # Imported here: only planning counts.
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        built = create_model(model, False, image_size)
        images = torch.zeros(1, *data_config(built, image_size)["input_size"])
        with FlopCounterMode(display=False) as counter:
            read_layers(built, modules_of(built, modules), images, [deepest], ["patches"])
    parameters = sum(parameter.numel() for parameter in built.parameters())
    return ForwardCost(counter.get_total_flops(), parameters, has_tokens(built))


def create_model(name: str, pretrained: bool, image_size: int | None) -> Any:
    """Make a model without its classifier; ValueError names close ones if timm does not know it."""
    if not timm.is_model(name):
        known = timm.list_models()
        near = difflib.get_close_matches(name.partition(".")[0], known, n=6, cutoff=0.5)
        # Whoever comes from another library knows a part of timm's name.
        near += timm.list_models(f"*{name.partition('_')[0]}*")[:8]
        listed = ", ".join(dict.fromkeys(near)) or "none"
        raise ValueError(f"timm has no model {name!r}; close names: {listed}")
    size: dict[str, Any] = {} if image_size is None else {"img_size": image_size}
    if size:
        try:
            with torch.device("meta"):
                timm.create_model(name, num_classes=0, **size)
        except TypeError:
            # Convolutional models take images of any size and have no such argument.
            size = {}
    return timm.create_model(name, pretrained=pretrained, num_classes=0, **size).eval()


def describe_preprocessing(
    model: str, image_size: int | None = None, changed: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what images go through before a model sees them, as `data_config` does."""
    with torch.device("meta"):
        return data_config(create_model(model, False, image_size), image_size, changed)


def data_config(
    model: Any, image_size: int | None, changed: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return timm's data configuration of a model: `input_size`, `mean`, `std`, `crop_pct`, ....

    Parameters
    ----------
    changed
        `mean`, `std`, `crop` and `interpolation`, as far as they differ from timm's.
    """
    args = {} if image_size is None else {"img_size": image_size}
    changed = dict(changed or {})
    if "crop" in changed:
        changed["crop_pct"] = changed.pop("crop")
    return resolve_model_data_config(model, args) | changed


def has_tokens(model: Any) -> bool:
    """Return whether timm gives a model's class token and registers besides its patches."""
    return "return_prefix_tokens" in inspect.signature(model.forward_intermediates).parameters


def modules_of(model: Any, modules: Sequence[str] | None) -> list[str]:
    """Return the modules that count as layers: `modules`, or timm's blocks or stages.

    Raises
    ------
    ValueError
        If timm cannot read the model layer by layer.
    """
    if not hasattr(model, "forward_intermediates") or not hasattr(model, "feature_info"):
        raise ValueError(
            f"timm cannot read {type(model).__name__} layer by layer (no forward_intermediates); "
            "choose another model"
        )
    return [info["module"] for info in model.feature_info] if modules is None else list(modules)


def read_layers(
    model: Any,
    modules: Sequence[str],
    images: Float[Tensor, "batch 3 height width"],
    layers: Sequence[int],
    kinds: Sequence[str],
) -> dict[tuple[int, str], Float[Tensor, "batch tokens width"]]:
    """Return tokens after some layers from one forward pass, which stops after the deepest.

    Parameters
    ----------
    modules
        Those that count as layers (`modules_of`).
    layers
        Numbers of layers, from 1.
    """
    if has_tokens(model):
        return _read_blocks(model, modules, images, layers, kinds)
    if list(modules) == modules_of(model, None):
        return _read_stages(model, images, layers, kinds)
    return _read_modules(model, {layer: modules[layer - 1] for layer in layers}, images, kinds)


def _read_blocks(
    model: Any, modules: Sequence[str], images: Tensor, layers: Sequence[int], kinds: Sequence[str]
) -> dict[tuple[int, str], Tensor]:
    """Run timm's forward_intermediates with hooks.

    It would hold every token of every layer until the end, where a class token per layer may be all
    that is wanted.
    """
    read: dict[tuple[int, str], Tensor] = {}

    def keep(layer: int) -> Callable[..., None]:
        def hook(module: Any, arguments: Any, output: Tensor) -> None:
            chosen = _choose_tokens(model, output, model.num_prefix_tokens, kinds)
            read.update({(layer, kind): tokens.clone() for kind, tokens in chosen.items()})

        return hook

    with ExitStack() as hooks:
        for layer in layers:
            hooks.enter_context(_hooked(model.get_submodule(modules[layer - 1]), keep(layer)))
        model.forward_intermediates(
            images,
            [max(layers) - 1],
            norm=False,
            stop_early=True,
            intermediates_only=True,
            output_fmt="NLC",
        )
    return read


def _read_stages(
    model: Any, images: Tensor, layers: Sequence[int], kinds: Sequence[str]
) -> dict[tuple[int, str], Tensor]:
    """Run timm's forward_intermediates of a model without a sequence of tokens."""
    maps = model.forward_intermediates(
        images,
        [layer - 1 for layer in sorted(layers)],
        norm=False,
        stop_early=True,
        intermediates_only=True,
        output_fmt="NCHW",
    )
    return {
        (layer, kind): tokens
        for layer, found in zip(sorted(layers), maps, strict=True)
        for kind, tokens in _choose_tokens(model, _positions(found), 0, kinds).items()
    }


class _AllRead(Exception):
    """What follows in the forward pass is not needed."""


def _read_modules(
    model: Any, module_of: Mapping[int, str], images: Tensor, kinds: Sequence[str]
) -> dict[tuple[int, str], Tensor]:
    """Run a model without a sequence of tokens up to the last of some modules, by layer."""
    read: dict[tuple[int, str], Tensor] = {}
    left = set(module_of)

    def keep(layer: int) -> Callable[..., None]:
        def hook(module: Any, arguments: Any, output: Tensor) -> None:
            chosen = _choose_tokens(model, _positions(output), 0, kinds)
            # Copied: the module that follows may work in place.
            read.update({(layer, kind): tokens.clone() for kind, tokens in chosen.items()})
            left.discard(layer)
            if not left:
                raise _AllRead

        return hook

    with ExitStack() as hooks, suppress(_AllRead):
        for layer, name in module_of.items():
            hooks.enter_context(_hooked(model.get_submodule(name), keep(layer)))
        model(images)
    return read


def _describe(model: Any, image_size: int | None, modules: Sequence[str]) -> list[Layer]:
    """Run an empty image through a model on the meta device, which computes only shapes."""
    numbers = range(1, len(modules) + 1)
    images = torch.zeros(1, *data_config(model, image_size)["input_size"])
    read = read_layers(model, modules, images, numbers, TOKENS)
    return [
        Layer(
            number=number,
            name=modules[number - 1],
            width=read[number, "patches"].shape[2],
            tokens={kind: read[number, kind].shape[1] for kind in TOKENS if (number, kind) in read},
        )
        for number in numbers
    ]


def _check_modules(model: Any, image_size: int | None, modules: Sequence[str]) -> None:
    """Raise a ValueError that lists every module that cannot count as a layer."""
    outputs = _run_modules(model, image_size)
    faults = []
    for name in modules:
        found = outputs.get(name, [])
        if not found:
            near = difflib.get_close_matches(name, outputs, n=3, cutoff=0.3)
            faults.append(f"{name!r} is no module that runs (close: {', '.join(near) or 'none'})")
        elif len(found) > 1:
            faults.append(f"{name} runs {len(found)} times for an image")
        elif not _is_map(found[0]):
            faults.append(f"{name} outputs no map of channels, height and width")
    if faults:
        raise ValueError(
            f"backbone.modules: {'; '.join(faults)}. `make layers MODEL=... MODULES=1` lists those "
            "that can be read"
        )


def _run_modules(model: Any, image_size: int | None) -> dict[str, list[Any]]:
    """Return all that each module outputs for an empty image, in the order in which they end."""
    modules_of(model, None)
    if has_tokens(model) or getattr(model, "output_fmt", "NCHW") != "NCHW":
        raise ValueError(
            f"modules of {type(model).__name__} cannot be layers: only convolutional models output "
            "maps; remove backbone.modules, its layers are those of `make layers MODEL=...`"
        )
    outputs: dict[str, list[Any]] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, arguments, output: outputs.setdefault(name, []).append(output)

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if name:
                hooks.enter_context(_hooked(module, keep(name)))
        model(torch.zeros(1, *data_config(model, image_size)["input_size"]))
    return outputs


@contextmanager
def _hooked(module: Any, hook: Callable[..., None]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _is_map(output: Any) -> bool:
    return isinstance(output, Tensor) and output.ndim == 4


def _positions(maps: Float[Tensor, "batch width height along"]) -> Tensor:
    """Return the positions of a map as tokens, row by row from the top left."""
    return maps.flatten(2).transpose(1, 2)


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
