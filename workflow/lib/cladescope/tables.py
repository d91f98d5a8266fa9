"""The tables that a study publishes: every dictionary, every latent, every node."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cladescope.files import read_json, write_aside


def tabulate(
    identities: Sequence[Mapping[str, Any]],
    quality: Sequence[str],
    scores: Sequence[str],
    latents: Sequence[str],
    nodes: Sequence[str],
    metrics_table: str | Path,
    latents_table: str | Path,
    nodes_table: str | Path,
) -> None:
    """Join what was computed per dictionary into three CSV tables.

    Parameters
    ----------
    identities
        For each dictionary, the columns that say which it is.
    quality, scores, latents, nodes
        For each dictionary, in the same order, the files of `encode` and `score_dictionary`.
    metrics_table
        One row per dictionary: identity, quality, scores, nulls.
    latents_table, nodes_table
        One row per latent, or per taxonomy node, of each dictionary, keyed by `dictionary`.
    """
    rows = []
    for identity, quality_file, scores_file in zip(identities, quality, scores, strict=True):
        # A baseline's width is not in the sweep: it follows from the backbone.
        measured, scored = read_json(quality_file), read_json(scores_file)
        if shared := measured.keys() & scored.keys():
            raise ValueError(f"{quality_file} and {scores_file} both hold {', '.join(shared)}")
        rows.append({**identity, **measured, **scored})
    metrics = pd.DataFrame(rows).astype({"sparsity": "Int64", "seed": "Int64"})
    write_csv([metrics], metrics_table)
    names = [identity["dictionary"] for identity in identities]
    for files, table in ((latents, latents_table), (nodes, nodes_table)):
        write_csv((_with_name(file, name) for file, name in zip(files, names, strict=True)), table)


def tabulate_skipped(tables: Mapping[tuple[str, str], str], path: str | Path) -> None:
    """Gather the bad images that the indices leave out, which are few or none.

    Parameters
    ----------
    tables
        The index's table of skipped images for each dataset and split.
    path
        CSV with the columns dataset, split, path, wnid, reason.
    """
    parts = []
    for (dataset, split), table in tables.items():
        part = pd.read_csv(table, dtype=str, keep_default_na=False)
        part.insert(0, "dataset", dataset)
        part.insert(1, "split", split)
        parts.append(part)
    write_csv([pd.concat(parts)], path)


def _with_name(file: str, name: str) -> pd.DataFrame:
    table = pd.read_parquet(file)
    table.insert(0, "dictionary", name)
    return table


def write_csv(parts: Iterable[pd.DataFrame], path: str | Path) -> None:
    """Write the parts below one header; one part is in memory at a time."""
    packed = Path(path).suffix == ".gz"
    # Without a time stamp, so that the same table makes the same bytes.
    compression: Any = {"method": "gzip", "mtime": 0} if packed else None
    with write_aside(path) as aside:
        for number, part in enumerate(parts):
            part.to_csv(
                aside,
                mode="a" if number else "w",
                header=not number,
                index=False,
                lineterminator="\n",
                compression=compression,
            )
