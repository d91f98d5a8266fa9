"""k-sparse probing: how well a node is told from the rest by its k most telling columns alone.

After Gurnee et al. 2023 (arXiv 2305.01610) and SAEBench (arXiv 2503.09532), which fit a logistic
regression; here it is a linear regression on ±1 in which members and others weigh the same.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csc_array

from cladescope.uses.rows import Rows, sums
from cladescope.uses.table import ACCURACY, CHANCE, NODE, SPARSE_PROBES, Images, Measured

RIDGE = 1e-6
"""Added to the columns' covariance, as a share of its mean diagonal."""
_DIGITS = 9
"""Columns are rounded to so many digits of their largest value: one that is constant is 0."""


def sparse_probes(rows: Rows, images: Images, numbers: tuple[int, ...]) -> Iterator[Measured]:
    """Yield, for each number of columns k, the balanced accuracy of each internal node.

    The k columns whose means on members and on others differ most (ties: the first) are chosen on
    the half that is learnt from, and the regression fitted there; images of the other half are
    members where it is above 0, with probability ½ where it is 0. NaN without images of
    either kind in either half.
    """
    tree, most = images.tree, min(max(numbers), rows.shape[1])
    member = tree.covers[:, tree.internal][images.labels]
    chosen = _telling(rows, images)[:, :most]
    accuracy = np.full((len(numbers), member.shape[1]), np.nan)
    columns = rows if isinstance(rows, np.ndarray) else csc_array(rows)
    for v, (latents, truth) in enumerate(zip(chosen, member.T, strict=True)):
        if all(0 < truth[half].sum() < half.sum() for half in (images.learnt, images.tested)):
            x = columns[:, latents]
            x = x if isinstance(x, np.ndarray) else x.toarray()
            for row, k in enumerate(numbers):
                accuracy[row, v] = _accuracy(x[:, :k], truth, images)
    node, chance = tree.node[tree.internal], np.full(member.shape[1], CHANCE)
    for k, found in zip(numbers, accuracy, strict=True):
        yield Measured(SPARSE_PROBES, ACCURACY, NODE, node, found, chance, k)


def _telling(rows: Rows, images: Images) -> np.ndarray:
    """Return the columns of each internal node, int (nodes, columns), the most telling first."""
    tree, n = images.tree, len(images.tree.covers)
    learnt = np.where(images.learnt, images.labels, -1)
    total, size = sums(rows, learnt, n), np.bincount(images.labels[images.learnt], minlength=n)
    parts = []
    for part in (tree.covers[:, tree.internal], ~tree.covers[:, tree.internal]):
        parts.append(part.T @ total / np.maximum(size @ part, 1)[:, None])
    difference = np.abs(parts[0] - parts[1])
    largest = difference.max(1, keepdims=True)
    difference = np.round(difference / np.where(largest > 0, largest, 1.0), _DIGITS)
    return np.argsort(-difference, axis=1, kind="stable")


def _accuracy(
    x: Float[np.ndarray, "images k"], truth: Bool[np.ndarray, " images"], images: Images
) -> float:
    """Fit on one half and return the balanced accuracy on the other."""
    learnt = images.learnt
    largest = np.abs(x[learnt]).max(0)
    x = x / np.where(largest > 0, largest, 1.0)
    means = [x[learnt & kind].mean(0) for kind in (truth, ~truth)]
    x = np.round(x - (means[0] + means[1]) / 2, _DIGITS)
    # Half of the weight on members and half on others: their mean is 0, that of ±1 too.
    covariance = sum(x[part].T @ x[part] / part.sum() for part in (learnt & truth, learnt & ~truth))
    ridge = RIDGE * np.trace(covariance) / len(covariance) or 1.0
    weight = np.linalg.solve(
        covariance + ridge * np.eye(len(covariance)), np.round(means[0] - means[1], _DIGITS)
    )
    called = (np.sign(x[images.tested] @ weight) + 1) / 2
    right = np.where(truth[images.tested], called, 1 - called)
    return float(np.mean([right[truth[images.tested] == kind].mean() for kind in (True, False)]))
