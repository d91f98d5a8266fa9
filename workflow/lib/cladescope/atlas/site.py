"""What all dictionaries of an atlas share: the pages, the catalogue, the trees, nodes over depth.

`shared/catalogue.js` says which dictionaries there are and how they score, `shared/datasets/`
holds the tree and, for a few nodes at a time, how every dictionary does on them, and
`shared/recurrence/` what recurs in other seeds.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cladescope.atlas.chunks import read_chunk, smallest, write_chunk
from cladescope.atlas.wire import BESIDE, IDENTITY, NODE_VALUES, PROBES, RECURRENCE, describe
from cladescope.files import write_aside
from cladescope.images.index import ImageIndex
from cladescope.layout import page_folder
from cladescope.names import SCORES, WORDS
from cladescope.provenance.record import COLUMNS
from cladescope.summary.tables import read_csv
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.tree import Tree

SHOWN = (
    "held_out",
    "held_out_large",
    "held_out_matched",
    "own_best_recovery",
    "node_recovery_above_null",
    "coalition_f1_5",
    "node_recovery",
    "node_recovery_matched",
    "leaf_recovery",
    "ontological_coverage",
    "coherent_share",
    "significant_share",
    "single_class_share",
    "pair_lch",
    "best_internal_mcc",
    "monosemanticity",
    "hierarchy_consistency",
    "absorption",
    "recurrence",
    "fve",
    "l0",
    "n_scored",
    "n_rare",
    "n_dead",
)
"""Columns of `metrics.csv` that are compared, each with those of `wire.BESIDE` that there are."""
CHUNK_BYTES = 200_000
"""Aimed size of a chunk of nodes over depth."""


@dataclass(frozen=True)
class Study:
    """The files of a finished study that the pages of all dictionaries are made from."""

    metrics: str | Path
    """`tables/metrics.csv`."""
    probes: str | Path | None
    """`tables/probe_nodes.csv`; None where nothing is probed."""
    recurrence: Sequence[str]
    """Files of `match_seeds`."""
    datasets: Mapping[str, Mapping[str, str | None]]
    """By name, the files `taxonomy`, `index` (of the evaluation split) and `drawn`, which says what
    is drawn for each node, of a planted world, or None."""
    dictionaries: str | Path
    """Folder with the pages of each dictionary, as `DictionaryPages` writes them."""


def build_atlas(
    study: Study, settings: Mapping[str, Any], pages: str | Path, outputs: Mapping[str, str]
) -> None:
    """Write what the pages of all dictionaries share.

    Parameters
    ----------
    settings
        `names.SETTINGS` by name, and the name of the dictionary that is `shown` first.
    pages
        Folder of the site's own HTML, CSS and JavaScript.
    outputs
        `index` (HTML), `pages` and `shared` (folders).
    """
    table = read_csv(study.metrics)
    _copy_pages(Path(pages), outputs)
    with write_aside(outputs["shared"]) as aside:
        aside.mkdir()
        write_chunk(aside / "catalogue.js", settings=dict(settings), **_catalogue(table))
        _write_recurrence(table, study.recurrence, aside / "recurrence")
        probed = read_csv(study.probes) if study.probes else None
        for name, files in study.datasets.items():
            taxonomy = Taxonomy.load(str(files["taxonomy"]))
            labels = ImageIndex.load(str(files["index"])).labels
            folder = aside / "datasets" / name
            write_chunk(folder / "tree.js", **describe_tree(taxonomy, labels, files["drawn"]))
            mine = table[table["dataset"] == name]
            chunks = [
                read_chunk(Path(study.dictionaries) / page_folder(dictionary) / "nodes.js")
                for dictionary in mine["dictionary"]
            ]
            probes = {
                name: _probe_matrix(mine, probed, column, taxonomy)
                for name, column in PROBES.items()
            }
            _write_depth(chunks, mine.index.to_numpy(), probes, folder)


def _copy_pages(pages: Path, outputs: Mapping[str, str]) -> None:
    with write_aside(outputs["pages"]) as aside:
        aside.mkdir()
        for file in sorted(pages.iterdir()):
            if file.suffix in (".js", ".css"):
                shutil.copyfile(file, aside / file.name)
    with write_aside(outputs["index"]) as aside:
        shutil.copyfile(pages / "index.html", aside)


def _catalogue(table: pd.DataFrame) -> dict[str, Any]:
    """One entry per dictionary in every column; null where a baseline has no such option."""
    identity = {name: _values(table[name]) for name in IDENTITY}
    # Whole numbers as such: pandas reads a column with gaps as floats.
    for name in ("width", "sparsity", "seed"):
        identity[name] = [
            int(value) if value is not None and float(value).is_integer() else value
            for value in identity[name]
        ]
    shown = [name for name in SHOWN if name in table]
    columns = [f"{name}{end}" for name in shown for end in ("", *BESIDE.values())]
    return {
        "format": describe(),
        "identity": identity,
        "folders": [page_folder(dictionary) for dictionary in table["dictionary"]],
        "made_from": {name: _values(table[name]) for name in COLUMNS if name in table},
        "scores": [
            {
                "name": name,
                **WORDS[name]._asdict(),
                "hierarchical": SCORES[name].hierarchical if name in SCORES else 0,
            }
            for name in shown
        ],
        **{name: _floats(table[name]) for name in columns if name in table},
    }


def describe_tree(
    taxonomy: Taxonomy, labels: np.ndarray, drawn: str | Path | None
) -> dict[str, Any]:
    """Describe the contracted taxonomy as a tree to draw, and the classes of the images.

    A node with several parents hangs under the deepest one (ties: the one with fewer classes), that
    is, on its longest path; the others are listed behind it.
    """
    tree = Tree.of(taxonomy)
    n = len(tree.node)
    position = {int(node): i for i, node in enumerate(tree.node)}
    aliases: list[list[str]] = [[] for _ in range(n)]
    above: list[set[int]] = [set() for _ in range(n)]
    for node, of in enumerate(taxonomy.representative):
        i = position[int(of)]
        if node != of:
            aliases[i].append(taxonomy.names[node])
        above[i] |= {position[int(taxonomy.representative[p])] for p in taxonomy.parents[node]} - {
            i
        }
    depth = taxonomy.depth[tree.node]
    parents = [sorted(nodes, key=lambda p: (-depth[p], tree.n_leaves[p], p)) for nodes in above]
    members = [np.flatnonzero(column) for column in tree.covers.T]
    wnids = tree.wnids.tolist()
    own = [taxonomy.nodes.index(leaf) for leaf in taxonomy.leaves]
    at_class = [position[int(taxonomy.representative[node])] for node in own]
    size = np.bincount(labels, minlength=len(taxonomy.leaves))
    reasons = {}
    if drawn is not None:
        table = read_csv(drawn).fillna("")
        reasons = {
            row["wnid"]: [bool(row["drawn"]), row["reason"]] for row in table.to_dict("records")
        }
    return {
        "wnid": wnids,
        "name": [taxonomy.names[node] for node in tree.node],
        "aliases": aliases,
        "parents": parents,
        "members_start": smallest(np.cumsum([0, *map(len, members)]), 2**32 - 1),
        "members": smallest(np.concatenate(members), len(tree.covers)),
        "class_node": smallest(np.array(at_class), n),
        "class_size": smallest(size, 2**32 - 1),
        "labels": smallest(labels, len(tree.covers)),
        "drawn": [reasons.get(wnid) for wnid in wnids],
    }


def _probe_matrix(
    table: pd.DataFrame, probes: pd.DataFrame | None, column: str, taxonomy: Taxonomy
) -> np.ndarray:
    """float32 (dictionaries, nodes): a column of the probe at the dictionary's layer, or NaN."""
    wnids = Tree.of(taxonomy).wnids
    if probes is None:
        return np.full((len(table), len(wnids)), np.nan, np.float32)
    by_layer = probes.pivot_table(
        index=["experiment", "token", "layer"], columns="wnid", values=column
    )
    layers = pd.MultiIndex.from_frame(table[["experiment", "token", "layer"]])
    return by_layer.reindex(index=layers, columns=wnids).to_numpy(np.float32)


def _write_depth(
    chunks: Sequence[Mapping[str, Any]],
    numbers: np.ndarray,
    probes: Mapping[str, np.ndarray],
    folder: Path,
) -> None:
    """Write, for a few nodes at a time, one row per dictionary and node.

    Parameters
    ----------
    chunks
        `nodes.js` of each dictionary of the dataset.
    numbers
        Their positions in the catalogue.
    probes
        By name, float32 (dictionaries, nodes).
    """
    columns = {name: np.stack([chunk[name] for chunk in chunks]) for name in NODE_VALUES}
    columns |= probes
    for name in ("best_latent", "n_finders"):
        values = np.stack([chunk[name].astype(np.int64) for chunk in chunks])
        columns[name] = smallest(values, int(values.max()))
    n_nodes = columns["best_mcc"].shape[1]
    per_node = sum(values.nbytes for values in columns.values()) // n_nodes
    step = max(1, CHUNK_BYTES // per_node)
    write_chunk(folder / "depth.js", nodes_per_chunk=step, dictionaries=smallest(numbers, 2**31))
    for start in range(0, n_nodes, step):
        write_chunk(
            folder / f"depth_{start // step}.js",
            n_nodes=min(step, n_nodes - start),
            **{name: values[:, start : start + step] for name, values in columns.items()},
        )


def _write_recurrence(table: pd.DataFrame, files: Sequence[str], folder: Path) -> None:
    """Write for each dictionary with other seeds how its latents recur in them, in per cent."""
    folder.mkdir()
    number = {name: i for i, name in zip(table.index, table["dictionary"], strict=True)}
    for file in files:
        for name, rows in pd.read_parquet(file).groupby("dictionary", sort=False):
            if name in number and rows["seed_similarity"].notna().any():
                rows = rows.sort_values("latent")
                write_chunk(
                    folder / f"{number[name]}.js",
                    n_other_seeds=int(rows["n_other_seeds"].iloc[0]),
                    **{
                        column: field.write_signed(rows[column].to_numpy())
                        for column, field in RECURRENCE.items()
                    },
                )


def _values(column: pd.Series) -> list[Any]:
    """Values as JSON has them, None where missing."""
    return [None if pd.isna(value) else value for value in column.astype(object)]


def _floats(column: pd.Series) -> np.ndarray:
    return column.to_numpy(np.float32, na_value=np.nan)
