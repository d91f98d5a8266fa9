"""The attention of a transformer, with the graph that leads from it to a layer's tokens.

timm's fused attention never forms the attention matrix. All of timm's families can turn it off by
the same switch, `fused_attn`. They then apply the module `attn_drop` (the identity here) to the
matrix, so a hook on that module sees the matrix whatever a family did before (rotary or relative
positions, normalised queries).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cladescope.backbone.backbone import Backbone, has_token_sequence


@dataclass(frozen=True)
class Trace:
    """What a transformer computed up to a layer."""

    tokens: Float[Tensor, "images tokens width"]
    """After the layer: class token and registers first, patches last."""
    attention: list[Float[Tensor, "images heads tokens tokens"]]
    """Of each block from the first to the layer, after the softmax: rows attend to columns."""


def trace_attention(
    backbone: Backbone, images: Float[Tensor, "images 3 height width"], layer: int
) -> Trace:
    """Run a transformer up to a layer (from 1) and keep every attention matrix.

    With gradients enabled the tokens are differentiable with respect to each matrix. The graph
    begins at the first matrix; nothing before it is kept.

    Raises
    ------
    ValueError
        If the model does not attend over all of its tokens once in each block; names its family.
    """
    if not has_token_sequence(backbone):
        raise ValueError(_refusal(backbone, "it has no sequence of tokens"))
    seen: list[Tensor] = []
    last: list[Tensor] = []

    def keep(module: nn.Module, arguments: Any, attention: Tensor) -> Tensor:
        if torch.is_grad_enabled() and not attention.requires_grad:
            attention = attention.detach().requires_grad_()
        seen.append(attention)
        return attention

    def keep_tokens(module: nn.Module, arguments: Any, output: Tensor) -> None:
        last.append(output)

    blocks = [backbone.model.get_submodule(found.name) for found in backbone.layers[:layer]]
    with ExitStack() as stack:
        for block in blocks:
            attention = _attention_of(backbone, block)
            stack.enter_context(_unfused(attention))
            stack.enter_context(attention.attn_drop.register_forward_hook(keep))
        stack.enter_context(blocks[-1].register_forward_hook(keep_tokens))
        backbone.model.forward_intermediates(
            images, [layer - 1], norm=False, stop_early=True, intermediates_only=True
        )
    (tokens,) = last
    n_images, n_tokens, _ = tokens.shape
    shapes = {(found.shape[0], *found.shape[2:]) for found in seen}
    if len(seen) != layer or shapes != {(n_images, n_tokens, n_tokens)}:
        raise ValueError(_refusal(backbone, "its blocks do not attend over all tokens once"))
    return Trace(tokens, seen)


def _attention_of(backbone: Backbone, block: nn.Module) -> Any:
    found = [module for module in block.modules() if hasattr(module, "attn_drop")]
    if len(found) != 1 or not hasattr(found[0], "fused_attn"):
        fault = f"{type(block).__name__} has not one attention that can be materialised"
        raise ValueError(_refusal(backbone, fault))
    return found[0]


def _refusal(backbone: Backbone, fault: str) -> str:
    family = type(backbone.model).__name__
    return f"no attention maps of {backbone.name} (timm's {family}): {fault}"


@contextmanager
def _unfused(attention: Any) -> Iterator[None]:
    fused = attention.fused_attn
    attention.fused_attn = False
    try:
        yield
    finally:
        attention.fused_attn = fused
