"""The pages of one dictionary: `nodes.js`, `latents_{block}.js`, `maps/{latent}.js` and what
`causes.py` and `places.py` have.

Everything but a latent's images, classes and neighbours is read from the tables of
`score_dictionary`; no score is computed here. docs/atlas.md describes the files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from cladescope.atlas.causes import Causes, ablation_chunk, pair_chunk, pair_examples
from cladescope.atlas.chunks import smallest, write_chunk
from cladescope.atlas.latents import (
    Firing,
    Lists,
    class_counts,
    false_alarms,
    histograms,
    images_by_band,
    misses,
    neighbours,
)
from cladescope.atlas.maps import write_maps
from cladescope.atlas.places import FiringPlaces, Places, segmentation_chunk
from cladescope.atlas.wire import (
    EXAMPLES,
    LATENT_NODES,
    LATENT_SCORES,
    LATENTS,
    LATENTS_PER_CHUNK,
    NODE_VALUES,
    PER_CENT,
    START,
    STATUS,
    VALUES,
)
from cladescope.codes.codes import Codes
from cladescope.codes.positions import Positions
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.files import write_aside
from cladescope.scores.alignment import MCC_SLACK
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.tree import LEAF, Tree

NOTHING_KNOWN = Causes()
NOWHERE = Places()


@dataclass(frozen=True)
class PageSpec:
    """How much a dictionary's pages show; this bounds the atlas's size on disk."""

    images: int = 8
    """Images of each band of a latent's activation, misses and false alarms."""
    classes: int = 32
    """Classes of a latent's profile."""
    neighbours: int = 8
    """Decoder neighbours, parents and children of a latent, each."""
    latents: int = 12
    """Latents listed for a node."""
    mcc_threshold: float = 0.5
    """MCC from which on a class counts as found."""
    seed: int = 0
    """Of the scores: it decides in which order images of equal activation are shown."""


@dataclass(frozen=True, eq=False)
class DictionaryPages:
    """What the pages of one dictionary are made from."""

    codes: Codes
    labels: np.ndarray
    """Int (n_images,): class of each image."""
    taxonomy: Taxonomy
    dictionary: Dictionary | None
    """None if only its codes are known: its latents have no neighbours then."""
    tables: Mapping[str, pa.Table]
    """`latents`, `nodes` and `relations` of `score_dictionary`."""
    spec: PageSpec

    def save(
        self,
        folder: str | Path,
        places: Places = NOWHERE,
        causes: Causes = NOTHING_KNOWN,
    ) -> None:
        """Write the pages into `folder`, which is replaced as a whole.

        Parameters
        ----------
        places
            Where in images its latents fire.
        causes
            What its latents do on pairs of images, and what the model does without them.
        """
        width = self.codes.width
        rows, lists = self._latent_rows(), self._latent_lists()
        if causes.pairs:
            assert self.dictionary
            wnids = self.tables["latents"]["best_internal_wnid"].to_pylist()
            rows |= pair_examples(causes.pairs, self.dictionary, wnids)
        with write_aside(folder) as aside:
            aside.mkdir()
            for first in range(0, width, LATENTS_PER_CHUNK):
                block = slice(first, min(first + LATENTS_PER_CHUNK, width))
                write_chunk(
                    aside / f"latents_{first // LATENTS_PER_CHUNK}.js",
                    **{name: values[block] for name, values in rows.items()},
                    **self._lists_of(lists, block),
                )
            write_chunk(
                aside / "nodes.js",
                width=width,
                block=LATENTS_PER_CHUNK,
                examples_per_node=EXAMPLES,
                **{name: getattr(self.spec, name) for name in ("images", "classes")},
                mapped=write_maps(places.maps, places.crop, aside / "maps") if places.maps else [],
                ablated=causes.ablation is not None,
                paired=causes.pairs is not None,
                **({"segmented": True} if places.segmentation else {}),
                **({"placed": self._save_firing(places, aside)} if places.positions else {}),
                status=rows["status"],
                **self._nodes(),
                **self._latents_of_nodes(),
            )
            if causes.ablation:
                about = ablation_chunk(causes.ablation, self._position, width)
                write_chunk(aside / "ablation.js", **about)
            if causes.pair_nodes:
                about = pair_chunk(causes.pair_nodes, self._position)
                write_chunk(aside / "pairs.js", **about)
            if places.segmentation:
                about = segmentation_chunk(places.segmentation, self._position, width)
                write_chunk(aside / "segmentation.js", **about)

    def _save_firing(self, places: Places, folder: Path) -> int:
        assert places.positions
        positions = Positions.open(places.positions)
        spec = self.spec
        found = FiringPlaces.of(positions, self.codes, self._firing, spec.images, spec.seed)
        return found.save(folder, places.crop)

    @cached_property
    def _tree(self) -> Tree:
        return Tree.of(self.taxonomy)

    @cached_property
    def _firing(self) -> Firing:
        return Firing.of(self.codes, self.spec.seed)

    @cached_property
    def _node(self) -> dict[str, np.ndarray]:
        """int64 (width,) by column: position of a latent's node in the tree, -1 for none."""
        latents = self.tables["latents"]
        return {name: self._positions(latents[f"{name}_wnid"]) for name in LATENT_NODES}

    @cached_property
    def _position(self) -> dict[str | None, int]:
        nodes = self.taxonomy.nodes
        return {None: -1, **{nodes[node]: i for i, node in enumerate(self._tree.node)}}

    def _positions(self, wnids: pa.ChunkedArray) -> np.ndarray:
        # The tables name contracted nodes only, so every wnid is in the tree.
        return np.array([self._position[wnid] for wnid in wnids.to_pylist()], np.int64)

    def _latent_rows(self) -> dict[str, np.ndarray]:
        """What has one row for each latent."""
        codes, firing, tree, n = self.codes, self._firing, self._tree, self.spec.images
        latents = self.tables["latents"]
        best = self._node["best"]
        # A column more, for latents without a node.
        covers = np.column_stack([tree.covers, np.zeros(len(tree.covers), bool)])
        under = covers[self.labels[firing.image], best[firing.latent]]
        images, relative = images_by_band(firing, n)
        n_misses, missed = misses(firing, best, self.labels, tree.covers, n)
        status = [STATUS.words.index(value) for value in latents["status"].to_pylist()]
        return {
            "status": STATUS.write(np.array(status), len(STATUS.words)),
            "n_firing": smallest(firing.count, codes.n_images),
            "strongest": firing.strongest,
            **{name: _floats(latents[name]) for name in LATENT_SCORES},
            **{
                name: LATENTS[name].write(values, len(tree.node) - 1)
                for name, values in self._node.items()
            },
            "images_of_bands": smallest(images, codes.n_images),
            "relative": LATENTS["relative"].write(relative, 1),
            "histogram": smallest(histograms(firing, under), codes.n_images),
            "false_alarms": smallest(false_alarms(firing, under, n), codes.n_images),
            "n_misses": smallest(n_misses, codes.n_images),
            "misses": smallest(missed, codes.n_images),
        }

    def _latent_lists(self) -> dict[str, Lists]:
        """What has a list for each latent."""
        width, n = self.codes.width, self.spec.neighbours
        near, cosine = np.empty((width, 0), int), np.empty((width, 0))
        if self.dictionary:
            near, cosine = neighbours(self.dictionary.decoder, n)
        relations = self.tables["relations"]
        child, parent = (relations[name].to_numpy() for name in ("child", "parent"))
        # Written before they are sorted: equal per cents are in the order of the latents.
        share = PER_CENT.write_signed(relations["containment"].to_numpy())
        n_classes = len(self._tree.covers)
        return {
            "classes": class_counts(self._firing, self.labels, n_classes, self.spec.classes),
            "neighbours": Lists(
                np.arange(width + 1) * near.shape[1],
                near.ravel(),
                PER_CENT.write_signed(cosine.ravel()),
            ),
            "parents": Lists.largest(child, parent, share, width, n),
            "children": Lists.largest(parent, child, share, width, n),
        }

    def _lists_of(self, lists: Mapping[str, Lists], block: slice) -> dict[str, np.ndarray]:
        columns = {}
        for name, whole in lists.items():
            start = whole.start[block.start : block.stop + 1]
            item, value = (part[start[0] : start[-1]] for part in (whole.item, whole.value))
            columns[f"{name}{START}"] = smallest(start - start[0], int(start[-1] - start[0]))
            if name == "classes":
                columns[name] = smallest(item, len(self._tree.covers))
                columns[f"{name}{VALUES}"] = smallest(value, self.codes.n_images)
            else:
                columns[name] = smallest(item, self.codes.width)
                columns[f"{name}{VALUES}"] = value
        return columns

    def _nodes(self) -> dict[str, np.ndarray]:
        """One entry for each node of the tree; the root's are empty.

        Internal nodes are as in `nodes.parquet`. For a class it is the latents whose own best node
        it is: the best of them, and how many reach the threshold. Permuting the leaves cannot
        change how a class is found, so it has no such null.
        """
        nodes, latents = self.tables["nodes"], self.tables["latents"]
        n, width = len(self._tree.node), self.codes.width
        at = self._positions(nodes["wnid"])
        columns = {name: np.full(n, np.nan, np.float32) for name in NODE_VALUES}
        for name, column in columns.items():
            column[at] = _floats(nodes[name])
        best, n_finders = np.full(n, width), np.zeros(n, np.int64)
        best[at] = nodes["best_latent"].fill_null(width).to_numpy()
        n_finders[at] = nodes["n_finders"].to_numpy()

        mcc, node = _floats(latents["best_mcc"]), self._node["best"]
        own = np.flatnonzero(~np.isnan(mcc))
        own = own[self._tree.kind[node[own]] == LEAF]
        np.add.at(n_finders, node[own], mcc[own] >= self.spec.mcc_threshold - MCC_SLACK)
        # Weakest first, so that the strongest is what stays; of equals the first latent.
        own = own[np.lexsort((-own, mcc[own]))]
        best[node[own]], columns["best_mcc"][node[own]] = own, mcc[own]

        images, _ = images_by_band(self._firing, EXAMPLES)
        none = np.full((1, EXAMPLES), self.codes.n_images)
        examples = np.concatenate([images[:, :EXAMPLES], none])[best]
        return {
            **columns,
            "best_latent": smallest(best, width),
            "n_finders": smallest(n_finders, width),
            "examples": smallest(examples, self.codes.n_images),
        }

    def _latents_of_nodes(self) -> dict[str, np.ndarray]:
        """List the latents whose best node, or best internal node, each node is, by that MCC."""
        latents, parts = self.tables["latents"], []
        for name in ("best", "best_internal"):
            node, mcc = self._node[name], _floats(latents[f"{name}_mcc"])
            known = ~np.isnan(mcc)
            if name == "best_internal":
                known &= node != self._node["best"]
            parts.append((node[known], np.flatnonzero(known), mcc[known]))
        node, latent, mcc = (np.concatenate(column) for column in zip(*parts, strict=True))
        lists = Lists.largest(node, latent, mcc, len(self._tree.node), self.spec.latents)
        return {
            "latents_start": smallest(lists.start, int(lists.start[-1])),
            "latents": smallest(lists.item, self.codes.width),
            "latents_mcc": lists.value.astype(np.float32),
        }


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    """float32 (rows,), NaN where missing."""
    return np.asarray(column.cast(pa.float32()).to_numpy(), np.float32)
