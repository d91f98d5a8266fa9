"""How well single latents of a dictionary find the patches of classes and nodes."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int
from scipy.sparse import csc_array, csr_array

from cladescope.about import write_about
from cladescope.activations.store import ActivationStore
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.scores.nulls import leaf_permutations
from cladescope.scores.passes import or_none
from cladescope.scores.splitting import places_in_group, split_halves
from cladescope.segmentation.columns import latent_columns
from cladescope.segmentation.patches import Patches
from cladescope.segmentation.probes import Found, Probes, find
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.tree import INTERNAL, LEAF, ROOT, Tree

CLASS, NODE, WHOLE = "class", "node", "root"
"""Kinds of rows: of one class, of an internal node, of all classes."""
KINDS = {LEAF: CLASS, INTERNAL: NODE, ROOT: WHOLE}
SCHEMA = pa.schema(
    {
        "kind": pa.string(),
        "wnid": pa.string(),
        "name": pa.string(),
        "height": pa.int32(),
        "n_leaves": pa.int32(),
        "latent": pa.int32(),
        "patches": pa.int64(),
        "precision": pa.float64(),
        "probe_r": pa.float64(),
        "purity_16": pa.float64(),
        "chance": pa.float64(),
        "image_level": pa.float64(),
        "precision_null_permuted": pa.float64(),
    }
)
_STREAM = 13


@dataclass(frozen=True)
class SegmentationSpec:
    """On how many images latents are tested."""

    images: int
    """Evaluation images of each class, at random; all if there are fewer."""
    null_draws: int
    """Permutations of the leaves."""
    seed: int

    def chosen(self, labels: Int[np.ndarray, " images"]) -> Int[np.ndarray, " chosen"]:
        """Return the images that are looked at, ascending."""
        random = np.random.default_rng((self.seed, _STREAM))
        return np.flatnonzero(places_in_group(labels, random) < self.images)


@dataclass(frozen=True, eq=False)
class Place:
    """Patches of the chosen images as one layer has them, which all of its dictionaries share."""

    store: ActivationStore
    patches: Patches
    labels: Int[np.ndarray, " chosen"]
    """Class of each chosen image."""
    groups: Int[np.ndarray, " chosen"] | None
    """From 0; images of a group are in the same half. None: each for itself."""
    taxonomy: Taxonomy
    """Of what masks show."""
    spec: SegmentationSpec

    @cached_property
    def tree(self) -> Tree:
        """The contracted taxonomy."""
        return Tree.of(self.taxonomy)

    @cached_property
    def covers(self) -> Bool[np.ndarray, "classes nodes"]:
        """Classes of all nodes; behind them internal nodes, with the leaves permuted."""
        drawn = islice(leaf_permutations(self.tree, self.spec.seed), self.spec.null_draws)
        permuted = (self.tree.covers[place][:, self.tree.internal] for place in drawn)
        return np.concatenate([self.tree.covers, *permuted], axis=1)

    @cached_property
    def halves(self) -> tuple[Patches, Patches]:
        """The patches that probes are fitted on, and those that they are measured on."""
        chosen, measured = split_halves(self.labels, self.spec.seed, self.groups, level=False)
        return self.patches.only(chosen), self.patches.only(measured)

    @cached_property
    def positive(self) -> tuple[csr_array, csr_array]:
        """Which patches of each half count for which nodes, as `covers` has them."""
        fitted, measured = (half.positive(self.covers) for half in self.halves)
        return fitted, measured

    def fit(self, dictionary: Dictionary) -> Probes:
        """Choose the latent of each node whose probe has the least loss on the first half."""
        positive, images = self.positive[0], self.halves[0].images
        probes = Probes.without_latents(positive)
        latents = np.arange(dictionary.width)
        for part, columns in latent_columns(dictionary, self.store, images, latents):
            probes.improve(part, columns, positive)
        return probes

    def measure(self, dictionary: Dictionary, probes: Probes) -> list[Found | None]:
        """Measure each node's probe on the second half.

        None where no patch of a half is positive, or every one that probes were fitted on.
        """
        found: list[Found | None] = [None] * len(probes.latent)
        positive = csc_array(self.positive[1])
        share, total = self.positive[0].mean(0), self.positive[1].sum(0)
        n, known = len(self.halves[1]), (share > 0) & (share < 1) & (total > 0)

        def look(node: int, fires: np.ndarray, x: np.ndarray) -> None:
            hits = np.isin(fires, _column(positive, node)[0])
            probe = (float(probes.slope[node]), float(probes.bias[node]))
            found[node] = find(x, hits, n, int(total[node]), probe, float(share[node]))

        for node in np.flatnonzero(known & (probes.latent < 0)):
            look(int(node), np.empty(0, np.int64), np.empty(0))
        latents = np.unique(probes.latent[probes.latent >= 0])
        for part, columns in latent_columns(dictionary, self.store, self.halves[1].images, latents):
            for node in np.flatnonzero(known & np.isin(probes.latent, part)):
                column = int(np.searchsorted(part, probes.latent[node]))
                look(int(node), *_column(columns, column))
        return found

    @cached_property
    def image_level(self) -> Float[np.ndarray, " nodes"]:
        """Average precision of a latent that fires on all patches of the right images, alone."""
        half = self.halves[1]
        positive = self.positive[1][:, : len(self.tree.node)]
        image = np.repeat(np.arange(len(half.images)), half.per_image)
        of = csr_array((np.ones(len(image)), (image, np.arange(len(image)))))
        shown = (of @ positive).astype(bool).sum(0) * half.per_image
        return np.divide(positive.sum(0), shown, out=np.full(len(shown), np.nan), where=shown > 0)


def measure_segmentation(dictionary: Dictionary, place: Place, path: str | Path) -> None:
    """Write how well the best latent of each class and node finds its patches (Parquet).

    docs/segmentation.md lists the columns.
    """
    probes = place.fit(dictionary)
    found = place.measure(dictionary, probes)
    n_nodes, internal = len(place.tree.node), place.tree.internal
    null = np.full(n_nodes, np.nan)
    if drawn := [part.precision if part else np.nan for part in found[n_nodes:]]:
        permuted = np.reshape(drawn, (place.spec.null_draws, len(internal)))
        null[internal] = permuted.mean(0)
    rows = [*_rows(place, probes, found[:n_nodes], null)]
    about = {
        "n_images": len(place.patches.images),
        "n_patches": len(place.patches),
        "n_latents": dictionary.width,
    }
    table = pa.Table.from_pylist(rows, SCHEMA)
    write_about(table, about, path)


def _rows(
    place: Place,
    probes: Probes,
    found: list[Found | None],
    null: Float[np.ndarray, " nodes"],
) -> Iterator[dict[str, Any]]:
    tree, taxonomy, n = place.tree, place.taxonomy, len(place.halves[1])
    total = place.positive[1].sum(0)
    for number, node in enumerate(tree.node):
        measured = found[number]
        row = {
            "kind": KINDS[int(tree.kind[number])],
            "wnid": taxonomy.nodes[node],
            "name": taxonomy.names[node],
            "height": int(tree.height_contracted[number]),
            "n_leaves": int(tree.n_leaves[number]),
            "patches": int(total[number]),
        }
        if measured is not None:
            row |= {
                "latent": int(probes.latent[number]) if probes.latent[number] >= 0 else None,
                "precision": measured.precision,
                "probe_r": measured.explained,
                "purity_16": measured.purity,
                "chance": float(total[number] / n),
                "image_level": float(place.image_level[number]),
                "precision_null_permuted": or_none(null[number]),
            }
        yield row


def _column(
    matrix: csc_array, number: int
) -> tuple[Int[np.ndarray, " entries"], Float[np.ndarray, " entries"]]:
    """Return the rows of a column's entries, and the entries."""
    part = slice(matrix.indptr[number], matrix.indptr[number + 1])
    return matrix.indices[part], matrix.data[part]
