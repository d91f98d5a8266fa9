"""Which images belong together: those of one patient, photographer, vendor, drawing or video.

Images of a group resemble each other beyond their class. Where a group lies on both sides of a
split, what was learnt or chosen on one side looks better on the other than it is on a new group.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cladescope.files import read_text, reading, write_aside
from cladescope.images.index import ImageIndex
from cladescope.images.sources.faults import raise_faults
from cladescope.images.sources.label_files import parse_table


def group_images(index: ImageIndex, label_file: str | Path, column: str, path: str | Path) -> None:
    """Look the images' groups up in a column of their label file, and write them (Parquet).

    The file has the columns `image_id` and `group`, in the order of the index.

    Parameters
    ----------
    label_file
        CSV with a header, or Parquet; a path is in the column `path`, or else the first.

    Raises
    ------
    ValueError
        Names the file if it lacks the column, and lists the images that have no group.
    """
    if Path(label_file).suffix == ".parquet":
        table = pd.read_parquet(label_file).astype(object).fillna("").astype(str)
    else:
        table = parse_table(label_file, read_text(label_file))
    if column not in table.columns:
        raise ValueError(
            f"{label_file} has no column {column!r}, which the dataset's `group` names; it has "
            + ", ".join(map(str, table.columns))
        )
    paths = table["path" if "path" in table.columns else table.columns[0]]
    known = dict(zip(paths, table[column], strict=True))
    # A label file may leave the extension out.
    groups = [known.get(p) or known.get(p.rpartition(".")[0]) or "" for p in index.paths]
    raise_faults(
        str(label_file),
        [
            f"{name}: no {column}; complete the column"
            for name, group in zip(index.paths, groups, strict=True)
            if not group
        ],
    )
    columns = {"image_id": np.arange(len(index), dtype=np.int32), "group": groups}
    with write_aside(path) as aside:
        pq.write_table(pa.table(columns), aside, compression="zstd")


def load_groups(path: str | Path) -> np.ndarray:
    """Return the group of each image, int64 (images,), numbered from 0 in the order of names."""
    with reading(path):
        names = pq.read_table(path)["group"].to_numpy()
    return np.unique(names.astype(str), return_inverse=True)[1]
