"""Where within a block activations are read, and how the name of a token says so.

At the site `residual` a token is what the block leaves; at `attention` and `mlp` it is what that
part of the block adds. The site is part of the token's name: `cls`, `cls_attention`, `cls_mlp`.
"""

from collections.abc import Mapping
from typing import Any

SITES = RESIDUAL, ATTENTION, MLP = ("residual", "attention", "mlp")
SINGLE = ("cls", "mean")
"""Kinds of token of which an image has one."""


def at_site(kind: str, site: str) -> str:
    """Return the name of a kind of token at a site.

    >>> at_site("cls", "residual"), at_site("cls", "mlp")
    ('cls', 'cls_mlp')
    """
    return kind if site == RESIDUAL else f"{kind}_{site}"


def kind_of(token: str) -> str:
    """Return the kind of token that a name stands for, wherever it is read."""
    return token.partition("_")[0]


def site_of(token: str) -> str:
    """Return the site that a token's name stands for."""
    return token.partition("_")[2] or RESIDUAL


def tokens_of(part: Mapping[str, Any]) -> list[str]:
    """Return the names of all tokens that a pass or sweep of the configuration asks for."""
    sites = part.get("sites", [RESIDUAL])
    return [at_site(kind, site) for kind in part["tokens"] for site in sites]
