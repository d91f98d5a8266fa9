"""Which latents stand for a node, and what is put in their place as a control."""

import numpy as np
from jaxtyping import Bool, Float, Int

from cladescope.scores.coalitions import pursue
from cladescope.scores.halves import Firings, Halves
from cladescope.taxonomy.tree import Tree

NONE = -1
"""Fills the rows of nodes that have fewer latents."""
ALIKE = 8
"""A matched latent is one of so many that are most alike, at random."""


def latents_of_nodes(halves: Halves, tree: Tree) -> Int[np.ndarray, "internal most"]:
    """Return the latents of each internal node, its coalition, in the order they were taken."""
    taken = pursue(halves, tree)
    # -1 takes what is appended.
    return np.append(halves.scored, NONE)[taken]


def matched_latents(
    halves: Halves, chosen: Int[np.ndarray, "internal most"], seed: int
) -> Int[np.ndarray, "internal most"]:
    """Replace each latent of a node by another that fires as often and as strongly.

    Rate and mean activation where it fires (its norm, as decoder rows have length 1) are those of
    the choosing half. Alike is near in the logarithms of both, each divided by its spread. None of
    a node's own latents is taken, and none twice; where none is left there is none.
    """
    random = np.random.default_rng(seed)
    features = _rate_and_strength(halves.choose)
    position = {int(latent): n for n, latent in enumerate(halves.scored)}
    found = np.full_like(chosen, NONE)
    for node, latents in enumerate(chosen):
        taken = {position[int(latent)] for latent in latents if latent != NONE}
        for n, latent in enumerate(latents):
            if latent == NONE:
                continue
            distance = np.square(features - features[position[int(latent)]]).sum(1)
            distance[[*taken]] = np.inf
            near = np.argsort(distance, kind="stable")[:ALIKE]
            near = near[np.isfinite(distance[near])]
            if len(near):
                other = int(random.choice(near))
                taken.add(other)
                found[node, n] = halves.scored[other]
    return found


def mean_contribution(
    halves: Halves, chosen: Int[np.ndarray, "internal most"], tree: Tree
) -> Float[np.ndarray, "internal most"]:
    """Return each latent's mean activation over all choosing images of its node; NaN for none."""
    half = halves.choose
    position = {int(latent): n for n, latent in enumerate(halves.scored)}
    found = np.full(chosen.shape, np.nan)
    for row, (node, latents) in enumerate(zip(tree.internal, chosen, strict=True)):
        n_images = half.class_size[tree.covers[:, node]].sum()
        for n, latent in enumerate(latents):
            if latent == NONE or not n_images:
                continue
            fires = slice(*half.start[position[int(latent)] : position[int(latent)] + 2])
            inside = tree.covers[half.label[fires], node]
            found[row, n] = half.activation[fires][inside].sum(dtype=float) / n_images
    return found


def _rate_and_strength(half: Firings) -> Float[np.ndarray, "scored 2"]:
    latent = np.repeat(np.arange(len(half.n_firing)), half.n_firing)
    count = np.maximum(half.n_firing, 1)
    strength = np.bincount(latent, half.activation, minlength=len(count)) / count
    features = np.log(np.stack([count, np.maximum(strength, 1e-12)], 1))
    spread = features.std(0) if len(features) else np.ones(2)
    return features / np.where(spread > 0, spread, 1)


def counterparts(tree: Tree) -> Int[np.ndarray, "internal classes"]:
    """Return, of each class outside a node, the node of about the node's size that it is under.

    Of the nodes at or above the class that share no class with the node, the one whose number of
    classes is nearest to the node's; ties: the smaller, then the first. So what harms all classes
    alike changes both by the same: P of a small node changes more than that of a large one.

    Returns
    -------
    int: positions in the tree; for a class inside the node, the node; -1 if there is none.
    """
    covers, sizes = tree.covers, tree.n_leaves
    found = np.full((len(tree.internal), len(covers)), NONE)
    overlap = covers[:, tree.internal].T.astype(np.int64) @ covers
    for row, node in enumerate(tree.internal):
        order = np.lexsort((np.arange(len(sizes)), sizes, np.abs(sizes - sizes[node])))
        order = order[overlap[row, order] == 0]
        at = covers[:, order]
        found[row] = np.where(at.any(1), order[at.argmax(1)] if len(order) else NONE, NONE)
        found[row, covers[:, node]] = node
    return found


def siblings(tree: Tree) -> Bool[np.ndarray, "internal classes"]:
    """Say which classes are outside a node but under a node directly above it."""
    found = np.zeros((len(tree.internal), len(tree.covers)), bool)
    for row, node in enumerate(tree.internal):
        above = np.flatnonzero(tree.below[node])
        # Directly above: above it, and above no other that is.
        direct = [p for p in above if not (tree.below[above, p]).any()]
        found[row] = tree.covers[:, direct].any(1) & ~tree.covers[:, node]
    return found
