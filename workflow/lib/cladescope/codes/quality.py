"""How well a dictionary reconstructs held-out activations, how sparsely, and how redundantly."""

import numpy as np
from jaxtyping import Float, Int

from cladescope.codes.linear import Ridge, cosine_blocks, nearest, unit_rows, vote

DENSE_RATE = 0.5
RARE_RATE = 1e-3
L0_QUANTILES = {"l0_q05": 0.05, "l0_median": 0.5, "l0_q95": 0.95}
DUPLICATE_COSINE = 0.9
PENALTY = 1e-3
"""Of the linear probe: ridge penalty as a share of the mean variance per dimension."""
NEIGHBOURS = 10


class Reconstruction:
    """Reconstruction and sparsity of one split, accumulated in float64 block by block."""

    def __init__(self, width: int):
        self._n = 0
        self._sum: float | np.ndarray = 0.0
        self._errors: list[np.ndarray] = []
        self._norms: list[np.ndarray] = []
        self._firing = np.zeros(width, np.int64)
        self._l0 = np.zeros(width + 1, np.int64)

    def add(
        self,
        x: Float[np.ndarray, "tokens d"],
        guess: Float[np.ndarray, "tokens d"],
        z: Float[np.ndarray, "tokens width"],
    ) -> None:
        """Take in a block: normalised activations, their reconstruction and the codes."""
        self._n += len(x)
        self._sum = self._sum + x.sum(0, dtype=float)
        self._norms.append(np.square(x, dtype=float).sum(1))
        self._errors.append(np.square(x - guess, dtype=float).sum(1))
        fires = z > 0
        self._firing += fires.sum(0)
        self._l0 += np.bincount(fires.sum(1), minlength=len(self._l0))

    def result(self) -> dict[str, float | int]:
        """Return the columns of one dictionary.

        - `width`: number of latents;
        - `fve`: fraction of variance explained, 1 − Σ‖x−x̂‖² / Σ‖x−x̄‖² over the whole split, x̄ being
          the split's own mean (0 for the mean predictor, 1 for the identity);
        - `nmse`: mean over tokens of ‖x−x̂‖² / ‖x'‖², in which every token counts the same;
        - `l0`, `l0_q05`, `l0_median`, `l0_q95`: latents that fire on a token, mean and quantiles;
        - `dead_share`, `rare_share`, `dense_share`: share of latents that fire on no token of the
          split, on some but less than a thousandth, on more than half.
        """
        errors, norms = np.concatenate(self._errors), np.concatenate(self._norms)
        total = norms.sum() - float(np.square(self._sum).sum()) / self._n
        cumulative = self._l0.cumsum()
        rate = self._firing / self._n
        quantiles = {
            name: int(np.searchsorted(cumulative, share * self._n))
            for name, share in L0_QUANTILES.items()
        }
        return {
            "width": len(self._firing),
            "fve": float(1 - errors.sum() / total),
            "nmse": float((errors[norms > 0] / norms[norms > 0]).mean()),
            "l0": float(self._firing.sum() / self._n),
            **quantiles,
            "dead_share": float((rate == 0).mean()),
            "rare_share": float(((rate > 0) & (rate < RARE_RATE)).mean()),
            "dense_share": float((rate > DENSE_RATE).mean()),
        }


def redundant_share(decoder: Float[np.ndarray, "width d"]) -> float:
    """Return the share of decoder rows with another row at a cosine of 0.9 or more."""
    blocks = cosine_blocks(unit_rows(decoder))
    near = sum(int((cosine.max(1) >= DUPLICATE_COSINE).sum()) for cosine in blocks)
    return near / len(decoder)


def downstream_accuracy(
    original: Float[np.ndarray, "images d"],
    reconstruction: Float[np.ndarray, "images d"],
    labels: Int[np.ndarray, " images"],
) -> dict[str, float]:
    """Return whether a reconstruction keeps what tells classes apart, as columns of one dictionary.

    A linear probe (`probe_accuracy`) and nearest neighbours by cosine (`knn_accuracy`) learn from
    the original activations of the images with even numbers. They are tested on the images with odd
    numbers, reconstructed and as they were (`..._original`). Among equally common labels of the
    neighbours the lowest wins.
    """
    train, test = slice(0, None, 2), slice(1, None, 2)
    probe = Ridge.fit(original[train], labels[train], int(labels[train].max()) + 1, PENALTY)
    reference = unit_rows(original[train])
    result = {}
    for name, x in {"": reconstruction[test], "_original": original[test]}.items():
        neighbours, _ = nearest(unit_rows(x), reference, NEIGHBOURS)
        guesses = {
            "probe": probe.scores(x.astype(np.float64)).argmax(1),
            "knn": vote(np.sort(labels[train][neighbours], axis=1)),
        }
        for method, guess in guesses.items():
            result[f"{method}_accuracy{name}"] = float((guess == labels[test]).mean())
    return result
