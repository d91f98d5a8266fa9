"""Where everything lies below the results folder; nobody else puts these paths together.

Patterns with names in braces, which rules use as wildcards and code fills in with `format`.
"""

import re
from pathlib import PurePath

SPLITS = ("train", "eval")
PAIRS = "pairs"
"""Split of the images that differ in one thing, where a dataset has them."""

DATASET = "datasets/{dataset}"
RENDERED = DATASET + "/rendered/{split}"
"""Folder of images; a table of what was drawn lies beside it, as `.parquet`."""
IMAGES = DATASET + "/images/{split}"
"""Stem: `.parquet` is the index, `.source.json` where the images are, `_skipped.csv` bad images."""
INDEX = IMAGES + ".parquet"
GROUPS = IMAGES + ".groups.parquet"
MASKS = IMAGES + ".masks.parquet"
"""Masks of a dataset's images that are files of the user's; beside it where they are."""
MASK_TAXONOMY = IMAGES + ".mask_taxonomy.parquet"
"""Nodes above what such masks show."""
PAIR_TABLE = DATASET + "/pairs.parquet"
"""Which images of the split `pairs` differ in what."""
RENDERED_PAIRS = RENDERED.format(dataset="{dataset}", split=PAIRS)
TAXONOMY = DATASET + "/taxonomy.parquet"

BACKBONE = "backbones/{dataset}/{recipe}/s{seed}"
"""Stem of weights that the workflow trained by a recipe: `.safetensors` and `.json`."""

LAYER = "{token}/L{layer}"
MANIFEST = "{experiment}/activations/{split}/" + LAYER + ".json"
"""Of a store of activations, which lies beside it as `.zarr`."""
PARTIAL = "{experiment}/activations/{split}/{token}/.L{layer}.{shards}.json"
"""The same of some of a store's shards (`0-15`), until all are there."""
POINT = LAYER + "/{variant}/{name}"
"""One dictionary of an experiment's sweep."""
DICTIONARY = "{experiment}/dictionaries/" + POINT
RECURRENCE = "{experiment}/recurrence/" + LAYER + ".parquet"
PROBES = "{experiment}/probes/" + LAYER
"""Stem: `.parquet` by level of the taxonomy, `_nodes.parquet` by node."""
PROVENANCE = "{experiment}/provenance.json"

TABLES = "tables"
COSTS = TABLES + "/costs.csv"
FIGURES = "figures"
ATLAS = "atlas"
PAGES = ATLAS + "/dictionaries/{experiment}/" + POINT
"""A dictionary's pages in the atlas."""
THUMBNAILS = ATLAS + "/images/{dataset}"
ATLAS_CODE = ATLAS + "/pages"
ATLAS_SHARED = ATLAS + "/shared"
FOLDERS = (RENDERED, PAGES, THUMBNAILS, ATLAS_CODE, ATLAS_SHARED)
"""What is one output, though a folder (of `RENDERED` beside a table of the same stem)."""

LOGS = "logs"
BENCHMARKS = "benchmarks"
RESERVED = ("datasets", "backbones", TABLES, FIGURES, ATLAS, LOGS, BENCHMARKS)
"""Folders of the results that are no experiment's."""
OF_EXPERIMENT = ("activations", "dictionaries", "recurrence", "probes")
"""Folders of an experiment."""


def place_in_results(path: str | PurePath) -> str:
    """Return a file's path below the results folder, as far as its parts tell; else its name.

    >>> place_in_results("/disk/mine/results/demo/dinov2/activations/eval/cls/L8.json")
    'dinov2/activations/eval/cls/L8.json'
    >>> place_in_results("/disk/mine/results/demo/tables/metrics.csv")
    'tables/metrics.csv'
    """
    parts = PurePath(path).parts
    if parts[-1] == "provenance.json":
        return "/".join(parts[-2:])
    for number in range(len(parts) - 2, -1, -1):
        if parts[number] in RESERVED:
            return "/".join(parts[number:])
        if parts[number] in OF_EXPERIMENT and number:
            return "/".join(parts[number - 1 :])
    return parts[-1]


def page_folder(dictionary: str) -> str:
    """Return where the pages of a dictionary lie below the atlas's `dictionaries`."""
    return dictionary.replace("/dictionaries/", "/", 1)


def place_of(manifest: str) -> tuple[int, str]:
    """Return layer and token of the store that a manifest is of, whole or partial."""
    *_, token, name = manifest.split("/")
    return int(re.findall(r"L(\d+)\.", name)[0]), token


def whole(partial: str) -> str:
    """Return the manifest of a store, of some of whose shards `partial` is."""
    folder, _, name = partial.rpartition("/")
    return f"{folder}/{name.split('.')[1]}.json"
