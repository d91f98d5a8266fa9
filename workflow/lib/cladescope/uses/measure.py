"""All uses of one dictionary's codes, beside the activations that they are of."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from cladescope.about import write_about
from cladescope.codes.codes import Codes
from cladescope.scores.nulls import leaf_permutations
from cladescope.scores.splitting import can_level, places_in_group, split_halves
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.tree import Tree
from cladescope.uses.few_shots import Shots, few_shots, transfer
from cladescope.uses.retrieval import retrieve
from cladescope.uses.rows import (
    Rows,
    code_rows,
    equal_components,
    nonzeros,
    principal_axes,
)
from cladescope.uses.sparse_probes import sparse_probes
from cladescope.uses.table import COMPONENTS, RAW, Images, Measured, table_of

_STREAM = 11


@dataclass(frozen=True)
class UsesSpec:
    """What is measured, and on how many images."""

    queries: int
    """Images of each class that others are retrieved for, at random; all if there are fewer."""
    shots: tuple[int, ...]
    """Numbers of examples of a class."""
    draws: int
    """Of the examples, and with them of the classes that a node is learnt from."""
    latents: tuple[int, ...]
    """Numbers of latents of a sparse probe."""
    null_draws: int
    """Permutations of the leaves."""
    seed: int


@dataclass(frozen=True, eq=False)
class Place:
    """The evaluation images as one layer has them, which all of its dictionaries share."""

    x: Float[np.ndarray, "images d"]
    """Activations, less their mean."""
    labels: Int[np.ndarray, " images"]
    groups: Int[np.ndarray, " images"] | None
    """From 0; images of a group are in the same half. None: each for itself."""
    taxonomy: Taxonomy
    spec: UsesSpec
    _components: dict[int, list[Measured]] = field(default_factory=dict)

    @cached_property
    def images(self) -> Images:
        """The images in their two halves, with as many images of every class if possible."""
        level = can_level(self.labels, len(self.taxonomy.leaves))
        learnt, tested = split_halves(self.labels, self.spec.seed, self.groups, level=level)
        tree = Tree.of(self.taxonomy)
        return Images(self.labels, self.taxonomy, tree, learnt, tested, self.groups)

    @cached_property
    def queries(self) -> Int[np.ndarray, " queries"]:
        """The images that others are retrieved for."""
        random = np.random.default_rng((self.spec.seed, _STREAM))
        return np.flatnonzero(places_in_group(self.labels, random) < self.spec.queries)

    @cached_property
    def permutations(self) -> list[Int[np.ndarray, " classes"]]:
        """Arrangements of the classes for the null."""
        drawn = leaf_permutations(self.images.tree, self.spec.seed)
        return [*islice(drawn, self.spec.null_draws)]

    @cached_property
    def of_activations(self) -> list[Measured]:
        """What the activations are good for."""
        return self.measure(self.x)[0]

    def of_components(self, number: int) -> list[Measured]:
        """What the first principal components of these very images are good for."""
        if number not in self._components:
            self._components[number] = self.measure(self.x @ self._axes[:, :number])[0]
        return self._components[number]

    @cached_property
    def _axes(self) -> Float[np.ndarray, "d d"]:
        return principal_axes(self.x)

    def measure(self, rows: Rows, *, permuted: bool = False) -> list[list[Measured]]:
        """Measure all uses of what stands for the images; and with permuted leaves, if wanted."""
        places = [np.arange(len(self.taxonomy.leaves)), *(self.permutations if permuted else ())]
        shots = Shots(self.spec.shots, self.spec.draws, self.spec.seed)
        found = retrieve(rows, self.images, self.queries, places)
        for place, measured in zip(places, found, strict=True):
            images = replace(self.images, labels=place[self.labels])
            measured += few_shots(rows, images, shots)
            measured += transfer(rows, images, shots)
            measured += sparse_probes(rows, images, self.spec.latents)
        return found


def measure_uses(codes: Codes, place: Place, path: str | Path) -> None:
    """Write what a dictionary's codes are good for (Parquet); docs/uses.md lists the columns.

    Parameters
    ----------
    codes
        Of the evaluation images.
    """
    components = equal_components(codes, place.x.shape[1])
    found, *permuted = place.measure(code_rows(codes), permuted=True)
    others = {RAW: place.of_activations, COMPONENTS: place.of_components(components)}
    table = table_of(found, others, permuted, place.taxonomy)
    about = {
        "n_images": codes.n_images,
        "n_queries": len(place.queries),
        "nonzeros": nonzeros(codes),
        "components": components,
    }
    write_about(table, about, path)
