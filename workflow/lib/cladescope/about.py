"""Tables of one dictionary's classes or nodes, with what holds for the whole of it beside them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cladescope.files import reading, write_aside

_KEY = "about"


def write_about(table: pa.Table, about: Mapping[str, Any], path: str | Path) -> None:
    """Write the table (Parquet), in its metadata what is said `about` it, as JSON."""
    table = table.replace_schema_metadata({_KEY: json.dumps({**about}, sort_keys=True)})
    with write_aside(path) as aside:
        pq.write_table(table, aside, compression="zstd")


def read_about(path: str | Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return rows about a dictionary's classes or nodes, and what holds for the whole of it."""
    with reading(path):
        table = pq.read_table(path)
    return table.to_pandas(), json.loads(table.schema.metadata[_KEY.encode()])
