"""How many images a study has, before they are drawn or read."""

from pathlib import Path
from typing import Any

from cladescope.images.index import ImageIndex
from cladescope.images.pairs import read_pairs
from cladescope.layout import PAIRS, SPLITS

PLANTED_CLASSES = 64
PAIR_IMAGES = 7
"""Of a scene of the planted world in which pairs are drawn, on average."""


def count_images(config: dict[str, Any], name: str) -> dict[str, int]:
    """Return the images of each split of a dataset, and of its pairs if it has any.

    Raises
    ------
    ValueError
        If neither the configuration nor an index says how many there are.
    """
    dataset = config["datasets"][name]
    counts = {}
    for split in SPLITS:
        index = Path(config["results"]) / "datasets" / name / "images" / f"{split}.parquet"
        if dataset["source"] == "planted":
            counts[split] = PLANTED_CLASSES * dataset["images_per_class"][split]
        elif split in dataset.get("expected_images", {}):
            counts[split] = dataset["expected_images"][split]
        elif index.is_file():
            counts[split] = len(ImageIndex.load(index))
        else:
            raise ValueError(
                f"datasets.{name}: the number of images of split {split} is not known; set "
                f"expected_images, or index them first: snakemake --cores all -- {index}"
            )
    if "pair_scenes" in dataset:
        counts[PAIRS] = PLANTED_CLASSES * PAIR_IMAGES * dataset["pair_scenes"]
    elif "pairs" in dataset:
        table = read_pairs(dataset["pairs"])
        counts[PAIRS] = len({*table["image"], *table["counterpart"]})
    return counts
