"""What the uses measure: names, and rows of numbers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from cladescope.scores.passes import or_none
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.tree import Tree

RETRIEVAL, FEW_SHOTS, TRANSFER, SPARSE_PROBES = (
    "retrieval",
    "few_shots",
    "transfer",
    "sparse_probes",
)
PRECISION, FIRST_PRECISION, HEIGHT = "map", "precision_10", "lch_height_contracted"
ACCURACY, AUROC = "balanced_accuracy", "auroc"
LEVELS = ("leaf", "family", "domain")
NODE = "node"
"""Level of what is measured of each internal node."""
CHANCE = 0.5
"""Balanced accuracy of two classes and AUROC, whatever is guessed without looking."""
RAW, COMPONENTS = "raw", "pca"
SCHEMA = pa.schema(
    {
        "task": pa.string(),
        "measure": pa.string(),
        "level": pa.string(),
        "n": pa.int32(),
        "draw": pa.int32(),
        "wnid": pa.string(),
        "name": pa.string(),
        "n_leaves": pa.int32(),
        "codes": pa.float64(),
        RAW: pa.float64(),
        COMPONENTS: pa.float64(),
        "chance": pa.float64(),
        "codes_null_permuted": pa.float64(),
    }
)


@dataclass(frozen=True, eq=False)
class Measured:
    """One measure of several classes, groups or nodes: NaN where it is not defined."""

    task: str
    measure: str
    level: str
    node: Int[np.ndarray, " units"]
    """Of the taxonomy, the one that each value is about."""
    value: Float[np.ndarray, " units"]
    chance: Float[np.ndarray, " units"]
    n: int | None = None
    """Images of a class, or latents of a node."""
    draw: int | None = None


@dataclass(frozen=True, eq=False)
class Images:
    """Evaluation images: their classes, and what is learnt on which of them."""

    labels: Int[np.ndarray, " images"]
    taxonomy: Taxonomy
    tree: Tree
    learnt: Bool[np.ndarray, " images"]
    """The images that examples are drawn from and latents chosen on."""
    tested: Bool[np.ndarray, " images"]
    groups: Int[np.ndarray, " images"] | None = None
    """Images of a group are not found by each other. None: each for itself."""

    def common(self, group: Int[np.ndarray, " classes"]) -> Int[np.ndarray, " groups"]:
        """Return the lowest common hypernym of the classes of each group, in the taxonomy."""
        above = self.taxonomy.ancestors
        return np.array([above[group == g].all(0).argmax() for g in range(group.max() + 1)])


def table_of(
    codes: Sequence[Measured],
    others: Mapping[str, Sequence[Measured]],
    permuted: Iterable[Sequence[Measured]],
    taxonomy: Taxonomy,
) -> pa.Table:
    """Put what was measured side by side: a row for each value, columns as in `SCHEMA`.

    Parameters
    ----------
    codes
        Of the codes; all others have the same parts in the same order.
    others
        The same of what codes are compared with, by column.
    permuted
        Of the codes, where classes have changed places.
    """
    parts = [np.concatenate([part.value for part in found]) for found in permuted]
    known = np.isfinite(parts) if parts else np.zeros((1, 1), bool)
    null = np.where(known, parts, 0.0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)
    size = [len(part.value) for part in codes]
    node = np.concatenate([part.node for part in codes])
    columns: dict[str, Any] = {
        name: np.repeat(np.array([getattr(part, name) for part in codes], object), size)
        for name in ("task", "measure", "level", "n", "draw")
    }
    values = {name: np.concatenate([p.value for p in found]) for name, found in others.items()}
    values["codes"] = np.concatenate([part.value for part in codes])
    values["chance"] = np.concatenate([part.chance for part in codes])
    values["codes_null_permuted"] = np.broadcast_to(null, len(node))
    columns |= {name: [or_none(x) for x in column] for name, column in values.items()}
    columns["wnid"] = [taxonomy.nodes[v] for v in node]
    columns["name"] = [taxonomy.names[v] for v in node]
    columns["n_leaves"] = taxonomy.n_leaves[node]
    return pa.table([pa.array(columns[f.name], f.type) for f in SCHEMA], SCHEMA)
