"""The tables that a study publishes: every dictionary, every latent, every node."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cladescope.files import read_json, reading, write_aside
from cladescope.jobs import warn
from cladescope.provenance.record import combine

_TEXT = re.compile(
    r"dictionary|experiment|dataset|model|weights|token|variant|library|path|reason|git_commit|"
    r"coalition|latents|nodes|change|"
    r"(.*_)?(wnid|name|class|sha256)"
)
"""Columns of tables that are text, whatever it looks like: a class may be called 007 or NA."""
_RECURRENCE = [
    "n_other_seeds",
    "seed_similarity",
    "seed_similarity_null",
    "recurrence",
    "seed_similarity_assigned",
]
OVERFITTED = 0.15
"""By how much FVE in training may exceed that of the evaluation images without a warning."""
_NO_SEEDS = pd.DataFrame(columns=_RECURRENCE)


def tabulate(
    identities: Sequence[Mapping[str, Any]],
    files: Mapping[str, Sequence[str]],
    recurrence: Sequence[str],
    made: pd.DataFrame,
    outputs: Mapping[str, str],
) -> None:
    """Join what was computed per dictionary into one CSV table of each kind.

    Parameters
    ----------
    identities
        For each dictionary, the columns that say which it is.
    files
        By name, those of each dictionary, in the same order: `about` and `training` of `train_sae`
        or the import, `quality` of `encode`, `scores` and the tables (latents, nodes, ...) of
        `score_dictionary`.
    recurrence
        Files of `match_seeds`.
    made
        Provenance of each dictionary, by its name; every row of every table ends with it.
    outputs
        Where to write: `metrics`, one row per dictionary, and the tables by their names, with
        `dictionary` as the first column. Recurrence stands in `metrics` as means over the scored
        and over the hierarchical latents, in `latents`, and in `nodes` as the best latent's.
    """
    found = pd.concat([_read(file) for file in recurrence]) if recurrence else None
    by_name = dict([*found.groupby("dictionary")]) if found is not None else {}
    names = [identity["dictionary"] for identity in identities]
    of_seeds = [by_name.get(name, _NO_SEEDS)[_RECURRENCE].reset_index(drop=True) for name in names]
    rows = []
    for number, identity in enumerate(identities):
        # A baseline's width is not in the sweep: it follows from the backbone.
        measured, scored = read_json(files["quality"][number]), read_json(files["scores"][number])
        # Each says which machine made it, which is in the provenance.
        del measured["machine"], scored["machine"]
        if identity.get("library"):
            # What the sweep says of others the files of an imported dictionary do.
            measured["sparsity"] = read_json(files["about"][number])["k"]
        if shared := measured.keys() & scored.keys():
            raise ValueError(
                f"{files['quality'][number]} and {files['scores'][number]} both hold "
                f"{', '.join(shared)}"
            )
        measured["train_fve"] = _train_fve(files["training"][number])
        latents = _read(files["latents"][number], ["status", "hierarchical"])
        means = _recurrence_means(latents, of_seeds[number])
        rows.append({**identity, **measured, **scored, **means, **made.loc[identity["dictionary"]]})
    metrics = pd.DataFrame(rows).astype({"sparsity": "Float64", "seed": "Int64"})
    # Whole numbers where every sparsity is one.
    metrics["sparsity"] = metrics["sparsity"].convert_dtypes()
    _warn_of_overfitting(metrics)
    write_csv([metrics], outputs["metrics"])
    for table in [name for name in outputs if name != "metrics"]:
        parts = (
            _with_recurrence(_with_name(file, name), table, seeds).assign(**made.loc[name])
            for file, name, seeds in zip(files[table], names, of_seeds, strict=True)
        )
        write_csv(parts, outputs[table])


def _train_fve(log: str) -> float | None:
    """Return the FVE of the last steps of training; None where nothing was trained."""
    table = _read(log)
    return float(table["fve"].iloc[-1]) if len(table) else None


def _warn_of_overfitting(metrics: pd.DataFrame) -> None:
    """Say how many dictionaries explain their training images far better than others."""
    gap = (metrics["train_fve"].astype(float) - metrics["fve"]).fillna(0).to_numpy()
    if (gap > OVERFITTED).any():
        worst = metrics.iloc[gap.argmax()]
        warn(
            f"{(gap > OVERFITTED).sum()} of {len(gap)} dictionaries explain their training images "
            f"far better than the evaluation images, most of all {worst['dictionary']}: FVE "
            f"{worst['train_fve']:.2f} and {worst['fve']:.2f}. Lower training.images or the "
            "widths, or take more images"
        )


def tabulate_rows(
    identities: Sequence[Mapping[str, Any]],
    files: Sequence[str],
    made: pd.DataFrame,
    path: str | Path,
) -> None:
    """Put tables of dictionaries (Parquet) below each other, each row with what it is of.

    Parameters
    ----------
    identities
        For each dictionary, the columns that say which it is.
    files
        For each dictionary, in the same order.
    made
        Provenance of each dictionary, by its name; every row ends with it.
    """
    parts = (
        pd.concat([pd.DataFrame([identity] * len(table), table.index), table], axis=1).assign(
            **made.loc[identity["dictionary"]]
        )
        for identity, table in zip(identities, map(_read, files), strict=True)
    )
    write_csv(parts, path)


def tabulate_summaries(
    identities: Sequence[Mapping[str, Any]],
    summaries: Iterable[Iterable[Mapping[str, Any]]],
    made: pd.DataFrame,
    path: str | Path,
) -> None:
    """Put what sums dictionaries up below each other, each row with what it is of.

    Parameters
    ----------
    identities
        For each dictionary, the columns that say which it is.
    summaries
        For each dictionary, in the same order, its rows.
    made
        Provenance of each dictionary, by its name; every row ends with it.
    """
    rows = [
        {**identity, **row, **made.loc[identity["dictionary"]]}
        for identity, summary in zip(identities, summaries, strict=True)
        for row in summary
    ]
    write_csv([pd.DataFrame(rows)], path)


def gather_layers(
    files: Sequence[str],
    layers: Sequence[tuple[str, str, int]],
    made: pd.DataFrame,
    path: str | Path,
) -> None:
    """Put tables (Parquet) below each other, each with its experiment, token and layer in front.

    `made` holds the layers' provenance, by `{experiment}/{token}/L{layer}`, which goes behind.
    """
    parts = []
    for file, (experiment, token, layer) in zip(files, layers, strict=True):
        part = _read(file)
        part.insert(0, "experiment", experiment)
        part.insert(1, "token", token)
        part.insert(2, "layer", layer)
        parts.append(part.assign(**made.loc[f"{experiment}/{token}/L{layer}"]))
    write_csv(parts, path)


def tabulate_skipped(
    tables: Mapping[tuple[str, str], str], made: Mapping[str, pd.DataFrame], path: str | Path
) -> None:
    """Gather the bad images that the indices leave out, which are few or none.

    Parameters
    ----------
    tables
        The index's table of skipped images for each dataset and split.
    made
        For each dataset, the provenance of all that was made from it.
    path
        CSV with the columns dataset, split, path, wnid, reason and the provenance.
    """
    parts = []
    for (dataset, split), table in tables.items():
        part = read_csv(table)
        part.insert(0, "dataset", dataset)
        part.insert(1, "split", split)
        parts.append(part.assign(**combine(made[dataset])))
    write_csv([pd.concat(parts)], path)


def join_logs(identities: Sequence[Mapping[str, Any]], logs: Sequence[str]) -> pd.DataFrame:
    """Return the training logs below each other, with their dictionaries' columns beside them."""
    parts = [_read(log).assign(**identity) for identity, log in zip(identities, logs, strict=True)]
    return pd.concat(parts) if parts else pd.DataFrame()


def _recurrence_means(latents: pd.DataFrame, seeds: pd.DataFrame) -> dict[str, float | None]:
    names = {name: name for name in _RECURRENCE[1:]} | {"recurrence_hierarchical": "recurrence"}
    if seeds.empty:
        return dict.fromkeys(names)
    scored = (latents["status"] == "scored").to_numpy(bool)
    hierarchical = latents["hierarchical"].eq(True).to_numpy(bool)
    return {
        name: seeds[column][hierarchical if name.endswith("hierarchical") else scored].mean()
        for name, column in names.items()
    }


def _with_recurrence(table: pd.DataFrame, name: str, seeds: pd.DataFrame) -> pd.DataFrame:
    if name == "latents":
        return pd.concat([table, seeds.reindex(range(len(table)))], axis=1)
    if name == "nodes":
        best = seeds["recurrence"].reindex(table["best_latent"].fillna(-1).astype(int))
        return table.assign(best_recurrence=best.to_numpy())
    return table


def _read(file: str, columns: list[str] | None = None) -> pd.DataFrame:
    with reading(file):
        return pd.read_parquet(file, columns=columns)


def _with_name(file: str, name: str) -> pd.DataFrame:
    table = _read(file)
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


def read_csv(path: str | Path) -> pd.DataFrame:
    """Read a table that `write_csv` wrote: ids and names are text, only an empty cell is missing.

    Raises
    ------
    ValueError
        Names the file if it is no such table.
    """
    # The file alone knows its columns, and pandas guesses the type of those that are not named.
    with reading(path):
        columns = pd.read_csv(path, nrows=0).columns
        text = {name: str for name in columns if _TEXT.fullmatch(name)}
        return pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""])
