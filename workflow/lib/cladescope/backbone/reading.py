"""Reading a timm model at some of its modules, in one forward pass: the tokens after each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from inspect import signature
from itertools import product
from typing import Any

from jaxtyping import Float
from torch import Tensor

from cladescope.sites import ATTENTION, MLP, RESIDUAL, SITES, at_site, kind_of, site_of

SUMMANDS = {ATTENTION: "drop_path1", MLP: "drop_path2"}
"""The module of a block that outputs what a part of it adds: after layer scale, and outside of
training nothing else."""
BLOCKS = (
    "beit.Block",
    "eva.EvaBlock",
    "eva.EvaBlockPostNorm",
    "vision_transformer.Block",
    "vision_transformer.ResPostBlock",
    "vision_transformer_relpos.RelPosBlock",
    "vision_transformer_relpos.ResPostRelPosBlock",
)
"""timm's blocks that add what their attention and then what their MLP outputs, and nothing else."""


def has_tokens(model: Any) -> bool:
    """Return whether timm gives a model's class token and registers besides its patches."""
    return "return_prefix_tokens" in signature(model.forward_intermediates).parameters


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


def sites_of(model: Any, module: str) -> tuple[str, ...]:
    """Return where within a layer's module a model can be read: `residual` alone, or all sites."""
    kind = type(model.get_submodule(module))
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("timm.models.")
    return SITES if has_tokens(model) and name in BLOCKS else (RESIDUAL,)


def read_layers(
    model: Any,
    modules: Sequence[str],
    images: Float[Tensor, "batch 3 height width"],
    layers: Sequence[int],
    tokens: Sequence[str],
) -> dict[tuple[int, str], Float[Tensor, "batch tokens width"]]:
    """Return tokens after some layers from one forward pass, which stops after the deepest.

    Parameters
    ----------
    modules
        Those that count as layers (`modules_of`).
    layers
        Numbers of layers, from 1.
    tokens
        Kinds, or kinds at a site that the layers have (`sites_of`).
    """
    if has_tokens(model):
        return _read_blocks(model, modules, images, layers, tokens)
    if list(modules) == modules_of(model, None):
        return _read_stages(model, images, layers, tokens)
    return _read_modules(model, {layer: modules[layer - 1] for layer in layers}, images, tokens)


def _read_blocks(
    model: Any, modules: Sequence[str], images: Tensor, layers: Sequence[int], tokens: Sequence[str]
) -> dict[tuple[int, str], Tensor]:
    """Run timm's forward_intermediates with hooks.

    It would hold every token of every layer until the end, where a class token per layer may be all
    that is wanted.
    """
    read: dict[tuple[int, str], Tensor] = {}
    kinds: dict[str, list[str]] = {}
    for token in tokens:
        kinds.setdefault(site_of(token), []).append(kind_of(token))

    def keep(layer: int, site: str) -> Callable[..., None]:
        def hook(module: Any, arguments: Any, output: Tensor) -> None:
            chosen = choose_tokens(model, output, model.num_prefix_tokens, kinds[site])
            read.update({(layer, at_site(kind, site)): x.clone() for kind, x in chosen.items()})

        return hook

    with ExitStack() as hooks:
        for layer, site in product(layers, kinds):
            module = model.get_submodule(modules[layer - 1])
            if site != RESIDUAL:
                module = getattr(module, SUMMANDS[site])
            hooks.enter_context(hooked(module, keep(layer, site)))
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
        for kind, tokens in choose_tokens(model, _positions(found), 0, kinds).items()
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
            chosen = choose_tokens(model, _positions(output), 0, kinds)
            # Copied: the module that follows may work in place.
            read.update({(layer, kind): tokens.clone() for kind, tokens in chosen.items()})
            left.discard(layer)
            if not left:
                raise _AllRead

        return hook

    with ExitStack() as hooks, suppress(_AllRead):
        for layer, name in module_of.items():
            hooks.enter_context(hooked(model.get_submodule(name), keep(layer)))
        model(images)
    return read


def run_modules(model: Any, images: Tensor) -> dict[str, list[Any]]:
    """Return all that each module of a convolutional model outputs, in the order in which they end.

    Raises
    ------
    ValueError
        If the model is not convolutional, or timm cannot read it.
    """
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
                hooks.enter_context(hooked(module, keep(name)))
        model(images)
    return outputs


@contextmanager
def hooked(module: Any, hook: Callable[..., Any]) -> Iterator[None]:
    """Have a module call `hook` with each output, within this context."""
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def is_map(output: Any) -> bool:
    """Say whether a module has output channels by height by width, of each image."""
    return isinstance(output, Tensor) and output.ndim == 4


def _positions(maps: Float[Tensor, "batch width height along"]) -> Tensor:
    """Return the positions of a map as tokens, row by row from the top left."""
    return maps.flatten(2).transpose(1, 2)


def choose_tokens(
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
