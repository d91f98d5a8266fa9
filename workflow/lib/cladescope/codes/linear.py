"""Whether a reconstruction keeps what tells classes apart: a linear probe and nearest neighbours.

Both learn from the original activations of the images with even numbers and are tested on those
with odd ones, as they are and as the dictionary reconstructs them.
"""

import numpy as np
from jaxtyping import Float, Int

RIDGE = 1e-3
"""Weight of the penalty, as a share of the mean variance per dimension."""
NEIGHBOURS = 10


def downstream_accuracy(
    original: Float[np.ndarray, "images d"],
    reconstruction: Float[np.ndarray, "images d"],
    labels: Int[np.ndarray, " images"],
) -> dict[str, float]:
    """Return the accuracies of probe and neighbours on both, as columns of the quality table."""
    known, asked = slice(0, None, 2), slice(1, None, 2)
    queries = {"": reconstruction[asked], "_original": original[asked]}
    probe = LinearProbe(original[known], labels[known])
    result = {}
    for name, x in queries.items():
        near = nearest_labels(original[known], labels[known], x)
        result[f"probe_accuracy{name}"] = float((probe.predict(x) == labels[asked]).mean())
        result[f"knn_accuracy{name}"] = float((near == labels[asked]).mean())
    return result


class LinearProbe:
    """Ridge regression on one column per class, in closed form.

    W = (Cov + ρ tr(Cov)/d · I)⁻¹ Cov(x, onehot(y)),   ŷ = argmax (x − x̄) W + ȳ.
    """

    def __init__(self, x: Float[np.ndarray, "images d"], labels: Int[np.ndarray, " images"]):
        self._mean = x.mean(0, dtype=float)
        centred = x - self._mean
        covariance = centred.T @ centred / len(x)
        ridge = RIDGE * np.trace(covariance) / len(covariance)
        n_classes = int(labels.max()) + 1
        sums = np.zeros((n_classes, x.shape[1]))
        np.add.at(sums, labels, centred)
        self._share = np.bincount(labels, minlength=n_classes) / len(x)
        self._weights = np.linalg.solve(
            covariance + (ridge or 1.0) * np.eye(len(covariance)), sums.T / len(x)
        )

    def predict(self, x: Float[np.ndarray, "images d"]) -> Int[np.ndarray, " images"]:
        """Return the class of each row."""
        return ((x - self._mean) @ self._weights + self._share).argmax(1)


def nearest_labels(
    known: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    queries: Float[np.ndarray, "m d"],
    rows: int = 1024,
) -> Int[np.ndarray, " m"]:
    """Return the commonest label among each query's nearest neighbours by cosine.

    Among equally common labels the lowest wins.
    """
    k = min(NEIGHBOURS, len(known))
    unit = _unit(known)
    found = []
    for start in range(0, len(queries), rows):
        cosine = _unit(queries[start : start + rows]) @ unit.T
        near = labels[np.argpartition(-cosine, k - 1, axis=1)[:, :k]]
        votes = (near[:, :, None] == near[:, None, :]).sum(2)
        # The most votes, then the lowest label.
        best = np.where(votes == votes.max(1, keepdims=True), near, np.iinfo(near.dtype).max)
        found.append(best.min(1))
    return np.concatenate(found)


def _unit(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
