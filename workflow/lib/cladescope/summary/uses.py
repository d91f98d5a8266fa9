"""What codes are good for, over classes and nodes: rows for each dictionary."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cladescope.scores.by_size import SIZES
from cladescope.summary.cells import span, table_of, with_null
from cladescope.summary.intervals import interval_of_mean
from cladescope.uses.table import (
    ACCURACY,
    AUROC,
    COMPONENTS,
    FEW_SHOTS,
    FIRST_PRECISION,
    HEIGHT,
    LEVELS,
    NODE,
    PRECISION,
    RAW,
    RETRIEVAL,
    SPARSE_PROBES,
    TRANSFER,
)

COMPARED = (RAW, COMPONENTS)
COLUMNS = ("codes", *COMPARED, "chance", "codes_null_permuted")
ALL = "all"


def summarise(
    table: pd.DataFrame, about: Mapping[str, Any], draws: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for each measure, level and number, of nodes for each size too.

    docs/uses.md has the columns. A value is averaged over the draws of examples first. Intervals
    resample classes, groups of classes or nodes, the same for all columns; the images stay as they
    are.
    """
    keys = ["task", "measure", "level", "n"]
    for key, part in table.groupby(keys, sort=False, dropna=False):
        names = dict(zip(keys, key, strict=True))
        for size, (least, most) in SIZES.items():
            if size == ALL:
                kept = part
            elif names["level"] == NODE:
                kept = part[part["n_leaves"].between(least, most or np.inf)]
            else:
                continue
            yield {**names, "size": size, **_means(kept, draws, seed), **about}


def _means(part: pd.DataFrame, draws: int, seed: int) -> dict[str, Any]:
    # Of every draw the same classes or nodes, in the same order.
    unit = part.groupby("draw", dropna=False).cumcount()
    units = part[list(COLUMNS)].groupby(unit).mean()
    units = units[units["codes"].notna()]
    found: dict[str, Any] = {"n_units": len(units)}
    values = {name: units[name] for name in ("codes", *COMPARED)}
    values |= {f"over_{name}": units["codes"] - units[name] for name in COMPARED}
    for name, column in values.items():
        low, high = interval_of_mean(column.to_numpy(), draws, seed)
        found |= {name: column.mean(), f"{name}_low": low, f"{name}_high": high}
    found |= {name: units[name].mean() for name in ("chance", "codes_null_permuted")}
    of_draws = part.groupby("draw")[["codes", RAW]].mean()
    found |= {f"{name}_spread": of_draws[name].std() for name in of_draws}
    return {name: None if pd.isna(value) else value for name, value in found.items()}


def uses_section(table: pd.DataFrame) -> list[str]:
    """Return the page of evidence's parts on what codes are good for, at each place.

    Parameters
    ----------
    table
        The table `uses.csv`, with the dictionary's kind in words as `kind`.
    """
    parts = [
        "## What are the codes good for?",
        "Retrieval by cosine: mean average precision, and of the first 10 the share of the same "
        "leaf and the height of the LCH. Balanced accuracy of groups told by the nearest mean of a "
        "few examples. AUROC of nodes on classes that they were not learnt from. Balanced accuracy "
        "of nodes told by k latents. “Null”: leaves permuted. “Components”: of the activations, "
        "as many as take the bytes of a code.",
    ]
    rows = table[table["size"] == ALL]
    shown = _shown(rows)
    for place, part in rows.groupby(["experiment", "token", "layer"], sort=False):
        experiment, token, layer = place
        found = [
            [str(kind), f"{span(of, 'nonzeros', 1)}", *_cells(of, shown, "codes")]
            for kind, of in part.groupby("kind", sort=False)
        ]
        found.append(["raw activations", "", *_cells(part, shown, RAW)])
        found += [
            [f"{components} components", "", *_cells(of, shown, COMPONENTS)]
            for components, of in part.groupby("components")
        ]
        found.append(["chance", "", *_cells(part, shown, "chance")])
        header = ["", "non-zeros", *shown]
        parts += [f"{experiment}, {token}, layer {layer}:", table_of(header, found)]
    return parts


def _shown(rows: pd.DataFrame) -> dict[str, tuple[str, str, str, float | None]]:
    """Return the columns of the page: task, measure, level and number."""
    columns: dict[str, tuple[str, str, str, float | None]] = {
        f"mAP, {level}": (RETRIEVAL, PRECISION, level, None) for level in LEVELS
    }
    columns["first 10, leaf"] = (RETRIEVAL, FIRST_PRECISION, "leaf", None)
    columns["first 10, LCH height"] = (RETRIEVAL, HEIGHT, "leaf", None)
    numbers = {task: sorted(part["n"].unique()) for task, part in rows.groupby("task")}
    for n in _ends(numbers[FEW_SHOTS]):
        columns[f"{n:g} a leaf"] = (FEW_SHOTS, ACCURACY, "leaf", n)
    most = numbers[FEW_SHOTS][-1]
    columns[f"{most:g} a family"] = (FEW_SHOTS, ACCURACY, "family", most)
    columns[f"{most:g} a class, unseen classes"] = (TRANSFER, AUROC, NODE, most)
    # None where no taxonomy has an internal node.
    for k in _ends(numbers.get(SPARSE_PROBES, ())):
        columns[f"k = {k:g}"] = (SPARSE_PROBES, ACCURACY, NODE, k)
    return columns


def _ends(numbers: Sequence[float]) -> dict[float, None]:
    return dict.fromkeys((*numbers[:1], *numbers[-1:]))


def _cells(
    rows: pd.DataFrame, shown: Mapping[str, tuple[str, str, str, float | None]], column: str
) -> Iterator[str]:
    """Write the mean over dictionaries of each column of the page."""
    for task, measure, level, n in shown.values():
        here = rows[rows["task"].eq(task) & rows["measure"].eq(measure) & rows["level"].eq(level)]
        yield with_null(here[here["n"].isna() if n is None else here["n"].eq(n)], column)
