"""Whether a second run is the same as the first and, if not, where they differ."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from cladescope import layout
from cladescope.kept import FOLDER as KEPT

DIFFERING = (layout.LOGS, layout.BENCHMARKS, KEPT)
"""Folders of a results folder that describe how a run went, not what came out."""
SOURCE = ".source.json"
"""Files that say where a dataset's images are, which may differ."""


def compare_results(first: str | Path, second: str | Path) -> Iterator[str]:
    """Yield the differences of two results folders, one for each file, the first in the file.

    Every file must have the same bytes: tables, figures, tensors, activations, records. Logs,
    measured times and the locations of images do not count.

    Raises
    ------
    FileNotFoundError
        If a folder does not exist.
    """
    folders = [Path(first), Path(second)]
    names = [set(_results(folder)) for folder in folders]
    for name in sorted(names[0] | names[1]):
        a, b = (folder / name for folder in folders)
        if name not in names[0] or name not in names[1]:
            yield f"{name}: only in {first if name in names[0] else second}"
        elif a.read_bytes() != b.read_bytes():
            yield f"{name}: {_difference(a, b)}"


def _results(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist")
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        own = name.parts[0] not in DIFFERING and str(name) != layout.COSTS
        # A seal says no more than the file that it is of.
        own = own and not name.name.endswith(SOURCE) and name.suffix != ".seal"
        if own and path.is_file():
            yield str(name)


def _difference(a: Path, b: Path) -> str:
    """Say where two files of the same name first differ."""
    if a.suffix == ".safetensors":
        return _first_of_tensors(load_file(a), load_file(b))
    if a.suffix == ".parquet":
        return _first_of_tables(pd.read_parquet(a), pd.read_parquet(b))
    if a.name.endswith((".csv", ".csv.gz")):
        # As text, so that every digit counts.
        return _first_of_tables(*(pd.read_csv(p, dtype=str, na_filter=False) for p in (a, b)))
    x, y = (np.fromfile(path, np.uint8) for path in (a, b))
    if len(x) != len(y):
        return f"{len(x)} bytes against {len(y)}"
    return f"byte {int(np.flatnonzero(x != y)[0])} of {len(x)}"


def _first_of_tensors(x: dict[str, np.ndarray], y: dict[str, np.ndarray]) -> str:
    if x.keys() != y.keys():
        return f"tensors {sorted(x)} against {sorted(y)}"
    for name in sorted(x):
        a, b = x[name], y[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"{name} is {a.dtype} {a.shape} against {b.dtype} {b.shape}"
        different = np.argwhere(~((a == b) | ((a != a) & (b != b))))
        if len(different):
            where = tuple(map(int, different[0]))
            gap = float(np.abs(a.astype(np.float64) - b).max())
            return (
                f"{name}{list(where)} is {a[where]!s} against {b[where]!s}; {len(different)} of "
                f"{a.size} values differ, by up to {gap:.3g}"
            )
    return "the same tensors in files of other bytes"


def _first_of_tables(x: pd.DataFrame, y: pd.DataFrame) -> str:
    if [*x.columns] != [*y.columns]:
        return f"columns {sorted({*x.columns} ^ {*y.columns})} are in one only, or in other order"
    if len(x) != len(y):
        return f"{len(x)} rows against {len(y)}"
    for column in x:
        a, b = x[column].astype(str), y[column].astype(str)
        rows = np.flatnonzero(a.to_numpy() != b.to_numpy())
        if len(rows):
            row = int(rows[0])
            return (
                f"row {row}, column {column} is {a.iloc[row]} against {b.iloc[row]}; "
                f"{len(rows)} of {len(a)} rows differ there"
            )
    return "the same table in files of other bytes"
