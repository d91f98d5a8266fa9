"""Running a model with the tokens after one of its layers changed: what follows sees the change.

A forward hook on the layer's module replaces its output. The batch may grow there: several changed
copies of an image share the blocks before the layer, and only what follows runs for each copy.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cladescope.backbone.backbone import Backbone, has_token_sequence
from cladescope.backbone.reading import choose_tokens, hooked

Change = Callable[
    [Float[Tensor, "images tokens width"]],
    tuple[Int[Tensor, " copies"], Float[Tensor, "copies tokens width"]],
]
"""Gets the tokens that a layer outputs of each image; says which images are copied, and what is
added to each copy's tokens."""
_CLOSE = 1e-3
"""Differences of another batch size or memory layout, as a share of the largest value."""


@contextmanager
def changed_layer(backbone: Backbone, layer: int, token: str, change: Change) -> Iterator[None]:
    """Within this context the model's output is that of the copies.

    Parameters
    ----------
    layer
        From 1.
    token
        Kind of tokens that `change` gets and changes. For `mean` that is the mean of the patches
        (one token), and what is added to it is added to every patch, so that the mean changes by
        exactly that and the differences between patches not at all.
    """
    model = backbone.model
    sequence = has_token_sequence(backbone)
    channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"

    def hook(module: Any, arguments: Any, output: Tensor) -> Tensor:
        if sequence:
            tokens, n_prefix = output, model.num_prefix_tokens
        else:
            maps = output if channels_last else output.permute(0, 2, 3, 1)
            tokens, n_prefix = maps.flatten(1, 2), 0
        read = choose_tokens(model, tokens, n_prefix, [token])[token]
        images, added = change(read)
        changed = tokens[images]
        end = n_prefix if token == "registers" else tokens.shape[1]
        first = {"cls": 0, "registers": end - read.shape[1]}.get(token, n_prefix)
        changed[:, first : 1 if token == "cls" else end] += added
        if sequence:
            return changed
        changed = changed.view(len(changed), *maps.shape[1:])
        return changed if channels_last else changed.permute(0, 3, 1, 2)

    with hooked(model.get_submodule(backbone.layers[layer - 1].name), hook):
        yield


@torch.inference_mode()
def check_changeable(
    backbone: Backbone, images: Float[Tensor, "two 3 height width"], layer: int, token: str
) -> None:
    """Make sure of a model that `changed_layer` changes what is read, and nothing else.

    Parameters
    ----------
    images
        Two or more.

    Raises
    ------
    ValueError
        If the layer's module does not output what is read of the layer, or what follows the layer
        needs more than its output, as within a residual branch.
    """
    name = f"{backbone.name}: layer {layer} ({backbone.layers[layer - 1].name})"
    expected = backbone.read(images, [layer], [token])[layer, token]
    seen: list[Tensor] = []

    def copy(tokens: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(tokens)
        copies = torch.arange(len(images), device=tokens.device).repeat_interleave(2)
        return copies, torch.zeros_like(tokens[copies])

    plain = backbone.model(images)
    try:
        with changed_layer(backbone, layer, token, copy):
            found = backbone.model(images)
    except RuntimeError as error:
        raise ValueError(
            f"{name} cannot be changed by itself: what follows needs more than its output "
            f"({error}); choose a module behind the place where branches join"
        ) from error
    if len(seen) != 1 or not _close(seen[0], expected):
        raise ValueError(f"{name} cannot be changed: its module does not output what is read of it")
    if not _close(found, plain.repeat_interleave(2, 0)):
        raise ValueError(f"{name} cannot be changed: what follows differs between copies")


def _close(found: Tensor, expected: Tensor) -> bool:
    if found.shape != expected.shape:
        return False
    return bool((found - expected).abs().max() <= _CLOSE * expected.abs().max().clamp(min=1e-12))
