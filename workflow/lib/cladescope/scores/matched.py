"""The latents that were chosen for each node, and random ones of like rate beside them."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from cladescope.scores.nulls import Stream

SETS = ("best", "coalition")
"""Latents of a node: the one that matches it best, and those that its coalition takes."""
DRAWS = 100
"""Sets of random latents."""
NEAREST = 10
"""Latents of nearest rate that one is drawn from."""


class Matched(NamedTuple):
    """A set of latents of one node, and what it is compared with."""

    latents: np.ndarray
    """int (n,): none fires on an image of the node if it is empty."""
    random: np.ndarray
    """int (DRAWS, n): latents of similar rate that were not chosen; (0, n) if there are too few."""


def match(nodes: pd.DataFrame, latents: pd.DataFrame, seed: int) -> list[dict[str, Matched]]:
    """Return each node's latents, and random ones to compare them with.

    Random latents are scored and not chosen for the node. Each of a draw is one of the `NEAREST` in
    the number of images that they fire on, of those that the draw has not taken yet.
    """
    random = np.random.default_rng((seed, Stream.PAIRS))
    scored = latents.loc[latents["status"] == "scored", ["latent", "n_firing"]].to_numpy(np.int64)
    rate = np.zeros(len(latents), np.int64)
    rate[latents["latent"]] = latents["n_firing"]
    matched = []
    for best, coalition in nodes[["best_latent", "coalition"]].itertuples(index=False):
        sets = {
            "best": np.array([] if pd.isna(best) else [best], np.int64),
            "coalition": np.array(
                coalition.split() if isinstance(coalition, str) else [], np.int64
            ),
        }
        others = scored[~np.isin(scored[:, 0], np.concatenate([*sets.values()]))]
        matched.append(
            {
                name: Matched(ids, _of_like_rate(ids, rate, others, random))
                for name, ids in sets.items()
            }
        )
    return matched


def _of_like_rate(
    latents: np.ndarray, rate: np.ndarray, others: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Draw sets of other latents, each of a rate like that of one of these."""
    if len(others) < max(len(latents), 1):
        return np.empty((0, len(latents)), np.int64)
    size = min(NEAREST + len(latents) - 1, len(others))
    order = [np.argsort(abs(others[:, 1] - rate[j]), kind="stable")[:size] for j in latents]
    taken = np.zeros((DRAWS, len(others)), bool)
    drawn = np.empty((DRAWS, len(latents)), np.int64)
    for n, near in enumerate(order):
        key = random.random((DRAWS, size))
        key[taken[:, near]] = 2
        # The nearest that are left, and one of them at random.
        left = ~taken[:, near]
        key[left.cumsum(1) > NEAREST] = 2
        place = near[key.argmin(1)]
        taken[np.arange(DRAWS), place] = True
        drawn[:, n] = others[place, 0]
    return drawn
