"""Which latents and which images are looked at: chosen by rule, not by hand."""

import numpy as np
import pandas as pd
from jaxtyping import Int

from cladescope.codes import Codes


def best_latents(latents: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return the best latent of each internal node, by MCC, for the `n` best-matched nodes."""
    scored = latents[latents["status"] == "scored"].dropna(subset=["best_internal_mcc"])
    ranked = scored.sort_values(["best_internal_mcc", "latent"], ascending=[False, True])
    return ranked.drop_duplicates("best_internal_wnid").head(n)


def random_latents(
    latents: pd.DataFrame, n: int, seed: int, without: Int[np.ndarray, " chosen"]
) -> Int[np.ndarray, " n"]:
    """Draw scored latents other than those named; fewer than `n` if there are not as many."""
    scored = latents.loc[latents["status"] == "scored", "latent"].to_numpy()
    others = np.setdiff1d(scored, without)
    return np.random.default_rng(seed).permutation(others)[:n]


def strongest_images(codes: Codes, latent: int, n: int) -> Int[np.ndarray, " n"]:
    """Return the ids of the images that fire a latent most; ties go to the lower id."""
    mine = codes.latent == latent
    order = np.argsort(-codes.activation[mine], kind="stable")
    return codes.image[mine][order[:n]]
