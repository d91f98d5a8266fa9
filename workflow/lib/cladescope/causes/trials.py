"""What is done to which images: every ablation of a dictionary, its controls, and each run once.

A *trial* is one set of latents, for one node, handled in one way (`kinds.py`). What it does to an
image depends on those of its latents that fire there; several trials may do the same, so *runs* are
the distinct things done to an image. An image on which nothing fires is not run: it changes by 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from cladescope.causes.kinds import (
    ADDED,
    ADDED_DIRECTIONS,
    ADDING,
    CHOSEN,
    DIRECTIONS,
    MATCHED,
    PROJECTED,
    PROJECTED_PERMUTED,
    REARRANGED,
    SHRUNK,
    TAKING,
)
from cladescope.causes.sets import NONE, latents_of_nodes, matched_latents, mean_contribution
from cladescope.scores.halves import Halves
from cladescope.taxonomy.tree import Tree

STEERED = 8
"""Images outside a node that its latents are added on."""

Members = tuple[tuple[int, int, float | None], ...]
"""Of each latent that fires: itself, the one whose direction is taken, and what is added of it;
None takes away what there is."""


class Set(NamedTuple):
    """One thing that is done to a token."""

    members: Members
    how: str | None = None
    """`SHRUNK` or `PROJECTED`, where it is not what the members say."""


NOTHING = Set(())


@dataclass(frozen=True, eq=False)
class Trials:
    """One row for each trial."""

    kind: Int[np.ndarray, " trials"]
    """Position in `TAKING + ADDING`."""
    draw: Int[np.ndarray, " trials"]
    """Of the permutations, from 1, for `REARRANGED`; else 0: leaves are where they are."""
    node: Int[np.ndarray, " trials"]
    """Position among the internal nodes."""
    size: Int[np.ndarray, " trials"]
    """Latents that the node may have."""
    sources: Int[np.ndarray, "trials most"]
    """Latents whose firing decides where, and how much; `NONE` for none."""
    directions: Int[np.ndarray, "trials most"]
    """Latents whose decoder rows are taken away or added."""
    amounts: Float[np.ndarray, "trials most"]
    """What is added; NaN where it is taken away."""

    def __len__(self) -> int:
        return len(self.kind)

    def is_kind(self, *kinds: str) -> Bool[np.ndarray, " trials"]:
        """Say which trials are of these kinds."""
        return np.isin(self.kind, [(*TAKING, *ADDING).index(kind) for kind in kinds])


class Questions(NamedTuple):
    """What is to be run, and which trials ask for it."""

    trial: Int[np.ndarray, " questions"]
    run: Int[np.ndarray, " questions"]
    """Sorted."""
    image: Int[np.ndarray, " runs"]
    """Position in the sample, sorted; the first run of an image does nothing to it."""
    set: Int[np.ndarray, " runs"]
    """Position in `sets`, of which the first is `NOTHING`."""
    sets: list[Set]


def plan_trials(
    halves: Halves,
    tree: Tree,
    permutations: Sequence[Int[np.ndarray, " classes"]],
    sizes: tuple[int, ...],
    seed: int,
    *,
    steer: bool,
) -> Trials:
    """Choose latents on the choosing half and list all trials.

    Parameters
    ----------
    permutations
        Of the classes, for `REARRANGED`: each makes trials of its own.
    sizes
        Numbers of latents of a node.
    steer
        Whether latents are also added.
    """
    chosen = latents_of_nodes(halves, tree)
    matched = matched_latents(halves, chosen, seed)
    amounts = mean_contribution(halves, chosen, tree)
    # A latent that has no match is left alone by what takes its match's direction.
    paired = np.where(matched == NONE, NONE, chosen)
    nothing = np.full(chosen.shape, np.nan)
    handled = [
        (CHOSEN, 0, chosen, chosen, nothing),
        (MATCHED, 0, matched, matched, nothing),
        (DIRECTIONS, 0, paired, matched, nothing),
        (SHRUNK, 0, chosen, chosen, nothing),
        (PROJECTED, 0, chosen, chosen, nothing),
    ]
    for draw, permutation in enumerate(permutations, start=1):
        permuted = latents_of_nodes(halves.permuted(permutation), tree)
        handled += [(kind, draw, permuted, permuted, nothing) for kind in REARRANGED]
    if steer:
        handled += [(ADDED, 0, chosen, chosen, amounts)]
        handled += [(ADDED_DIRECTIONS, 0, paired, matched, amounts)]
    columns: list[tuple[np.ndarray, ...]] = []
    for kind, draw, *parts in handled:
        number, n = (*TAKING, *ADDING).index(kind), len(tree.internal)
        for size in sizes:
            sources, directions, added = (part.copy() for part in parts)
            sources[:, size:] = directions[:, size:] = NONE
            about = (np.full(n, number), np.full(n, draw), np.arange(n), np.full(n, size))
            columns.append((*about, sources, directions, added))
    return Trials(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))


def ask(
    trials: Trials,
    fires: Bool[np.ndarray, "sample width"],
    inside: Bool[np.ndarray, "sample internal"],
    seed: int,
) -> Questions:
    """Find the images that each trial changes, and what there is to run.

    Parameters
    ----------
    fires
        Which latents fire on each image of the sample.
    inside
        Which images are of a class under each internal node.
    """
    order = np.random.default_rng(seed).permutation(len(fires))
    number: dict[Set, int] = {NOTHING: 0}
    asked: list[np.ndarray] = []
    adding = trials.is_kind(*ADDING)
    for t in range(len(trials)):
        known = np.flatnonzero(trials.sources[t] != NONE)
        on = fires[:, trials.sources[t][known]]
        rows, patterns = np.flatnonzero(on.any(1)), on
        if adding[t]:
            free = ~(on.any(1) | inside[:, trials.node[t]])
            rows, patterns = order[free[order]][:STEERED], np.ones_like(on)
        if not len(known) or not len(rows):
            continue
        weights = 1 << np.arange(len(known))
        codes, which = np.unique(patterns[rows] @ weights, return_inverse=True)
        found = [_set_of(trials, t, known[code & weights > 0]) for code in codes]
        ids = np.array([number.setdefault(what, len(number)) for what in found])
        asked.append(np.stack([np.full(len(rows), t), rows, ids[which]]))
    trial, image, set_ = np.concatenate([np.empty((3, 0), np.int64), *asked], axis=1)
    n_sets = len(number)
    baseline = np.arange(len(fires)) * n_sets
    keys, run = np.unique(np.concatenate([baseline, image * n_sets + set_]), return_inverse=True)
    run = run[len(fires) :]
    by_run = np.lexsort((trial, run))
    return Questions(trial[by_run], run[by_run], keys // n_sets, keys % n_sets, list(number))


def _set_of(trials: Trials, trial: int, members: np.ndarray) -> Set:
    """Describe what a trial does where some of its latents fire, in one way only."""
    sources, directions, amounts = (
        part[trial, members].tolist()
        for part in (trials.sources, trials.directions, trials.amounts)
    )
    added = [None if np.isnan(amount) else amount for amount in amounts]
    kind = (*TAKING, *ADDING)[trials.kind[trial]]
    how = {SHRUNK: SHRUNK, PROJECTED: PROJECTED, PROJECTED_PERMUTED: PROJECTED}.get(kind)
    return Set(tuple(sorted(zip(sources, directions, added, strict=True))), how)
