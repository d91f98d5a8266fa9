"""Label files: which class each image is of, where its folder does not say."""

import io
from pathlib import Path
from typing import Any

import pandas as pd

from cladescope.files import read_text, reading
from cladescope.images.sources.faults import raise_faults


def read_label_file(path: str | Path) -> tuple[list[str] | None, list[str]]:
    """Read a label file of one of four forms.

    - CSV (commas) with a header: the column `path`, or else the first; the column `wnid`, or else
      `label`, or else the second. Also Kaggle's LOC_val_solution.csv: a label is the first word of
      its cell.
    - Parquet with such columns.
    - Two words a line without a header, path and label (Caffe's val.txt).
    - One word a line, a label, in the order of the sorted file names (TensorFlow's
      synset_labels.txt).

    Returns
    -------
    paths, labels
        As written; paths is None for the last form.

    Raises
    ------
    FileNotFoundError, ValueError
        Names the file and every row that lacks a path or a label.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; correct the dataset's label_files")
    if path.suffix == ".parquet":
        with reading(path, remedy="copy it again"):
            table = pd.read_parquet(path)
        return _two_columns(path, table)
    text = read_text(path)
    first = text.partition("\n")[0]
    if "," in first:
        return _two_columns(path, parse_table(path, text))
    words = len(first.split())
    if words not in (1, 2):
        raise ValueError(
            f"{path}: the first line is {first.strip()!r}; expected a CSV header, or a path and a "
            "label, or only a label"
        )
    table = parse_table(path, text, header=None, sep=r"\s+")
    if words == 1:
        return None, table[0].tolist()
    return _checked(path, table[0], table[1])


def parse_table(path: str | Path, text: str, **options: Any) -> pd.DataFrame:
    """Make a table of a file's text, whose cells are text as well; `options` are pandas's.

    Raises
    ------
    ValueError
        Names the file and the line that is no row.
    """
    try:
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, **options)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path}: {str(error).strip()}; correct the file") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise ValueError(f"{path}: every row has more cells than the header; correct the file")
    return table


def _two_columns(path: Path, table: pd.DataFrame) -> tuple[list[str], list[str]]:
    columns = list(table.columns)
    if len(columns) < 2:
        raise ValueError(f"{path} has only the column {columns[0]!r}; add one with the labels")
    paths = "path" if "path" in columns else columns[0]
    labels = next((name for name in ("wnid", "label") if name in columns), columns[1])
    first_words = table[labels].astype(str).str.split().str[0]
    return _checked(path, table[paths].astype(str), first_words)


def _checked(path: Path, paths: pd.Series, labels: pd.Series) -> tuple[list[str], list[str]]:
    if paths.empty:
        raise ValueError(f"{path} names no image; add a row for each")
    incomplete = paths.eq("") | labels.isna() | labels.eq("")
    raise_faults(
        str(path),
        [
            f"row {row}: {name or 'no path'}: a path or a label is missing; complete the row"
            for row, name in enumerate(paths, start=1)
            if incomplete.iloc[row - 1]
        ]
        if incomplete.any()
        else [],
    )
    return paths.tolist(), labels.tolist()
