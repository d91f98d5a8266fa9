"""The layers of a timm model: where it can be read, what stands there, what reading it costs."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.data import resolve_model_data_config
from torch import Tensor

import cladescope.planted.network  # noqa: F401  registers `vit_planted` with timm
from cladescope.backbone.reading import (
    has_tokens,
    is_map,
    modules_of,
    read_layers,
    run_modules,
    sites_of,
)
from cladescope.sites import RESIDUAL, SITES, kind_of, site_of

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
    kind: str
    """Class of the module."""
    sites: tuple[str, ...] = (RESIDUAL,)
    """Where within it the model can be read."""

    def n_tokens(self, token: str) -> int:
        """Return how many tokens of a kind there are per image, at whichever site."""
        return self.tokens[kind_of(token)]


@dataclass(frozen=True)
class ForwardCost:
    """Cost of one image's forward pass."""

    flops: int
    """Multiplications and additions up to the deepest layer, or of all layers."""
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


def readable_layers(
    model: str, image_size: int | None = None, modules: Sequence[str] | None = None
) -> list[Layer]:
    """Do the same of a model that has just been chosen, and refuse by name what has other blocks.

    Apart from `list_layers`, on which what has been extracted depends.

    Raises
    ------
    ValueError
        As `list_layers` does; or if the model's blocks do not output one sequence of tokens, as
        those of TNT, which are two.
    """
    try:
        return list_layers(model, image_size, modules)
    except TypeError as error:
        raise ValueError(
            f"{model} cannot be read layer by layer ({error}): its blocks output something else "
            "than one sequence of tokens. Transformers of one sequence can be read after their "
            "blocks, hierarchical and convolutional models after their stages (docs/layers.md)"
        ) from error


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
        outputs = run_modules(built, _empty(built, image_size))
        names = [
            name
            for name, found in outputs.items()
            if len(found) == 1
            and is_map(found[0])
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


def common_sites(layers: Sequence[Layer]) -> list[str]:
    """Return the sites that every layer has."""
    return [site for site in SITES if all(site in layer.sites for layer in layers)]


def check_tokens(model: str, layers: Sequence[Layer], tokens: Sequence[str]) -> None:
    """Raise a ValueError that names the alternatives if a model lacks a token kind or a site."""
    available = layers[0].tokens
    lacking = [kind for kind in dict.fromkeys(map(kind_of, tokens)) if kind not in available]
    if lacking:
        raise ValueError(
            f"{model} has no {' and no '.join(lacking)} token after each layer; "
            f"choose among {', '.join(available)} (tokens that are left out are [cls])"
        )
    sites = common_sites(layers)
    lacking = [site for site in dict.fromkeys(map(site_of, tokens)) if site not in sites]
    if lacking:
        other = next(layer for layer in layers if layer.sites != SITES)
        raise ValueError(
            f"{model} has no site {' and no '.join(lacking)}: its layer {other.number} "
            f"({other.name}, timm's {other.kind}) is no block that adds what one attention and "
            f"then one MLP output; choose among {', '.join(sites)} (sites that are left out are "
            f"[{RESIDUAL}])"
        )


def forward_cost(
    model: str, image_size: int | None, deepest: int | None, modules: Sequence[str] | None = None
) -> ForwardCost:
    """Count a forward pass up to a layer on the meta device, without making weights.

    None as `deepest` counts the whole pass, but for the classifier.
    """
    # Imported here: only planning counts.
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        built = create_model(model, False, image_size)
        images = _empty(built, image_size)
        with FlopCounterMode(display=False) as counter:
            if deepest is None:
                built(images)
            else:
                read_layers(built, modules_of(built, modules), images, [deepest], ["patches"])
    parameters = sum(parameter.numel() for parameter in built.parameters())
    return ForwardCost(counter.get_total_flops(), parameters, has_tokens(built))


def create_model(name: str, pretrained: bool, image_size: int | None) -> Any:
    """Make a model without its classifier.

    Raises
    ------
    ValueError
        If timm does not know the model; names close ones.
    OSError
        If its pretrained weights cannot be fetched.
    """
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
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0, **size).eval()
    except OSError as error:
        raise OSError(
            f"backbone.weights: the pretrained weights of {name} are not on this machine and "
            f"cannot be fetched ({error}); fetch them with a network, or name a checkpoint"
        ) from error


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


def _describe(model: Any, image_size: int | None, modules: Sequence[str]) -> list[Layer]:
    """Run an empty image through a model on the meta device, which computes only shapes."""
    numbers = range(1, len(modules) + 1)
    images = _empty(model, image_size)
    read = read_layers(model, modules, images, numbers, TOKENS)
    return [
        Layer(
            number=number,
            name=modules[number - 1],
            width=read[number, "patches"].shape[2],
            tokens={kind: read[number, kind].shape[1] for kind in TOKENS if (number, kind) in read},
            kind=type(model.get_submodule(modules[number - 1])).__name__,
            sites=sites_of(model, modules[number - 1]),
        )
        for number in numbers
    ]


def _check_modules(model: Any, image_size: int | None, modules: Sequence[str]) -> None:
    """Raise a ValueError that lists every module that cannot count as a layer."""
    outputs = run_modules(model, _empty(model, image_size))
    faults = []
    for name in modules:
        found = outputs.get(name, [])
        if not found:
            near = difflib.get_close_matches(name, outputs, n=3, cutoff=0.3)
            faults.append(f"{name!r} is no module that runs (close: {', '.join(near) or 'none'})")
        elif len(found) > 1:
            faults.append(f"{name} runs {len(found)} times for an image")
        elif not is_map(found[0]):
            faults.append(f"{name} outputs no map of channels, height and width")
    if faults:
        raise ValueError(
            f"backbone.modules: {'; '.join(faults)}. `make layers MODEL=... MODULES=1` lists those "
            "that can be read"
        )


def _empty(model: Any, image_size: int | None) -> Tensor:
    return torch.zeros(1, *data_config(model, image_size)["input_size"])
