"""What the chunks hold, declared once: Python writes by it, and the pages read it in the catalogue.

docs/atlas.md says what each name means.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cladescope.atlas.chunks import smallest
from cladescope.causes.kinds import MEASURES, TAKING
from cladescope.names import ACROSS, INTERVAL, LEAF, OTHER, PERMUTED, WITHIN
from cladescope.scores.contrasts import OVER_LEAF, SHARED

LATENTS_PER_CHUNK = 512
"""A click on a latent loads one chunk."""
EXAMPLES = 8
"""Images of a node's best latent that are shown without loading the latent's chunk."""
IMAGES_PER_FOLDER = 1000
"""Thumbnails in a folder."""
BINS = 24
"""Steps of a latent's histogram."""
BANDS = {
    "strongest": (0, 0),
    "top quarter": (0, 1),
    "second quarter": (1, 2),
    "third quarter": (2, 3),
    "weakest quarter": (3, 4),
}
"""Parts of the images that fire a latent, strongest first, as quarters of their ranks."""


@dataclass(frozen=True)
class Field:
    """How values are written: as whole numbers, `scale` for one, `shift` higher."""

    scale: int = 1
    shift: int = 0
    words: tuple[str, ...] = ()
    """Words that the numbers stand for."""

    def write(self, values: np.ndarray, largest: int) -> np.ndarray:
        """Write values from −`shift` to `largest` in as few bytes as that takes."""
        whole = np.rint(values * self.scale).astype(np.int64) + self.shift
        return smallest(whole, largest * self.scale + self.shift)

    def write_signed(self, values: np.ndarray) -> np.ndarray:
        """Write values of either sign, up to 127 of the smallest steps, as int8."""
        return np.rint(values * self.scale).astype(np.int8)


PLAIN = Field()
PER_CENT = Field(scale=100)
OF_255 = Field(scale=255)
NODE = Field(shift=1)
"""A position in the tree, −1 for none."""
STATUS = Field(words=("dead", "rare", "scored"))

LATENT_NODES = ("lch", "lch_tau", "best", "best_internal")
"""Nodes of a latent, of which `latents.parquet` has the wnids."""
LATENT_SCORES = (
    "effective_classes",
    "purity",
    "lch_tau_share",
    "coverage_tau",
    "coverage_top",
    "monosemanticity",
    "pair_lch",
    "pair_lch_null_permuted",
    "p_value",
    "q_value",
    "significant",
    "coherent",
    "hierarchical",
    *(
        f"{best}_{name}"
        for best in ("best", "best_internal")
        for name in ("mcc", "auroc", "cutoff", "precision", "recall")
    ),
)
"""Columns of `latents.parquet` that a latent's page shows."""
LATENTS = {
    "status": STATUS,
    "n_firing": PLAIN,
    "strongest": PLAIN,
    **dict.fromkeys(LATENT_SCORES, PLAIN),
    **dict.fromkeys(LATENT_NODES, NODE),
    "images_of_bands": PLAIN,
    "relative": OF_255,
    "histogram": PLAIN,
    "false_alarms": PLAIN,
    "n_misses": PLAIN,
    "misses": PLAIN,
}
"""`latents_{i}.js`: one row for each latent of the chunk."""
LISTS = {"classes": PLAIN, "neighbours": PER_CENT, "parents": PER_CENT, "children": PER_CENT}
"""Its lists: how the value that goes with each item is written."""
START, VALUES = "_start", "_values"
"""Names of the columns that belong to a list, behind the list's own."""
NODE_NULLS = ("best_mcc_null_permuted", "best_mcc_null_permuted_high", "recovered_null_permuted")
NODE_VALUES = (
    "held_out",
    "held_out_null_permuted",
    "own_best",
    "own_best_null_permuted",
    "best_mcc",
    *NODE_NULLS,
)
"""Columns of `nodes.parquet`; truth values are 1 and 0."""
NODES = (*NODE_VALUES, "best_latent", "n_finders")
"""`nodes.js` and the chunks of nodes over depth: one row for each node."""
PROBES = {"probe": "probe_mcc", "probe_held_out": "probe_held_out"}
"""Of the linear probe in the chunks of nodes over depth: the column of `probe_nodes.csv`."""
RECURRENCE = dict.fromkeys(("seed_similarity", "seed_similarity_null", "recurrence"), PER_CENT)
"""`recurrence/{i}.js`: one row for each latent."""
PAIRED = (SHARED, LEAF)
"""What a latent's page shows a pair of images for, one with it and one without."""
PAIR_ENDS = ("having", "lacking")
PAIR_COUNTS = ("pairs", "answers", "opposite")
PAIR_EXAMPLES = dict.fromkeys(("pair_images", "pair_activations", "pair_counts"), PLAIN)
"""In `latents_{i}.js` where there are pairs: for each of `PAIRED`, `PAIR_ENDS` or `PAIR_COUNTS`."""
PAIR_CHANGES = (SHARED, LEAF, OVER_LEAF, OTHER, WITHIN, ACROSS)
PAIR_MEASURES = (
    "n_pairs",
    "fires",
    "answer",
    "answer_low",
    "answer_high",
    "answer_random_low",
    "answer_random_high",
    "flips",
    "flips_random",
)
"""`pairs.js`: of each node and change."""
ABLATION_KINDS = TAKING
ABLATION_MEASURES = MEASURES
"""`ablation.js`: of each node and number of latents."""
SEGMENTED = ("precision", "precision_null_permuted", "image_level", "chance", "purity_16")
"""`segmentation.js`: of each class or node whose patches are found by a latent, from its table."""
CHUNK_BYTES = 400_000
"""Of `places_{i}.js`, at most, before deflating, unless one latent takes more."""
MAP_MEASURES = {
    "object_share": "share on the object",
    "object_area": "area of the object",
    "deletion": "deletion (low is good)",
    "insertion": "insertion (high is good)",
}
"""`maps/{latent}.js`: a number for each map, and what the pages call it."""
MAP_VALUES = OF_255
ATTRIBUTES = ("experiment", "token", "layer", "variant", "width", "sparsity", "seed")
"""What tells dictionaries of a dataset apart, what matters most first."""
IDENTITY = ("dictionary", "dataset", "model", "weights", *ATTRIBUTES)
BESIDE = {"low": INTERVAL[0], "high": INTERVAL[1], "null": f"_null_{PERMUTED}"}
"""Columns beside a score's that are shown with it, by their suffix."""


def describe() -> dict[str, Any]:
    """Return all of it as the catalogue holds it."""
    return {
        "images_per_folder": IMAGES_PER_FOLDER,
        "bins": BINS,
        "bands": list(BANDS),
        "attributes": ATTRIBUTES,
        "latents": {name: asdict(field) for name, field in LATENTS.items()},
        "lists": {
            name: {"start": f"{name}{START}", "values": f"{name}{VALUES}", **asdict(field)}
            for name, field in LISTS.items()
        },
        "depth": (*NODES, *PROBES),
        "recurrence": {name: asdict(field) for name, field in RECURRENCE.items()},
        "pair_examples": {name: asdict(field) for name, field in PAIR_EXAMPLES.items()},
        "paired": PAIRED,
        "pair_ends": PAIR_ENDS,
        "pair_counts": PAIR_COUNTS,
        "pair_changes": PAIR_CHANGES,
        "pair_measures": PAIR_MEASURES,
        "ablation_kinds": ABLATION_KINDS,
        "ablation_measures": ABLATION_MEASURES,
        "map_values": asdict(MAP_VALUES),
        "map_measures": MAP_MEASURES,
        "beside": BESIDE,
    }
