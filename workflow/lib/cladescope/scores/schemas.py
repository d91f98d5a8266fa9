"""Names and types of the columns of the tables of `score.py`.

`docs/scores.md` says what each column means; a test holds it and these names equal.
"""

import pyarrow as pa

from cladescope.names import COALITIONS
from cladescope.scores.by_size import BY_SIZE
from cladescope.scores.sensitivity import SENSITIVE

_LCH = {
    "wnid": pa.string(),
    "name": pa.string(),
    "height": pa.int32(),
    "height_contracted": pa.int32(),
    "depth": pa.int32(),
    "ic": pa.float64(),
    "ic_images": pa.float64(),
    "share": pa.float64(),
}
_BEST = {
    "wnid": pa.string(),
    "name": pa.string(),
    "height_contracted": pa.int32(),
    "mcc": pa.float64(),
    "auroc": pa.float64(),
    "cutoff": pa.int32(),
    "precision": pa.float64(),
    "recall": pa.float64(),
}
LATENT_SCHEMA = pa.schema(
    {
        "latent": pa.int32(),
        "status": pa.string(),
        "n_firing": pa.int64(),
        "firing_rate": pa.float64(),
        "n_classes": pa.int32(),
        "effective_classes": pa.float64(),
        "top_class": pa.string(),
        "purity": pa.float64(),
        **{f"lch_{name}": dtype for name, dtype in _LCH.items()},
        **{f"lch_tau_{name}": dtype for name, dtype in _LCH.items()},
        "coverage": pa.float64(),
        "coverage_tau": pa.float64(),
        "coverage_top": pa.float64(),
        "monosemanticity": pa.float64(),
        "pair_lch": pa.float64(),
        "pair_lch_contracted": pa.float64(),
        "pair_lch_null_permuted": pa.float64(),
        "p_value": pa.float64(),
        "q_value": pa.float64(),
        "significant": pa.bool_(),
        "coherent": pa.bool_(),
        "hierarchical": pa.bool_(),
        **{f"best_{name}": dtype for name, dtype in _BEST.items()},
        **{f"best_internal_{name}": dtype for name, dtype in _BEST.items()},
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
        "best_latent": pa.int32(),
        "best_mcc": pa.float64(),
        "n_finders": pa.int32(),
        "recovered": pa.bool_(),
        "own_best": pa.bool_(),
        "held_out": pa.float64(),
        **{name: pa.float64() for name in COALITIONS},
        "coalition": pa.string(),
        "best_mcc_null_permuted": pa.float64(),
        "best_mcc_null_permuted_high": pa.float64(),
        "recovered_null_permuted": pa.float64(),
        "own_best_null_permuted": pa.float64(),
        "held_out_null_permuted": pa.float64(),
    }
)
SIZE_SCHEMA = pa.schema(
    {
        "size": pa.string(),
        "n_nodes": pa.int32(),
        **{
            f"{name}{end}": pa.float64()
            for name in BY_SIZE
            for end in ("", "_null_permuted", "_null_permuted_high")
        },
        "node_recovery_above_null": pa.float64(),
    }
)
RELATION_SCHEMA = pa.schema(
    {
        "child": pa.int32(),
        "parent": pa.int32(),
        "containment": pa.float64(),
        "child_wnid": pa.string(),
        "parent_wnid": pa.string(),
        "consistent": pa.bool_(),
    }
)
EDGE_SCHEMA = pa.schema(
    {
        "parent_wnid": pa.string(),
        "child_wnid": pa.string(),
        "parent_latent": pa.int32(),
        "child_latent": pa.int32(),
        "absorption": pa.float64(),
        "parent_misses": pa.float64(),
        "parent_given_child": pa.float64(),
        "parent_rate": pa.float64(),
        "sibling_overlap": pa.float64(),
        "soft_absorption": pa.float64(),
        "soft_absorption_at_random": pa.float64(),
    }
)
SENSITIVITY_SCHEMA = pa.schema(
    {
        "top_n": pa.int32(),
        "tau": pa.float64(),
        "rho": pa.float64(),
        "n_scored": pa.int32(),
        **{f"{name}{end}": pa.float64() for name in SENSITIVE for end in ("", "_null_permuted")},
    }
)
