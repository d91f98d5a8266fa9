"""Hierarchy among the latents themselves: which fire within which, absorption and splitting.

All of it is measured on the scoring half, with the nodes and latents chosen on the other.
"""

from typing import NamedTuple

import numpy as np

from cladescope.compiled import compiled
from cladescope.scores.alignment import MCC_SLACK, Alignment
from cladescope.scores.halves import Firings
from cladescope.scores.measure import mean_of
from cladescope.scores.nulls import Stream
from cladescope.taxonomy.tree import INTERNAL, Tree

CONTAINMENT = 0.8
"""Share of a child's images that fire its parent, at least; less in the other direction."""
SOFT_DRAWS = 20
LIFT = 2.0
"""A parent fires at least this many times more often on its child's images than on all."""


class Relations(NamedTuple):
    """Pairs of latents of which one, the child, fires almost only where the other does."""

    child: np.ndarray
    """int64 (n_relations,): positions among the scored latents."""
    parent: np.ndarray
    """int64 (n_relations,)."""
    containment: np.ndarray
    """float64 (n_relations,): share of the child's images that fire the parent."""


def contained_latents(score: Firings) -> Relations:
    """Find the parents of each latent: containment and lift above the constants, one way only.

    See Also
    --------
    consistency : how many of them follow the taxonomy.

    Examples
    --------
    Of ten images latent 0 fires on two, and latent 1 on these and two more.

    >>> start, image = np.array([0, 2, 6]), np.array([0, 1, 0, 1, 2, 3], np.int32)
    >>> score = Firings(start, image, np.ones(6, np.float32), np.zeros(10, np.int32), n_classes=1)
    >>> found = contained_latents(score)
    >>> found.child.tolist(), found.parent.tolist(), found.containment.tolist()
    ([0], [1], [1.0])
    """
    n_latents = len(score.start) - 1
    latent = np.repeat(np.arange(n_latents), score.n_firing)
    order = np.argsort(score.image, kind="stable")
    first = np.searchsorted(score.image[order], np.arange(len(score.labels) + 1))
    child, parent, share = _contained(
        score.start, score.image, first, latent[order].astype(np.int32), len(score.labels)
    )
    return Relations(child, parent, share)


def consistency(relations: Relations, node: np.ndarray, tree: Tree) -> float:
    """Share of the relations in which the parent's node lies above the child's.

    Above: its classes are the child's and more. Parameters: relations of latents, and int
    (n_latents,) the latents' nodes as positions in the tree, -1 for none. NaN without relations.

    See Also
    --------
    contained_latents : the relations.

    Examples
    --------
    Latent 0, of class a, fires within latent 1, of p, and within latent 2, of q: one of two.

    >>> from cladescope.taxonomy.taxonomy import taxonomy_from_parents
    >>> parents = {"r": [], "p": ["r"], "q": ["r"], "a": ["p"], "b": ["p"], "c": ["q"], "d": ["q"]}
    >>> taxonomy = taxonomy_from_parents([*"abcd"], parents)
    >>> tree = Tree.of(taxonomy)
    >>> node = [tree.node.tolist().index(taxonomy.nodes.index(name)) for name in "apq"]
    >>> relations = Relations(np.array([0, 0]), np.array([1, 2]), np.array([1.0, 0.9]))
    >>> consistency(relations, np.array(node), tree)
    0.5
    """
    if not len(relations.child):
        return np.nan
    child, parent = node[relations.child], node[relations.parent]
    return float((tree.below[child, parent] & (child >= 0) & (parent >= 0)).mean())


class Edges(NamedTuple):
    """Parent–child pairs of nodes that have a latent each, and what happens between the two."""

    parent: np.ndarray
    """int64 (n_edges,): positions of nodes, as `child`."""
    child: np.ndarray
    parent_latent: np.ndarray
    """int64 (n_edges,): positions among the scored latents, as `child_latent`."""
    child_latent: np.ndarray
    absorption: np.ndarray
    """float64 (n_edges,): share of the child's images that fire the child's latent but not the
    parent's, among those that fire the child's latent; NaN if there are none."""
    misses: np.ndarray
    """float64 (n_edges,): share of the parent's other images that do not fire its latent."""
    given: np.ndarray
    """float64 (n_edges,): share of the images that fire the child's latent that fire the parent's,
    too; `rate` if the two were independent."""
    rate: np.ndarray
    """float64 (n_edges,): share of all images that fire the parent's latent."""
    soft: np.ndarray
    """float64 (n_edges,), 0 to 1: by how much the parent's latent is weaker on the child's images
    where the child's latent fires than where it does not; NaN if it never fires where it does not,
    or if there are no images of either kind."""
    overlap: np.ndarray
    """float64 (n_edges,): largest Jaccard index of the child's latent with the latent of another
    child of the parent; NaN if none of these is recovered."""


def absorption(score: Firings, alignment: Alignment, tree: Tree, threshold: float) -> Edges:
    """Look, at every edge of the tree, for a parent's latent that fails where a child's fires.

    Edges count whose two nodes are recovered by different latents. After Chanin et al. 2024
    (arXiv 2409.14507), with the classes under a node as the ground truth instead of a probe: a
    parent's latent that misses the child's images more often than its others is absorbed.

    See Also
    --------
    edge_means : the dictionary's scores.
    splitting : nodes that are found in parts only.
    """
    with np.errstate(invalid="ignore"):
        found = (alignment.finders > 0) & (alignment.node_mcc >= threshold - MCC_SLACK)
    parent, child = tree.edges
    own, other = alignment.node_latent[parent], alignment.node_latent[child]
    kept = found[parent] & found[child] & (own != other)
    parent, child, own, other = parent[kept], child[kept], own[kept], other[kept]
    z = {j: _activation(score, j) for j in np.unique([*own, *other]).tolist()}
    absorbed, misses, given, rate, soft, overlap = np.full((6, len(parent)), np.nan)
    for edge, (p, c) in enumerate(zip(own.tolist(), other.tolist(), strict=True)):
        fires = z[c] > 0
        in_child = tree.covers[score.labels, child[edge]]
        both = in_child & fires
        rest = tree.covers[score.labels, parent[edge]] & ~in_child
        if both.any():
            absorbed[edge] = 1 - (z[p][both] > 0).mean()
        if rest.any():
            misses[edge] = 1 - (z[p][rest] > 0).mean()
        given[edge], rate[edge] = (z[p][fires] > 0).mean(), (z[p] > 0).mean()
        soft[edge] = _weaker(z[p][both], z[p][in_child & ~fires])
        siblings = np.flatnonzero((parent == parent[edge]) & (other != c))
        if len(siblings):
            overlap[edge] = max(_jaccard(fires, z[j] > 0) for j in other[siblings].tolist())
    return Edges(parent, child, own, other, absorbed, misses, given, rate, soft, overlap)


def soft_absorption_at_random(score: Firings, edges: Edges, tree: Tree, seed: int) -> np.ndarray:
    """Return what soft absorption is if the child's latent fires on the child's images at random.

    Returns
    -------
    float64 (n_edges,): over `SOFT_DRAWS` draws; NaN where `Edges.soft` is.
    """
    random, found = np.random.default_rng((seed, Stream.ABSORPTION)), edges.soft.copy()
    for edge in np.flatnonzero(~np.isnan(edges.soft)):
        images = np.flatnonzero(tree.covers[score.labels, edges.child[edge]])
        z = _activation(score, int(edges.parent_latent[edge]))[images]
        n = np.count_nonzero(_activation(score, int(edges.child_latent[edge]))[images])
        order = random.random((SOFT_DRAWS, len(z))).argsort(1)
        found[edge] = mean_of(np.array([_weaker(z[o[:n]], z[o[n:]]) for o in order]))
    return found


def edge_means(edges: Edges) -> dict[str, float]:
    """Average each measure over the edges that have it; NaN without any."""
    return {
        "parent_given_child": mean_of(edges.given),
        "parent_rate": mean_of(edges.rate),
        "sibling_overlap": mean_of(edges.overlap),
        "absorption": mean_of(edges.absorption),
        "soft_absorption": mean_of(edges.soft),
        "parent_misses": mean_of(edges.misses),
    }


def splitting(alignment: Alignment, tree: Tree) -> float:
    """Share of the internal nodes that no latent recovers though two children of theirs are.

    NaN if no internal node has two recovered children.
    """
    found = alignment.finders > 0
    parent, child = tree.edges
    n_found = np.bincount(parent[found[child]], minlength=len(tree.node))
    split = (n_found >= 2) & (tree.kind == INTERNAL)
    return float((~found[split]).mean()) if split.any() else np.nan


def _activation(score: Firings, latent: int) -> np.ndarray:
    """Return a latent's activation on every image."""
    z = np.zeros(len(score.labels), np.float32)
    own = slice(score.start[latent], score.start[latent + 1])
    z[score.image[own]] = score.activation[own]
    return z


def _weaker(some: np.ndarray, others: np.ndarray) -> float:
    """Return 1 − mean(some) / mean(others), at least 0; NaN if that is not defined."""
    if not len(some) or not others.any():
        return np.nan
    return max(0.0, 1 - float(some.mean(dtype=np.float64) / others.mean(dtype=np.float64)))


def _jaccard(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@compiled
def _contained(
    start: np.ndarray, image: np.ndarray, first: np.ndarray, latent: np.ndarray, n_images: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n_latents = len(start) - 1
    shared = np.zeros(n_latents, np.int64)
    touched = np.empty(n_latents, np.int64)
    size = 1024
    child, parent, share = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
    end = 0
    for c in range(n_latents):
        n_touched = 0
        n_child = start[c + 1] - start[c]
        for i in range(start[c], start[c + 1]):
            for k in range(first[image[i]], first[image[i] + 1]):
                p = latent[k]
                if shared[p] == 0:
                    touched[n_touched] = p
                    n_touched += 1
                shared[p] += 1
        for p in np.sort(touched[:n_touched]):
            n_parent = start[p + 1] - start[p]
            inside = shared[p] / n_child
            if (
                p != c
                and inside >= CONTAINMENT
                and shared[p] / n_parent < CONTAINMENT
                and inside * n_images >= LIFT * n_parent
            ):
                if end == size:
                    size *= 2
                    child = np.append(child, np.empty(size // 2, np.int64))
                    parent = np.append(parent, np.empty(size // 2, np.int64))
                    share = np.append(share, np.empty(size // 2))
                child[end], parent[end], share[end] = c, p, inside
                end += 1
            shared[p] = 0
    return child[:end].copy(), parent[:end].copy(), share[:end].copy()
