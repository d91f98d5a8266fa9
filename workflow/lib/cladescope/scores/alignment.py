"""Which node each latent matches best, and which latent each node: chosen and then tested.

MCC (Matthews correlation) of "image is among the r on which the latent fires most" and "image is
under the node": (n·tp − r·p) / √(r (n − r) p (n − p)), with n images, p under the node and tp both;
0 where the divisor is 0 (a cut-off or a node with no image, or with all). Nodes without an image
among those that fire the latent are not looked at.
"""

from typing import NamedTuple

import numpy as np

from cladescope.compiled import compiled
from cladescope.scores.counts import CutCounts
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
    own_finders: np.ndarray
    """int32 (n_nodes,): of these, latents that match each child of the node less, on both
    halves; 0 for leaves."""


def align(halves: Halves, tree: Tree, cutoffs: tuple[int, ...], threshold: float) -> Alignment:
    """Find the best node of each latent and the best latent of each node.

    Best is the largest MCC over nodes and cut-offs (images, or all that fire the latent) on the
    choosing half; ties, within `MCC_SLACK`, go to the smaller cut-off, then to the first node, or
    the first latent.

    See Also
    --------
    cladescope.scores.auroc.auroc : the same question without a cut-off.
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
        sides.append(_Side(half.cut_counts(cutoffs), size, inverse, float(len(half.labels))))
    nodes = _Nodes(*tree.upward_below_root, *tree.children, tree.kind, tree.classes)
    node, mcc, hits, cutoff, node_latent, node_mcc, finders, own_finders = _align(
        *sides, nodes, threshold - MCC_SLACK
    )
    sizes = sides[1].size
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
    return Alignment(best, best_internal, node_latent, node_mcc, finders, own_finders)


@compiled
def _inverse(r: float, n: float) -> float:
    """1 / √(r (n − r)), the part of the MCC's divisor that is the same for all nodes; or 0."""
    return 1 / np.sqrt(r * (n - r)) if r < n else 0.0


@compiled
def _clipped(mcc: float) -> float:
    """Undo rounding: 1.0000000000000002."""
    return min(1.0, max(-1.0, mcc))


class _Side(NamedTuple):
    """A half's counts, and of each node its images p and 1 / √(p (n − p)); n is all images."""

    counts: CutCounts
    size: np.ndarray
    inverse: np.ndarray
    n_images: float


class _Nodes(NamedTuple):
    """The tree's lists, as `Tree` has them."""

    up_start: np.ndarray
    up_node: np.ndarray
    down_start: np.ndarray
    down_node: np.ndarray
    kind: np.ndarray
    classes: np.ndarray


class _OneLatent(NamedTuple):
    """What is known of one latent and each node."""

    hits: np.ndarray
    """Images so far."""
    value: np.ndarray
    """Best MCC on the choosing half, −∞ if there is none."""
    at_cut: np.ndarray
    """The part of the counts that it is reached at."""
    held: np.ndarray
    """MCC at the same cut-off on the scoring half, for the nodes that it is asked for."""


@compiled
def _align(choose: _Side, score: _Side, nodes: _Nodes, threshold: float) -> tuple[np.ndarray, ...]:
    """Match each latent with every node above its images, and hold on to what is best."""
    n_latents, n_nodes = len(choose.counts.end), len(nodes.kind)
    best, best_hits = np.full((2, n_latents), -1, np.int32), np.full((2, n_latents), np.nan)
    best_mcc, best_cutoff = np.full((2, n_latents), np.nan), np.full((2, n_latents), np.nan)
    node_latent = np.full(n_nodes, -1, np.int32)
    node_choice, node_mcc = np.full(n_nodes, -np.inf), np.full(n_nodes, np.nan)
    finders, own_finders = np.zeros(n_nodes, np.int32), np.zeros(n_nodes, np.int32)

    touched, wanted = np.empty(n_nodes + 1, np.int32), np.empty(n_nodes, np.int32)
    is_wanted = np.zeros(n_nodes, np.bool_)
    one = _OneLatent(
        np.zeros(n_nodes, np.int32),
        np.full(n_nodes, -np.inf),
        np.zeros(n_nodes, np.int64),
        np.full(n_nodes, -np.inf),
    )
    for j in range(n_latents):
        n_touched = _match(choose, nodes, j, one, touched)
        best[0, j], best[1, j] = _best_of(touched[:n_touched], nodes.kind, one)
        # What this latent may matter for: its own nodes, and nodes that it matches well.
        n_wanted = 0
        for t in range(n_touched + 2):
            v = touched[t] if t < n_touched else best[t - n_touched, j]
            finds = v >= 0 and one.value[v] >= threshold
            matters = t >= n_touched or finds or one.value[v] > node_choice[v] + MCC_SLACK
            if v >= 0 and matters and not is_wanted[v]:
                wanted[n_wanted], is_wanted[v] = v, True
                n_wanted += 1
            if finds and nodes.kind[v] != LEAF:
                for d in range(nodes.down_start[v], nodes.down_start[v + 1]):
                    u = nodes.down_node[d]
                    if one.value[u] > -np.inf and not is_wanted[u]:
                        wanted[n_wanted], is_wanted[u] = u, True
                        n_wanted += 1
        for t in range(n_wanted):
            v = wanted[t]
            mcc, hits, r = _hold(score, nodes.classes, j, v, one.at_cut[v])
            one.held[v], is_wanted[v] = mcc, False
            if r == 0:
                continue
            for k in range(2):
                if v == best[k, j]:
                    best_mcc[k, j], best_hits[k, j], best_cutoff[k, j] = mcc, hits, r
            if one.value[v] > node_choice[v] + MCC_SLACK:
                node_choice[v], node_mcc[v], node_latent[v] = one.value[v], mcc, j
            finders[v] += one.value[v] >= threshold and mcc >= threshold
        for t in range(n_wanted):
            own_finders[wanted[t]] += _is_own(wanted[t], nodes, one, threshold)
        for t in range(n_wanted):
            one.held[wanted[t]] = -np.inf
        for t in range(n_touched):
            one.value[touched[t]] = -np.inf
    return best, best_mcc, best_hits, best_cutoff, node_latent, node_mcc, finders, own_finders


@compiled
def _match(half: _Side, nodes: _Nodes, j: int, one: _OneLatent, touched: np.ndarray) -> int:
    """List the nodes above a latent's images, with the best MCC of each over the cut-offs."""
    hits, value, at_cut = one.hits, one.value, one.at_cut
    (end, start, label, images), size, inverse_of, n = half
    up_start, up_node = nodes.up_start, nodes.up_node
    n_touched, n_parts = 0, end.shape[1]
    for p in range(n_parts):
        r = end[j, p]
        if r == 0:
            continue
        row = j * n_parts + p
        for e in range(start[row], start[row + 1]):
            for u in range(up_start[label[e]], up_start[label[e] + 1]):
                v = up_node[u]
                # Without a branch: whether a node is new is hard to foresee.
                touched[n_touched] = v
                n_touched += hits[v] == 0
                hits[v] += images[e]
        inverse = _inverse(r, n)
        for t in range(n_touched):
            v = touched[t]
            mcc = (n * hits[v] - r * size[v]) * inverse_of[v] * inverse
            if mcc > value[v] + MCC_SLACK:
                value[v], at_cut[v] = mcc, p
    for t in range(n_touched):
        hits[touched[t]] = 0
    return n_touched


@compiled
def _best_of(touched: np.ndarray, kind: np.ndarray, one: _OneLatent) -> tuple[int, int]:
    """Return the node of the largest MCC, and the internal one; -1 for none."""
    value, at_cut = one.value, one.at_cut
    top, internal = -1, -1
    most, most_internal = -np.inf, -np.inf
    for v in touched:
        x = value[v]
        if x > most + MCC_SLACK or (x >= most - MCC_SLACK and (at_cut[v], v) < (at_cut[top], top)):
            top, most = v, x
        if x >= most_internal - MCC_SLACK and kind[v] != LEAF:
            further = x > most_internal + MCC_SLACK
            if further or (at_cut[v], v) < (at_cut[internal], internal):
                internal, most_internal = v, x
    return top, internal


@compiled
def _hold(half: _Side, classes: np.ndarray, j: int, v: int, at_cut: int) -> tuple[float, int, int]:
    """Return a latent's MCC with a node at a cut-off, its images under the node, and all of them.

    Where the latent fires on fewer images than the cut-off, these are all.
    """
    (end, start, label, images), size, inverse_of, n = half
    n_parts = end.shape[1]
    last = at_cut if end[j, at_cut] > 0 else n_parts - 1
    hits, r = 0, end[j, last]
    for e in range(start[j * n_parts], start[j * n_parts + last + 1]):
        hits += images[e] * classes[v, label[e]]
    if r == 0:
        return -np.inf, 0, 0
    return _clipped((n * hits - r * size[v]) * inverse_of[v] * _inverse(r, n)), hits, r


@compiled
def _is_own(v: int, nodes: _Nodes, one: _OneLatent, threshold: float) -> bool:
    """Say whether a latent finds an internal node and matches each of its children less."""
    if nodes.kind[v] == LEAF or one.value[v] < threshold or one.held[v] < threshold:
        return False
    for d in range(nodes.down_start[v], nodes.down_start[v + 1]):
        u = nodes.down_node[d]
        chosen = one.value[v] > one.value[u] + MCC_SLACK
        if not (chosen and one.held[v] > one.held[u] + MCC_SLACK):
            return False
    return True
