"""Rows compared by their cosine, and ridge regression: what several stages measure with.

A matrix of all rows by all rows is never in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

BLOCK_ROWS = 1024
"""Rows compared with all others at a time."""


def unit_rows(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Return the rows at length 1; a row of zeros stays as it is."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def cosine_blocks(
    rows: Float[np.ndarray, "n d"], others: Float[np.ndarray, "m d"] | None = None
) -> Iterator[Float[np.ndarray, "block m"]]:
    """Yield the cosines of unit rows with other unit rows, a block of rows at a time.

    Parameters
    ----------
    others
        None compares the rows with one another; the cosine of a row with itself is then -inf.
    """
    for first in range(0, len(rows), BLOCK_ROWS):
        cosine = rows[first : first + BLOCK_ROWS] @ (rows if others is None else others).T
        if others is None:
            own = np.arange(len(cosine))
            cosine[own, first + own] = -np.inf
        yield cosine


def nearest(
    rows: Float[np.ndarray, "n d"], others: Float[np.ndarray, "m d"] | None, k: int
) -> tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """Return each unit row's nearest others and their cosines, nearest first; ties in any order.

    Parameters
    ----------
    others
        Unit rows; None takes the rows themselves, of which none is its own neighbour.
    k
        Neighbours; all others if there are fewer.
    """
    k = min(k, len(rows) - 1 if others is None else len(others))
    found, cosines = [], []
    for cosine in cosine_blocks(rows, others):
        near = np.argpartition(-cosine, max(k - 1, 0), axis=1)[:, :k]
        value = np.take_along_axis(cosine, near, 1)
        order = np.argsort(-value, axis=1, kind="stable")
        found.append(np.take_along_axis(near, order, 1))
        cosines.append(np.take_along_axis(value, order, 1))
    return np.concatenate(found), np.concatenate(cosines)


def vote(labels: Int[np.ndarray, "n k"]) -> Int[np.ndarray, " n"]:
    """Return the commonest label of each row; among equally common ones the first in the row.

    See Also
    --------
    nearest : the neighbours that vote.

    Examples
    --------
    >>> vote(np.array([[1, 2, 2], [3, 1, 2]])).tolist()
    [2, 3]
    """
    votes = (labels[:, :, None] == labels[:, None, :]).sum(2)
    return np.take_along_axis(labels, votes.argmax(1)[:, None], 1)[:, 0]


@dataclass(frozen=True, eq=False)
class Ridge:
    """Scores of the classes, x W + b, by ridge regression on their one-hot labels.

    W = (X'ᵀX' + ρ tr(X'ᵀX')/d · I)⁻¹ X'ᵀY,   b = ȳ - x̄ W,   X' = X - x̄.
    """

    weight: Float[np.ndarray, "d classes"]
    bias: Float[np.ndarray, " classes"]

    @classmethod
    def fit(
        cls,
        x: Float[np.ndarray, "n d"],
        labels: Int[np.ndarray, " n"],
        n_classes: int,
        penalty: float,
    ) -> "Ridge":
        """Solve in closed form, in float64.

        Parameters
        ----------
        penalty
            ρ, a share of the mean eigenvalue of the scatter matrix.
        """
        x = x.astype(np.float64)
        mean = x.mean(0)
        size = np.bincount(labels, minlength=n_classes)
        sums = np.zeros((n_classes, x.shape[1]))
        np.add.at(sums, labels, x)
        x -= mean
        scatter = x.T @ x
        # 1 where nothing varies, and all weights are 0.
        ridge = penalty * np.trace(scatter) / len(scatter) or 1.0
        weight = np.linalg.solve(
            scatter + ridge * np.eye(len(scatter)), (sums - size[:, None] * mean).T
        )
        return cls(weight, size / len(x) - mean @ weight)

    def scores(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n classes"]:
        """Return the score of every class, in the precision of `x`."""
        return x @ self.weight.astype(x.dtype) + self.bias.astype(x.dtype)
