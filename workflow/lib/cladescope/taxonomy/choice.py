"""Whose hierarchy classes stand in: WordNet's, or that of a table of the user's."""

from collections.abc import Sequence
from pathlib import Path

from cladescope.taxonomy.table import read_taxonomy_table
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.wordnet import build_taxonomy


def taxonomy_of(
    classes: Sequence[str], table: str | Path | None, nltk_data: str | Path
) -> Taxonomy:
    """Return the taxonomy of classes, given in the order of the labels.

    Parameters
    ----------
    table
        As `read_taxonomy_table` takes it; if there is none, as `build_taxonomy` reads WordNet.
    nltk_data
        Folder of WordNet.
    """
    return read_taxonomy_table(table, classes) if table else build_taxonomy(classes, nltk_data)
