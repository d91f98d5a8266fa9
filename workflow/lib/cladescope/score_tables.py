"""The tables of `scores.py`: names and types of the columns, and how missing values are written.

`docs/scores.md` says what each column means; a test holds it and these names equal.
"""

import numpy as np
import pyarrow as pa

from cladescope.taxonomy import Taxonomy

LATENT_SCHEMA = pa.schema(
    {
        "latent": pa.int32(),
        "status": pa.string(),
        "n_firing": pa.int64(),
        "firing_rate": pa.float64(),
        "n_classes": pa.int32(),
        "n_frequent_classes": pa.int32(),
        "top_class": pa.string(),
        "purity": pa.float64(),
        "lch_wnid": pa.string(),
        "lch_name": pa.string(),
        "lch_height": pa.int32(),
        "lch_height_contracted": pa.int32(),
        "lch_depth": pa.int32(),
        "lch_ic": pa.float64(),
        "lch_tau_wnid": pa.string(),
        "lch_tau_name": pa.string(),
        "lch_tau_height": pa.int32(),
        "lch_tau_height_contracted": pa.int32(),
        "lch_tau_depth": pa.int32(),
        "lch_tau_ic": pa.float64(),
        "coverage": pa.float64(),
        "coverage_tau": pa.float64(),
        "coverage_top": pa.float64(),
        "pair_lch": pa.float64(),
        "pair_lch_contracted": pa.float64(),
        "pair_lch_null_permuted": pa.float64(),
        "p_value": pa.float64(),
        "q_value": pa.float64(),
        "significant": pa.bool_(),
        "coherent": pa.bool_(),
        "hierarchical": pa.bool_(),
        "best_wnid": pa.string(),
        "best_name": pa.string(),
        "best_height_contracted": pa.int32(),
        "best_mcc": pa.float64(),
        "best_cutoff": pa.int32(),
        "best_precision": pa.float64(),
        "best_recall": pa.float64(),
        "best_internal_wnid": pa.string(),
        "best_internal_name": pa.string(),
        "best_internal_height_contracted": pa.int32(),
        "best_internal_mcc": pa.float64(),
        "best_internal_cutoff": pa.int32(),
        "best_internal_precision": pa.float64(),
        "best_internal_recall": pa.float64(),
    }
)

NODE_SCHEMA = pa.schema(
    {
        "wnid": pa.string(),
        "name": pa.string(),
        "depth": pa.int32(),
        "height": pa.int32(),
        "height_contracted": pa.int32(),
        "n_leaves": pa.int32(),
        "n_images": pa.int64(),
        "best_mcc": pa.float64(),
        "best_latent": pa.int32(),
        "recovered": pa.bool_(),
        "best_mcc_null_permuted": pa.float64(),
        "best_mcc_null_permuted_high": pa.float64(),
        "recovered_null_permuted": pa.float64(),
    }
)


def latent_table(
    n_firing: np.ndarray,
    n_images: int,
    scored: np.ndarray,
    columns: dict[str, np.ndarray],
    taxonomy: Taxonomy,
) -> pa.Table:
    """Write the scored latents' columns into one row per latent, null for the others.

    Parameters
    ----------
    n_firing
        Int (width,): images that fire each latent.
    n_images
        Of the split.
    scored
        Int (n_scored,): the latents that have scores.
    columns
        (n_scored,) by name; NaN is null. `lch`, `lch_tau`, `best` and `best_internal` are node
        indices (-1 is null), `top_class` a label.
    taxonomy
        Names the nodes and classes.
    """
    width = len(n_firing)
    status = np.where(n_firing > 0, "rare", "dead").astype(object)
    status[scored] = "scored"
    table: dict[str, np.ndarray | pa.Array] = {
        "latent": np.arange(width),
        "status": status,
        "n_firing": n_firing,
        "firing_rate": n_firing / max(n_images, 1),
    }
    if "top_class" in columns:
        columns = columns | {"top_class": np.array(taxonomy.leaves, object)[columns["top_class"]]}
    for name in ("lch", "lch_tau", "best", "best_internal"):
        if name in columns:
            columns = columns | _node_columns(name, columns[name], taxonomy)
    for field in LATENT_SCHEMA:
        if field.name not in table:
            column = np.full(width, None, object)
            if field.name in columns:
                column[scored] = _without_nan(columns[field.name])
            table[field.name] = column
    return pa.table(
        [pa.array(table[field.name], field.type) for field in LATENT_SCHEMA], LATENT_SCHEMA
    )


def node_table(columns: dict[str, np.ndarray], threshold: float, taxonomy: Taxonomy) -> pa.Table:
    """Write one row per contracted internal node below the root, in node order.

    Parameters
    ----------
    columns
        `node` (index in the taxonomy), `n_images`, `best_mcc` (−inf if no latent is scored),
        `best_latent`, each (n_nodes,); `null_draws`, (draws, n_nodes): best MCC per permutation.
    threshold
        MCC from which on a node is recovered.
    taxonomy
        Describes the nodes.
    """
    node, draws = columns["node"], columns["null_draws"]
    known = np.isfinite(columns["best_mcc"])
    drawn = known & (len(draws) > 0)
    null = {
        name: np.full(len(node), np.nan)
        for name in NODE_SCHEMA.names
        if name.endswith(("permuted", "high"))
    }
    if drawn.any():
        null["best_mcc_null_permuted"] = draws.mean(0)
        null["best_mcc_null_permuted_high"] = np.percentile(draws, 97.5, axis=0)
        null["recovered_null_permuted"] = (draws >= threshold).mean(0)
    table = {
        "wnid": np.array(taxonomy.nodes, object)[node],
        "name": np.array(taxonomy.names, object)[node],
        "depth": taxonomy.depth[node],
        "height": taxonomy.height[node],
        "height_contracted": taxonomy.height_contracted[node],
        "n_leaves": taxonomy.n_leaves[node],
        "n_images": columns["n_images"],
        "best_mcc": np.where(known, columns["best_mcc"], np.nan),
        "best_latent": np.where(known, columns["best_latent"], np.nan),
        "recovered": columns["best_mcc"] >= threshold,
        **null,
    }
    return pa.table(
        [pa.array(_without_nan(table[field.name]), field.type) for field in NODE_SCHEMA],
        NODE_SCHEMA,
    )


def _node_columns(name: str, node: np.ndarray, taxonomy: Taxonomy) -> dict[str, np.ndarray]:
    """Describe the nodes of a column; an index of -1 becomes None."""
    known = node >= 0
    described: dict[str, np.ndarray] = {
        f"{name}_wnid": _masked(np.array(taxonomy.nodes, object)[node], known),
        f"{name}_name": _masked(np.array(taxonomy.names, object)[node], known),
    }
    for kind, values in {
        "height": taxonomy.height,
        "height_contracted": taxonomy.height_contracted,
        "depth": taxonomy.depth,
        "ic": taxonomy.ic,
    }.items():
        described[f"{name}_{kind}"] = _masked(values[node], known)
    return described


def _without_nan(values: np.ndarray) -> np.ndarray:
    """Return an object array with None for NaN."""
    return _masked(values, ~np.isnan(values) if values.dtype.kind == "f" else True)


def _masked(values: np.ndarray, known: np.ndarray | bool) -> np.ndarray:
    """Return an object array with None where a value is not known."""
    result = values.astype(object)
    result[~np.broadcast_to(known, result.shape)] = None
    return result
