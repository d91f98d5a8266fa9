"""How well activations tell the images under a node from the others, whatever the cut-off."""

import numpy as np

from cladescope.compiled import compiled
from cladescope.scores.halves import Halves
from cladescope.taxonomy.tree import Tree


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
    cladescope.scores.alignment.align : the best node, by MCC at the best cut-off.

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
