"""The tables of `score.py`: what stands in them, and how missing values are written."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from cladescope.codes.codes import Codes
from cladescope.names import COALITIONS
from cladescope.scores.by_size import node_values
from cladescope.scores.coalitions import Coalitions
from cladescope.scores.halves import Halves
from cladescope.scores.held_out import mean_over
from cladescope.scores.nulls import INTERVAL
from cladescope.scores.passes import Result
from cladescope.scores.relations import Edges, Relations
from cladescope.scores.schemas import (
    EDGE_SCHEMA,
    LATENT_SCHEMA,
    NODE_SCHEMA,
    RELATION_SCHEMA,
    SENSITIVITY_SCHEMA,
    SIZE_SCHEMA,
)
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.tree import Tree


def latent_table(
    codes: Codes,
    labels: np.ndarray,
    halves: Halves,
    columns: Mapping[str, np.ndarray],
    taxonomy: Taxonomy,
) -> pa.Table:
    """Write the scored latents' columns into one row per latent, null for the others.

    Parameters
    ----------
    codes, labels, halves
        The whole split, and what of it was scored.
    columns
        (n_scored,) by name; NaN is null. `lch`, `lch_tau`, `best` and `best_internal` are node
        indices of the taxonomy (-1 is null), `top_class` a label.
    taxonomy
        Names the nodes and classes.
    """
    n_firing = np.bincount(codes.latent, minlength=codes.width)
    status = np.where(n_firing > 0, "rare", "dead").astype(object)
    status[halves.scored] = "scored"
    table: dict[str, np.ndarray] = {
        "latent": np.arange(codes.width),
        "status": status,
        "n_firing": n_firing,
        "firing_rate": n_firing / max(codes.n_images, 1),
    }
    described = {**columns, "top_class": np.array(taxonomy.leaves, object)[columns["top_class"]]}
    of_nodes = _node_columns(taxonomy, np.bincount(labels, minlength=len(taxonomy.leaves)))
    for prefix in ("lch", "lch_tau", "best", "best_internal"):
        node = columns[prefix]
        for name, values in of_nodes.items():
            if f"{prefix}_{name}" in LATENT_SCHEMA.names:
                described[f"{prefix}_{name}"] = _masked(values[node], node >= 0)
    for name in LATENT_SCHEMA.names[len(table) :]:
        column = np.full(codes.width, None, object)
        column[halves.scored] = _without_nan(described[name])
        table[name] = column
    return _table(table, LATENT_SCHEMA)


def node_table(
    observed: Result,
    permuted: Sequence[Result],
    together: Coalitions,
    scored: np.ndarray,
    class_size: np.ndarray,
    tree: Tree,
) -> pa.Table:
    """Write one row per internal node, in node order.

    Parameters
    ----------
    observed, permuted
        The observed pass, and those of the permuted-leaf draws.
    together
        What `coalitions` returns.
    scored
        Int (n_scored,): the scored latents.
    class_size
        Int (n_classes,): images of each class in the split.
    """
    inner, taxonomy = tree.internal, tree.taxonomy
    node = tree.node[inner]
    alignment, values = observed.found.alignment, node_values(observed, tree)
    null = {name: np.full(len(inner), np.nan) for name in NODE_SCHEMA.names[-5:]}
    if permuted and len(scored):
        draws = np.array([drawn.found.alignment.node_mcc[inner] for drawn in permuted])
        # A draw in which no latent fires on the node at all does not match it.
        draws = np.nan_to_num(draws, nan=0.0)
        null["best_mcc_null_permuted"] = draws.mean(0)
        null["best_mcc_null_permuted_high"] = np.percentile(draws, INTERVAL[1], axis=0)
        drawn_values = [node_values(drawn, tree) for drawn in permuted]
        for name, score in (
            ("recovered", "node_recovery"),
            ("own_best", "own_best_recovery"),
            ("held_out", "held_out"),
        ):
            null[f"{name}_null_permuted"] = mean_over(np.array([v[score] for v in drawn_values]), 0)
    latent = alignment.node_latent[inner]
    return _table(
        {
            "wnid": tree.wnids[inner],
            "name": np.array(taxonomy.names, object)[node],
            "depth": taxonomy.depth[node],
            "height": taxonomy.height[node],
            "height_contracted": taxonomy.height_contracted[node],
            "n_leaves": tree.n_leaves[inner],
            "n_images": class_size @ tree.covers[:, inner],
            "best_latent": _masked(np.append(scored, -1)[latent], latent >= 0),
            "best_mcc": alignment.node_mcc[inner],
            "n_finders": alignment.finders[inner],
            "recovered": alignment.finders[inner] > 0,
            "own_best": alignment.own_finders[inner] > 0,
            "held_out": values["held_out"],
            **dict(zip(COALITIONS, together.f1.T, strict=True)),
            "coalition": np.array(
                [" ".join(map(str, scored[row[row >= 0]])) or None for row in together.latents],
                object,
            ),
            **null,
        },
        NODE_SCHEMA,
    )


def relation_table(
    relations: Relations, scored: np.ndarray, best: np.ndarray, tree: Tree
) -> pa.Table:
    """Write the pairs of latents of which one fires within the other; `best` are their nodes."""
    child, parent = best[relations.child], best[relations.parent]
    known = (child >= 0) & (parent >= 0)
    return _table(
        {
            "child": scored[relations.child],
            "parent": scored[relations.parent],
            "containment": relations.containment,
            "child_wnid": _masked(tree.wnids[child], child >= 0),
            "parent_wnid": _masked(tree.wnids[parent], parent >= 0),
            "consistent": tree.below[child, parent] & known,
        },
        RELATION_SCHEMA,
    )


def edge_table(edges: Edges, at_random: np.ndarray, scored: np.ndarray, tree: Tree) -> pa.Table:
    """Write the parent–child pairs of recovered nodes."""
    return _table(
        {
            "parent_wnid": tree.wnids[edges.parent],
            "child_wnid": tree.wnids[edges.child],
            "parent_latent": scored[edges.parent_latent],
            "child_latent": scored[edges.child_latent],
            "absorption": edges.absorption,
            "parent_misses": edges.misses,
            "parent_given_child": edges.given,
            "parent_rate": edges.rate,
            "sibling_overlap": edges.overlap,
            "soft_absorption": edges.soft,
            "soft_absorption_at_random": at_random,
        },
        EDGE_SCHEMA,
    )


def size_table(rows: list[dict[str, float | int | str | None]]) -> pa.Table:
    """Write what `scores_by_size` returns."""
    return pa.Table.from_pylist(rows, SIZE_SCHEMA)


def sensitivity_table(rows: list[dict[str, float | int | None]]) -> pa.Table:
    """Write what `sensitivity` returns."""
    return pa.Table.from_pylist(rows, SENSITIVITY_SCHEMA)


def _node_columns(taxonomy: Taxonomy, class_size: np.ndarray) -> dict[str, np.ndarray]:
    """Describe every node of the taxonomy."""
    n_images = class_size @ taxonomy.ancestors
    with np.errstate(divide="ignore", invalid="ignore"):
        ic_images = np.log2(class_size.sum()) - np.log2(n_images)
    return {
        "wnid": np.array(taxonomy.nodes, object),
        "name": np.array(taxonomy.names, object),
        "height": taxonomy.height,
        "height_contracted": taxonomy.height_contracted,
        "depth": taxonomy.depth,
        "ic": taxonomy.ic,
        "ic_images": ic_images,
    }


def _table(columns: Mapping[str, np.ndarray], schema: pa.Schema) -> pa.Table:
    return pa.table(
        [pa.array(_without_nan(columns[field.name]), field.type) for field in schema], schema
    )


def _without_nan(values: np.ndarray) -> np.ndarray:
    """Return an object array with None for NaN."""
    return _masked(values, ~np.isnan(values) if values.dtype.kind == "f" else True)


def _masked(values: np.ndarray, known: np.ndarray | bool) -> np.ndarray:
    """Return an object array with None where a value is not known."""
    result = values.astype(object)
    result[~np.broadcast_to(known, result.shape)] = None
    return result
