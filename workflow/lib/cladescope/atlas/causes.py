"""What pages show of interventions: pairs of images that differ in one thing, and ablation.

Numbers are those of `score_pairs` and `ablate`. Which pair a latent's page shows, and what the
latent does on it, is found here. docs/causes.md defines every number, docs/atlas.md every file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from cladescope.about import read_about
from cladescope.activations.store import ActivationStore
from cladescope.atlas.chunks import smallest
from cladescope.atlas.wire import (
    ABLATION_KINDS,
    ABLATION_MEASURES,
    PAIR_CHANGES,
    PAIR_COUNTS,
    PAIR_ENDS,
    PAIR_MEASURES,
    PAIRED,
)
from cladescope.causes.kinds import CHOSEN
from cladescope.codes.encode import ImageBlocks, codes_of_images
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.scores.contrasts import Contrasts


@dataclass(frozen=True, eq=False)
class PairTests:
    """Pairs of images, and what stands for them at the layer that dictionaries read."""

    contrasts: Contrasts
    blocks: Iterable[Float[np.ndarray, "images tokens d"]]
    """Raw activations of all images of the pairs in their order; gone through once a dictionary."""
    n_images: int

    @classmethod
    def open(cls, manifest: str | Path, pairs: str | Path) -> "PairTests":
        """Open the activations of the split `pairs`, and read the table of pairs."""
        store = ActivationStore.open(manifest)
        contrasts = Contrasts.of(pd.read_parquet(pairs))
        return cls(contrasts, ImageBlocks(store), store.shape[0])


@dataclass(frozen=True, eq=False)
class Causes:
    """What is known of a dictionary besides its scores; None where it is not asked for."""

    ablation: str | Path | None = None
    """`ablation.parquet`."""
    pairs: PairTests | None = None
    pair_nodes: str | Path | None = None
    """`pair_nodes.parquet`, where there are `pairs`."""


def pair_examples(
    tests: PairTests, dictionary: Dictionary, wnids: Sequence[str | None]
) -> dict[str, np.ndarray]:
    """Choose, for each latent, a pair about its group for each of `PAIRED`.

    That is the pair on which the latent answers, and most: it fires on the image that has the thing
    and not on the one that lacks it, with the largest fall of the activation; ties: the first. Of
    what is a class's own rather a pair with the image that was shown before, so that one sees the
    same image without either.

    Parameters
    ----------
    wnids
        Of each latent, the group that it matches best; None for none.

    Returns
    -------
    pair_images
        (width, 2 × 2): for each of `PAIRED` the image that has the thing and the one that lacks it;
        the number of images where there is no pair.
    pair_activations
        float32, the latent's activations on them; NaN where there is no pair.
    pair_counts
        (width, 2 × 3): pairs of the group, those on which the latent answers, and those on which it
        does the opposite.
    """
    width, contrasts = len(wnids), tests.contrasts
    images = np.full((width, len(PAIRED), len(PAIR_ENDS)), tests.n_images)
    activations = np.full(images.shape, np.nan, np.float32)
    counts = np.zeros((width, len(PAIRED), len(PAIR_COUNTS)), np.int64)
    number: dict[str | None, int] = {wnid: node for node, wnid in enumerate(contrasts.wnids)}
    node_of = np.array([number.get(wnid, -1) for wnid in wnids])
    groups = []
    for node in np.unique(node_of[node_of >= 0]):
        parts = {name: ends_of(contrasts, name, node) for name in PAIRED}
        used = np.unique(np.concatenate([part.ravel() for part in parts.values()]))
        groups.append((parts, used, np.flatnonzero(node_of == node)))
    values = activations_on(dictionary, tests.blocks, [group[1:] for group in groups])
    for (parts, used, latents), z in zip(groups, values, strict=True):
        shown = np.full(len(latents), -1)
        for position, pairs in enumerate(parts.values()):
            if not pairs.size:
                continue
            having, lacking = (z[np.searchsorted(used, ends)] for ends in pairs)
            change = (having > 0).astype(int) - (lacking > 0)
            of_shown = pairs[0][:, None] == shown
            best = np.lexsort((lacking - having, -change, ~of_shown), axis=0)[0]
            columns = np.arange(len(latents))
            shown = pairs[0][best]
            images[latents, position] = pairs[:, best].T
            activations[latents, position] = np.stack(
                [side[best, columns] for side in (having, lacking)], 1
            )
            found = [np.full(len(latents), len(change)), (change > 0).sum(0), (change < 0).sum(0)]
            counts[latents, position] = np.stack(found, 1)
    return {
        "pair_images": smallest(images.reshape(width, -1), tests.n_images),
        "pair_activations": activations.reshape(width, -1),
        "pair_counts": smallest(counts.reshape(width, -1), int(counts.max(initial=0))),
    }


def ends_of(contrasts: Contrasts, name: str, node: int) -> Int[np.ndarray, "2 pairs"]:
    """Return the images that have the thing, and those that lack it, of a node's pairs."""
    if name not in contrasts.by_name:
        return np.empty((2, 0), np.int64)
    contrast = contrasts.by_name[name]
    mine = slice(*np.searchsorted(contrast.node, [node, node + 1]))
    return np.stack([contrast.having[mine], contrast.lacking[mine]]).astype(np.int64)


def activations_on(
    dictionary: Dictionary,
    blocks: Iterable[Float[np.ndarray, "images tokens d"]],
    wanted: Sequence[tuple[Int[np.ndarray, " images"], Int[np.ndarray, " latents"]]],
) -> list[Float[np.ndarray, "images latents"]]:
    """Return activations of some latents on some images, the largest over the image's tokens.

    Parameters
    ----------
    blocks
        Raw activations of all images in their order.
    wanted
        Groups of sorted images and of latents: for each a matrix, so that not all latents are kept
        for all images.
    """
    found = [np.zeros((len(images), len(latents)), np.float32) for images, latents in wanted]
    start = 0
    for z in codes_of_images(dictionary, blocks):
        n = len(z)
        for part, (images, latents) in zip(found, wanted, strict=True):
            first, end = np.searchsorted(images, [start, start + n])
            part[first:end] = z[np.ix_(images[first:end] - start, latents)]
        start += n
    return found


def pair_chunk(path: str | Path, position: Mapping[str | None, int]) -> dict[str, np.ndarray]:
    """Return what `pairs.js` holds: how the best latent of each node takes each kind of pair.

    Parameters
    ----------
    position
        Of each wnid in the tree.
    """
    table = pd.read_parquet(path)
    table = table[table["latents"].eq("best") & table["change"].isin(PAIR_CHANGES)]
    node = np.unique([position[wnid] for wnid in table["wnid"]])
    values = np.full((len(node), len(PAIR_CHANGES), len(PAIR_MEASURES)), np.nan, np.float32)
    row = np.searchsorted(node, [position[wnid] for wnid in table["wnid"]])
    change = [PAIR_CHANGES.index(name) for name in table["change"]]
    values[row, change] = table[list(PAIR_MEASURES)].to_numpy(np.float32)
    return {"node": smallest(node, len(position)), "measures": values}


def ablation_chunk(
    path: str | Path, position: Mapping[str | None, int], width: int
) -> dict[str, Any]:
    """Return what `ablation.js` holds: an entry for each node and number of latents.

    A permuted kind is averaged over its draws.
    """
    table, about = read_about(path)
    key = ["wnid", "n_latents"]
    means = table.groupby([*key, "kind"], sort=False)[list(ABLATION_MEASURES)].mean()
    chosen = table[table["kind"] == CHOSEN]
    names = [*chosen[key].itertuples(index=False, name=None)]
    full = pd.MultiIndex.from_tuples(
        [(*name, kind) for name in names for kind in ABLATION_KINDS], names=[*key, "kind"]
    )
    shape = (len(names), len(ABLATION_KINDS), len(ABLATION_MEASURES))
    values = means.reindex(full).to_numpy(np.float32).reshape(shape)
    taken = [*chosen["latents"]]
    return {
        "readout": about["readout"],
        "accuracy": about["accuracy"],
        "n_images": about["n_images"],
        "draws": int(table["draw"].max()),
        "node": smallest(np.array([position[wnid] for wnid, _ in names], int), len(position)),
        "n_latents": smallest(np.array([n for _, n in names], int), 255),
        "taken_start": smallest(np.cumsum([0, *map(len, taken)]), 2**32 - 1),
        "taken": smallest(np.concatenate([*taken, []]).astype(int), width),
        "measures": values,
    }
