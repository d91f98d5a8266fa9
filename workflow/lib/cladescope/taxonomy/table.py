"""A taxonomy of the user's own: a table of parents and children, for classes outside WordNet."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from cladescope.files import read_text
from cladescope.taxonomy.taxonomy import Taxonomy, taxonomy_from_parents


def read_taxonomy_table(path: str | Path, classes: Sequence[str]) -> Taxonomy:
    """Read the taxonomy of `classes`, given in the order of the labels.

    The file is a CSV table with the columns `child` and `parent`, one row per edge (a node may have
    several parents; the root has no row as a child, or one with an empty parent), and optionally
    `name`, the child's name. Nodes without a class below them are left out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        Names the file and lists every bad row, every class that the table lacks, every node on a
        cycle, and every root if there are several.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; set the dataset's taxonomy to a CSV table")
    parents: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    problems = []
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        if missing := {"child", "parent"} - set(rows.fieldnames or ()):
            raise ValueError(f"{path} has no column {' and '.join(sorted(missing))}; add it")
        for row in rows:
            if None in row:
                problems.append(f"line {rows.line_num}: more cells than the header has")
                continue
            child, parent = (row["child"] or "").strip(), (row["parent"] or "").strip()
            if not child:
                problems.append(f"line {rows.line_num}: no child")
                continue
            above = parents.setdefault(child, [])
            if parent:
                parents.setdefault(parent, [])
                if parent not in above:
                    above.append(parent)
            if name := (row.get("name") or "").strip():
                names[child] = name
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num}: {error}; correct it") from error
    if unknown := [c for c in classes if c not in parents]:
        problems.append(f"classes that the table lacks: {', '.join(unknown)}")
    if problems:
        raise ValueError(f"{path}: {'; '.join(problems)}")
    try:
        return taxonomy_from_parents(classes, parents, names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
