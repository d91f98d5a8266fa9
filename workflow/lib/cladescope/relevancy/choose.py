"""Which latents and which images are mapped: chosen by rule, not by hand."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int

from cladescope.codes.codes import Codes

NAMED, BEST, DRAWN = "named", "best", "random"
"""How a latent was chosen: for a node that the configuration names, by its score, at random."""


def best_latents(latents: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return the best latent of each internal node, by MCC, for the `n` best-matched nodes."""
    scored = latents[latents["status"] == "scored"].dropna(subset=["best_internal_mcc"])
    ranked = scored.sort_values(["best_internal_mcc", "latent"], ascending=[False, True])
    return ranked.drop_duplicates("best_internal_wnid").head(n)


def named_latents(nodes: pd.DataFrame, wnids: Sequence[str]) -> Int[np.ndarray, " found"]:
    """Return the best latent of each named node, from `nodes.parquet`; none where there is none.

    Raises
    ------
    ValueError
        Lists the wnids that are not internal nodes of the dataset.
    """
    table = nodes.set_index("wnid")["best_latent"]
    unknown = [wnid for wnid in wnids if wnid not in table.index]
    if unknown:
        raise ValueError(
            f"relevancy.nodes: {', '.join(unknown)} are not internal nodes of this dataset's "
            "taxonomy; `make tree CONFIG=...` prints those that are"
        )
    return table.loc[list(wnids)].dropna().drop_duplicates().to_numpy(int)


def random_latents(
    latents: pd.DataFrame, n: int, seed: int, without: Int[np.ndarray, " chosen"]
) -> Int[np.ndarray, " n"]:
    """Draw scored latents that are not in `without`; fewer than `n` if there are not enough."""
    scored = latents.loc[latents["status"] == "scored", "latent"].to_numpy()
    others = np.setdiff1d(scored, without)
    return np.random.default_rng(seed).permutation(others)[:n]


def strongest_images(codes: Codes, latent: int, n: int) -> Int[np.ndarray, " n"]:
    """Return the ids of the images that a latent fires on most; ties go to the lower id."""
    mine = codes.latent == latent
    order = np.argsort(-codes.activation[mine], kind="stable")
    return codes.image[mine][order[:n]]
