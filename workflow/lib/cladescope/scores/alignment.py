"""Which node each latent matches best, and which latent each node: chosen and then tested.

MCC (Matthews correlation) of "image is among the r on which the latent fires most" and "image is
under the node": (n·tp − r·p) / √(r (n − r) p (n − p)), with n images, p under the node and tp both;
0 where the divisor is 0 (a cut-off or a node with no image, or with all). Nodes without an image
among those that fire the latent are not looked at.
"""

from typing import NamedTuple

import numpy as np

from cladescope.compiled import compiled
from cladescope.scores.halves import Halves
from cladescope.taxonomy.tree import LEAF, Tree

MCC_SLACK = 1e-9
"""Two MCCs that differ by no more are equal, so that rounding decides nothing."""


class BestNode(NamedTuple):
    """The node and the cut-off that match each latent best on the choosing half."""

    node: np.ndarray
    """int32 (n_latents,): position in the tree, -1 if there is none."""
    mcc: np.ndarray
    """float64 (n_latents,): on the scoring half, as all that follows; NaN without a node."""
    cutoff: np.ndarray
    """float64 (n_latents,): images above the cut-off."""
    precision: np.ndarray
    """float64 (n_latents,): share of those images that are under the node."""
    recall: np.ndarray
    """float64 (n_latents,): share of the node's images that are above the cut-off."""


class Alignment(NamedTuple):
    """Best nodes of the latents, best latents of the nodes."""

    best: BestNode
    """Over leaves and internal nodes."""
    best_internal: BestNode
    node_latent: np.ndarray
    """int32 (n_nodes,): the latent that matches each node best on the choosing half, or -1."""
    node_mcc: np.ndarray
    """float64 (n_nodes,): that latent's MCC on the scoring half; NaN without a latent."""
    finders: np.ndarray
    """int32 (n_nodes,): latents with an MCC at the threshold or above on both halves."""


def align(halves: Halves, tree: Tree, cutoffs: tuple[int, ...], threshold: float) -> Alignment:
    """Find the best node of each latent and the best latent of each node.

    Best is the largest MCC over nodes and cut-offs (images, or all that fire the latent) on the
    choosing half; ties, within `MCC_SLACK`, go to the smaller cut-off, then to the first node, or
    the first latent.

    See Also
    --------
    auroc : the same question without a cut-off.
    cladescope.scores.measure.recovery : share of the nodes that have a finder.

    Examples
    --------
    Classes a, b lie under p, and c, d under q. A latent fires most on images of a, b, a, then on
    one of c. Its three strongest images against p: (8·3 − 3·4) / √(3·5·4·4) = 12 / 15.49.

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
    >>> best = align(halves, tree, cutoffs=(3,), threshold=0.5).best
    >>> taxonomy.nodes[tree.node[best.node[0]]], round(float(best.mcc[0]), 3)
    ('p', 0.775)
    >>> best.cutoff.tolist(), best.precision.tolist(), best.recall.tolist()
    ([3.0], [1.0], [0.75])
    """
    sides = []
    for half in (halves.choose, halves.score):
        size = tree.node_sizes(half.class_size)
        spread = np.sqrt(size * (len(half.labels) - size))
        inverse = np.divide(1, spread, out=np.zeros(len(size)), where=spread > 0)
        sides.append((half.start, half.label, size, inverse, float(len(half.labels))))
    edges = np.array(sorted(set(cutoffs)), np.int64)
    node, mcc, hits, cutoff, node_latent, node_mcc, finders = _align(
        *sides, tree.upward_below_root, tree.kind, edges, threshold - MCC_SLACK
    )
    sizes = sides[1][2]
    with np.errstate(invalid="ignore", divide="ignore"):
        best, best_internal = (
            BestNode(
                node[row],
                mcc[row],
                cutoff[row],
                hits[row] / cutoff[row],
                hits[row] / sizes[node[row]],
            )
            for row in range(2)
        )
    return Alignment(best, best_internal, node_latent, node_mcc, finders)


def auroc(halves: Halves, tree: Tree, node: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of the activation as a sign that an image is under the node.

    The chance that an image under the node has a larger activation than one that is not, on the
    scoring half; equal activations, 0 of images that do not fire it too, count half.

    Parameters
    ----------
    node
        Int (n_latents,): a node for each latent, -1 for none.

    Returns
    -------
    float64 (n_latents,), 0 to 1; NaN without a node, or if all images or none are under it.

    See Also
    --------
    align : the best node, by MCC at the best cut-off.

    Examples
    --------
    Node p has four of eight images. Three of them beat the other four; the fourth, which does not
    fire the latent, loses against the image of c and ties with three: (12 + 0 + 1.5) / 16.

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
    >>> p = tree.node.tolist().index(taxonomy.nodes.index("p"))
    >>> auroc(halves, tree, np.array([p])).tolist()
    [0.84375]
    """
    score = halves.score
    sizes = tree.node_sizes(score.class_size)
    firings = (score.start, score.label, score.activation)
    return _auroc(firings, len(score.labels), tree.covers, node, sizes)


@compiled
def _inverse(r: float, n: float) -> float:
    """1 / √(r (n − r)), the part of the MCC's divisor that is the same for all nodes; or 0."""
    return 1 / np.sqrt(r * (n - r)) if r < n else 0.0


@compiled
def _clipped(mcc: float) -> float:
    """Undo rounding: 1.0000000000000002."""
    return min(1.0, max(-1.0, mcc))


@compiled
def _align(
    choose: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float],
    score: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float],
    upward: tuple[np.ndarray, np.ndarray],
    kind: np.ndarray,
    cutoffs: np.ndarray,
    threshold: float,
) -> tuple[np.ndarray, ...]:
    """Follow each latent's images, strongest first, and count them at every node above.

    `choose` and `score` are a half's starts, labels, images per node, 1 / √(p (n − p)) per node
    and number of images.
    """
    up_start, up_node = upward
    start_a, label_a, size_a, inverse_a, n_a = choose
    start_b, label_b, size_b, inverse_b, n_b = score
    n_latents, n_nodes, every = len(start_a) - 1, len(kind), len(cutoffs)
    best = np.full((2, n_latents), -1, np.int32)
    best_mcc = np.full((2, n_latents), np.nan)
    best_hits, best_cutoff = np.full((2, n_latents), np.nan), np.full((2, n_latents), np.nan)
    node_latent = np.full(n_nodes, -1, np.int32)
    node_choice, node_mcc = np.full(n_nodes, -np.inf), np.full(n_nodes, np.nan)
    finders = np.zeros(n_nodes, np.int32)

    hits_a, hits_b = np.zeros(n_nodes, np.int32), np.zeros(n_nodes, np.int32)
    touched, wanted = np.empty(n_nodes + 1, np.int32), np.empty(n_nodes, np.int32)
    is_wanted = np.zeros(n_nodes, np.bool_)
    value, at_cut = np.full(n_nodes, -np.inf), np.zeros(n_nodes, np.int64)
    for j in range(n_latents):
        # On the choosing half: the best cut-off for every node, then the best node.
        n_touched, cut = 0, 0
        n_firing = start_a[j + 1] - start_a[j]
        for i in range(start_a[j], start_a[j + 1]):
            c = label_a[i]
            for u in range(up_start[c], up_start[c + 1]):
                v = up_node[u]
                # Without a branch: whether a node is new is hard to foresee.
                touched[n_touched] = v
                n_touched += hits_a[v] == 0
                hits_a[v] += 1
            r = i + 1 - start_a[j]
            last = r == n_firing
            if last or (cut < every and r == cutoffs[cut]):
                inverse = _inverse(r, n_a)
                for t in range(n_touched):
                    v = touched[t]
                    mcc = _clipped((n_a * hits_a[v] - r * size_a[v]) * inverse_a[v] * inverse)
                    if mcc > value[v] + MCC_SLACK:
                        value[v], at_cut[v] = mcc, every if last else cut
                cut += 1
        for t in range(n_touched):
            v = touched[t]
            for k in range(1 if kind[v] == LEAF else 2):
                w = best[k, j]
                if (
                    w < 0
                    or value[v] > value[w] + MCC_SLACK
                    or (value[v] >= value[w] - MCC_SLACK and (at_cut[v], v) < (at_cut[w], w))
                ):
                    best[k, j] = v

        # On the scoring half: how well the choices hold that this latent may matter for.
        n_wanted, cut = 0, 0
        n_firing = start_b[j + 1] - start_b[j]
        for t in range(n_touched):
            v = touched[t]
            hits_a[v] = 0
            chosen = v == best[0, j] or v == best[1, j]
            if chosen or value[v] >= threshold or value[v] > node_choice[v] + MCC_SLACK:
                wanted[n_wanted], is_wanted[v] = v, True
                n_wanted += 1
        for i in range(start_b[j], start_b[j + 1]):
            c = label_b[i]
            for u in range(up_start[c], up_start[c + 1]):
                hits_b[up_node[u]] += is_wanted[up_node[u]]
            r = i + 1 - start_b[j]
            last = r == n_firing
            if last or (cut < every and r == cutoffs[cut]):
                inverse = _inverse(r, n_b)
                for t in range(n_wanted):
                    v = wanted[t]
                    if at_cut[v] == cut or (last and at_cut[v] > cut):
                        mcc = _clipped((n_b * hits_b[v] - r * size_b[v]) * inverse_b[v] * inverse)
                        for k in range(2):
                            if v == best[k, j]:
                                best_mcc[k, j], best_hits[k, j] = mcc, hits_b[v]
                                best_cutoff[k, j] = r
                        if value[v] > node_choice[v] + MCC_SLACK:
                            node_choice[v], node_mcc[v], node_latent[v] = value[v], mcc, j
                        if value[v] >= threshold and mcc >= threshold:
                            finders[v] += 1
                cut += 1
        for t in range(n_wanted):
            hits_b[wanted[t]], is_wanted[wanted[t]] = 0, False
        for t in range(n_touched):
            value[touched[t]] = -np.inf
    return best, best_mcc, best_hits, best_cutoff, node_latent, node_mcc, finders


@compiled
def _auroc(
    firings: tuple[np.ndarray, np.ndarray, np.ndarray],
    n_images: int,
    covers: np.ndarray,
    node: np.ndarray,
    sizes: np.ndarray,
) -> np.ndarray:
    start, label, activation = firings
    result = np.full(len(start) - 1, np.nan)
    for j in range(len(result)):
        v = node[j]
        positives, negatives = sizes[v], n_images - sizes[v]
        if v < 0 or positives == 0 or negatives == 0:
            continue
        wins, positives_left, negatives_left = 0.0, positives, negatives
        i = start[j]
        while i < start[j + 1]:
            tied, hits = i, 0.0
            while i < start[j + 1] and activation[i] == activation[tied]:
                hits += 1.0 if covers[label[i], v] else 0.0
                i += 1
            others = i - tied - hits
            positives_left -= hits
            negatives_left -= others
            wins += hits * (negatives_left + 0.5 * others)
        wins += 0.5 * positives_left * negatives_left
        result[j] = wins / (positives * negatives)
    return result
