"""Lowest common hypernyms of top sets, and how they are covered."""

from typing import NamedTuple

import numpy as np

from cladescope.compiled import compiled
from cladescope.scores.counts import ClassCounts
from cladescope.scores.halves import Halves
from cladescope.taxonomy.tree import INTERNAL, Tree

# Slack for turning a share of images into a whole number of them: 0.55 x 100 is 55.00000000000001.
SHARE_SLACK = 1e-9
COHERENT_SHARE = 0.5
"""Share of its node's classes that a coherent latent covers, and of its images under the node."""

LEAST_BITS = 1.0 - 1e-9
"""Information content that a node must have to be covered: at most half of the classes."""


class Located(NamedTuple):
    """The nodes of the latents, as positions in the tree (-1 for none), and what follows."""

    lch: np.ndarray
    """int32 (n_latents,): the deepest node over the whole top set of the choosing half."""
    lch_tau: np.ndarray
    """int32 (n_latents,): the deepest over a share tau of it."""
    columns: dict[str, np.ndarray]
    """float64 (n_latents,) by name, NaN if missing; measured on the scoring half."""


def locate(halves: Halves, tree: Tree, tau: float, rho: float) -> Located:
    """Find LCH and LCH_τ of each latent, and measure how its top set lies under them.

    The LCH is the deepest node that covers the top set, LCH_τ the deepest that covers a share tau;
    ties go to the first in node order. Source: arXiv 2505.15970, with the share tau added.
    """
    n_chosen = np.minimum(halves.choose.n_firing, halves.top_n)
    needed = np.array([images_needed(n_chosen, share) for share in (1.0, tau)])
    lch, lch_tau = lowest_common(halves.choose_top, needed, tree)
    inside, n_classes, squares = under_node(halves.top, tree, lch_tau)
    n_top = np.minimum(halves.score.n_firing, halves.top_n)
    # To cover most classes says nothing: random images do.
    specific = tree.ic[lch_tau] >= LEAST_BITS
    even = np.where(specific, evenness(inside, squares, tree.n_leaves[lch_tau]), 0.0)
    internal = tree.kind[lch_tau] == INTERNAL
    with np.errstate(invalid="ignore"):
        lch_share = under_node(halves.top, tree, lch)[0] / n_top
        share = inside / n_top
    coherent = internal & (n_classes >= 2) & (share >= COHERENT_SHARE) & (even >= COHERENT_SHARE)
    columns = {
        "lch_height": tree.height[lch],
        "lch_height_contracted": tree.height_contracted[lch],
        "lch_tau_height": tree.height[lch_tau],
        "lch_tau_height_contracted": tree.height_contracted[lch_tau],
        "lch_share": lch_share,
        "lch_tau_share": share,
        "coverage": active_coverage(halves, tree, lch, rho),
        "coverage_tau": active_coverage(halves, tree, lch_tau, rho),
        "coverage_top": even,
        "coherent": coherent,
        "internal": internal,
    }
    known = (lch >= 0) & (n_top > 0)
    return Located(
        lch, lch_tau, {name: np.where(known, values, np.nan) for name, values in columns.items()}
    )


def lowest_common(top: ClassCounts, needed: np.ndarray, tree: Tree) -> np.ndarray:
    """Find the first node, in node order, over at least `needed` of each latent's images.

    Parameters
    ----------
    top, needed
        Classes of the images, and real (n_latents,) or (n, n_latents) numbers of images.

    Returns
    -------
    int32, in the shape of `needed`: position in the tree, -1 without images.

    See Also
    --------
    images_needed : the number of images that a share comes to.
    cladescope.scores.pair_lch.pair_heights : the LCH of two images instead of all.

    Examples
    --------
    Classes a, b lie under p, and c, d under q. Of a latent's four images three are of a and one of
    b: p covers all of them, a covers three quarters.

    >>> from cladescope.taxonomy.taxonomy import taxonomy_from_parents
    >>> parents = {"r": [], "p": ["r"], "q": ["r"], "a": ["p"], "b": ["p"], "c": ["q"], "d": ["q"]}
    >>> taxonomy = taxonomy_from_parents([*"abcd"], parents)
    >>> tree = Tree.of(taxonomy)
    >>> top = ClassCounts(np.array([0, 2]), np.array([0, 1]), np.array([3, 1]))
    >>> found = [lowest_common(top, np.array([needed]), tree)[0] for needed in (4, 3)]
    >>> [(taxonomy.nodes[tree.node[node]], int(tree.height[node])) for node in found]
    [('p', 1), ('a', 0)]
    """
    found = _lowest_common(top, np.atleast_2d(needed).T.copy(), tree.upward, len(tree.node))
    return found.T.reshape(needed.shape)


def active_coverage(halves: Halves, tree: Tree, node: np.ndarray, rho: float) -> np.ndarray:
    """Ontological Coverage of a latent, |{c ∈ L(v): c is active}| / |L(v)|, v its node.

    A class is active if at least a share `rho` of its images on the scoring half fire the latent.
    Source: arXiv 2505.15970.

    Returns
    -------
    float64 (n_latents,), 0 to 1; of no meaning where `node` is -1.

    See Also
    --------
    evenness : how evenly the top set spreads over the node's classes.

    Examples
    --------
    A latent fires on both images of a, on one of two of b and on one of two of c. With ρ = 1/2 both
    classes of p are active, with ρ = 1 one of them.

    >>> from cladescope.taxonomy.taxonomy import taxonomy_from_parents
    >>> parents = {"r": [], "p": ["r"], "q": ["r"], "a": ["p"], "b": ["p"], "c": ["q"], "d": ["q"]}
    >>> taxonomy = taxonomy_from_parents([*"abcd"], parents)
    >>> tree = Tree.of(taxonomy)
    >>> from cladescope.codes.codes import Codes
    >>> from cladescope.scores.halves import halve
    >>> image, latent = np.array([0, 1, 4, 2]), np.zeros(4, int)
    >>> codes = Codes(image, latent, np.array([4, 3, 2, 1], np.float32), n_images=8, width=1)
    >>> labels = np.array([0, 1, 2, 3, 0, 1, 2, 3])
    >>> halves = halve(codes, labels, n_classes=4, top_n=3)
    >>> p = np.array([tree.node.tolist().index(taxonomy.nodes.index("p"))])
    >>> [active_coverage(halves, tree, p, rho).tolist() for rho in (0.5, 1.0)]
    [[1.0], [0.5]]
    """
    needed = images_needed(halves.score.class_size, rho)
    n_active = _active_under(halves.firing, needed, tree.classes, node)
    return n_active / tree.n_leaves[node]


def images_needed(total: np.ndarray | int, share: float) -> np.ndarray:
    """Return the smallest whole number of images that is a share of `total`, or more.

    Raises ValueError unless 0 < share <= 1.

    Examples
    --------
    >>> images_needed(32, 0.9).tolist(), images_needed(100, 0.55).tolist()
    (29.0, 55.0)
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share must be above 0 and at most 1, not {share}")
    return np.ceil(np.asarray(total, np.float64) * share - SHARE_SLACK)


def evenness(n_images: np.ndarray, squares: np.ndarray, n_leaves: np.ndarray) -> np.ndarray:
    """How evenly n images spread over the classes of a node, as a share of what chance would do.

    The effective number of classes among n images, n_c of class c, is 1 / Σ (n_c/n)² (Simpson;
    Hill's number of order 2). Images drawn evenly from L classes have an expected Σ (n_c/n)² of
    1/L + (1 − 1/L)/n. The result is that expectation divided by the observed sum, at most 1: for
    many images the effective share of the node's classes, and fair where n is less than L.

    Parameters
    ----------
    n_images, squares, n_leaves
        Real (n_latents,): images under the node, Σ n_c², classes of the node.

    Returns
    -------
    float64 (n_latents,), 0 to 1; 0 without images.

    See Also
    --------
    active_coverage : the paper's coverage, by classes that fire the latent.

    Examples
    --------
    Two images of each of two classes are even. Of three and one, Σ (n_c/n)² is 10/16; by chance it
    is 1/2 + 1/8 = 10/16 on average. Four of one class: 10/16 / 1.

    >>> evenness(np.array([4, 4, 4]), np.array([8, 10, 16]), np.array([2, 2, 2])).tolist()
    [1.0, 1.0, 0.625]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = (n_images + n_leaves - 1) / (n_images * n_leaves)
        share = expected * n_images.astype(np.float64) ** 2 / squares
    return np.where(n_images > 0, np.minimum(share, 1), 0.0)


def under_node(
    top: ClassCounts, tree: Tree, node: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count each latent's images and classes under its node, and sum the squared class counts."""
    return _under_node(top, tree.classes, node)


@compiled
def _lowest_common(
    top: ClassCounts, needed: np.ndarray, upward: tuple[np.ndarray, np.ndarray], n_nodes: int
) -> np.ndarray:
    start, label, count = top
    up_start, up_node = upward
    lowest = np.full(needed.shape, -1, np.int32)
    images = np.zeros(n_nodes, np.int64)
    for j in range(len(needed)):
        for i in range(start[j], start[j + 1]):
            for u in range(up_start[label[i]], up_start[label[i] + 1]):
                v = up_node[u]
                images[v] += count[i]
                for k in range(needed.shape[1]):
                    if images[v] >= needed[j, k] and (lowest[j, k] < 0 or v < lowest[j, k]):
                        lowest[j, k] = v
        for i in range(start[j], start[j + 1]):
            for u in range(up_start[label[i]], up_start[label[i] + 1]):
                images[up_node[u]] = 0
    return lowest


@compiled
def _active_under(
    firing: ClassCounts, needed: np.ndarray, classes: np.ndarray, node: np.ndarray
) -> np.ndarray:
    start, label, count = firing
    active = np.zeros(len(start) - 1, np.int64)
    for j in range(len(active)):
        for i in range(start[j], start[j + 1]):
            if count[i] >= needed[label[i]] and classes[node[j], label[i]]:
                active[j] += 1
    return active


@compiled
def _under_node(
    top: ClassCounts, classes: np.ndarray, node: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    start, label, count = top
    n = len(start) - 1
    images, n_classes, squares = np.zeros((3, n), np.int64)
    for j in range(n):
        for i in range(start[j], start[j + 1]):
            if node[j] >= 0 and classes[node[j], label[i]]:
                images[j] += count[i]
                n_classes[j] += 1
                squares[j] += count[i] * count[i]
    return images, n_classes, squares
