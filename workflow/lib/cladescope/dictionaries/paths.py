"""Latents that form trees: which of them may fire on a token is a path, from coarse to fine.

A forest of one or more trees stands on the first latents of a dictionary. Each tree has leaves,
each with a router row r_l. A token x' follows, in each tree, the path of the leaf

    ℓ(x') = argmax_l ⟨r_l, x'⟩    (of equals the first),

and all latents on its paths fire, by `LEAST` or more: a parent fires wherever its child does.
docs/dictionaries.md describes the files.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

PATHS = ("router", "leaf", "parent", "leaves")
LEAST = 1e-3
"""Least activation of a latent on a token's path, in units of x', whose variance is 1."""


@dataclass(frozen=True, eq=False)
class Paths:
    """The trees of a dictionary's first latents."""

    router: Float[np.ndarray, "leaves d"]
    """r, in the space of x', tree by tree."""
    leaf: Int[np.ndarray, " leaves"]
    """The deepest latent of each leaf's path; −1 where none is on it."""
    parent: Int[np.ndarray, " nodes"]
    """The latent above each of the first latents, a lower number; −1 for the coarsest."""
    leaves: Int[np.ndarray, " trees"]
    """Leaves of each tree."""

    @classmethod
    def joined(cls, trees: Sequence["Paths"]) -> "Paths":
        """Return the forest of these trees, whose latents follow one another."""
        first = np.cumsum([0, *(tree.nodes for tree in trees[:-1])])
        leaf, parent = (
            np.concatenate([np.where(n < 0, n, n + k) for n, k in zip(numbers, first, strict=True)])
            for numbers in ([tree.leaf for tree in trees], [tree.parent for tree in trees])
        )
        return cls(
            np.concatenate([tree.router for tree in trees]),
            leaf.astype(np.int32),
            parent.astype(np.int32),
            np.concatenate([tree.leaves for tree in trees]),
        )

    @property
    def nodes(self) -> int:
        """Number of latents that stand in a tree: the dictionary's first."""
        return len(self.parent)

    @cached_property
    def reached(self) -> Bool[np.ndarray, "leaves nodes"]:
        """Which latents are on the path of each leaf."""
        reached = np.zeros((len(self.leaf), self.nodes), np.bool_)
        at = self.leaf.copy()
        while (on := np.flatnonzero(at >= 0)).size:
            reached[on, at[on]] = True
            at[on] = self.parent[at[on]]
        return reached

    def check(self, path: str | Path, width: int, d: int) -> None:
        """Raise ValueError, which names file and tensor, for what describes no trees."""
        shapes = self.router.shape == (len(self.leaf), d) and self.leaves.sum() == len(self.leaf)
        orders = self.parent < np.arange(self.nodes)
        faults = {
            "router": not shapes or not np.isfinite(self.router).all(),
            "leaf": bool((self.leaf < -1).any() or (self.leaf >= self.nodes).any()),
            "parent": self.nodes > width or not orders.all() or bool((self.parent < -1).any()),
            "leaves": not len(self.leaves) or bool((self.leaves < 1).any()),
        }
        for name in (name for name, fault in faults.items() if fault):
            raise ValueError(f"{path}: {name} does not describe trees of latents; train it again")


class Walk:
    """Follows the paths of tokens, with arrays of numpy or, where `put` makes them, of torch."""

    def __init__(self, paths: Paths, put: Callable[[np.ndarray], Any] = lambda array: array):
        ends = np.cumsum(paths.leaves)[:-1]
        self._routers = [put(np.ascontiguousarray(part.T)) for part in np.split(paths.router, ends)]
        self._reached = [put(part) for part in np.split(paths.reached, ends)]

    def on(self, x: Any) -> Any:
        """Return which latents of the trees are on a path of normalised activations (tokens, d)."""
        reached = [
            reached[(x @ router).argmax(1)]
            for router, reached in zip(self._routers, self._reached, strict=True)
        ]
        return reduce(or_, reached)
