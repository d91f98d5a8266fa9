"""Small and odd data through the whole workflow, figures and atlas included."""

import csv
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from checkouts import edit

ODD = {
    "5231190": ("9,7", "Passer domesticus (L., 1758), the house sparrow"),
    "NA": ("9,7", "not\navailable"),
    "null": ("1", "null"),
    "007": ("1", 'Bond, "James"'),
    "7": ("nan", "seven"),
    "1e5": ("nan", ""),
    "None": ("true", "<b>None</b>"),
    "$x$": ("true", "US$ and $"),
}
"""Parent and name of each class."""
ABOVE = {"9,7": "212", "1": "212", "nan": "0", "true": "0", "212": "0.0", "0": "0.0", "0.0": ""}


def draw_images(folder, sizes: dict[str, int]) -> dict[str, str]:
    """Draw images that differ, for each split in class folders; return these."""
    draw = np.random.default_rng(0)
    for split in ("train", "eval"):
        for name, images in sizes.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(images):
                pixels = draw.integers(0, 255, (6, 6, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    return {split: str(folder / split) for split in ("train", "eval")}


def write_taxonomy(path, rows) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("child", "parent", "name"), *rows])
    return str(path)


@pytest.fixture
def run(checkout, config, tmp_path):
    """Run the whole workflow on a dataset; return the folder of its results."""

    def run(sizes: dict[str, int], taxonomy: str | None = None, **changes):
        dataset = {"source": "image_folder", "folders": draw_images(tmp_path / "images", sizes)}
        if taxonomy:
            dataset["taxonomy"] = taxonomy
        trained = "experiments.trained"
        variants = {"topk": {"width": [16], "sparsity": [2], "seed": [0]}, "neurons": {}}
        config["datasets"] = {"planted": dataset}
        config["results"] = str(tmp_path / "results")
        config["atlas"] = {}
        changes = {f"{trained}.extraction.passes": [{"layers": [8]}], **changes}
        changes |= {f"{trained}.sweep": {"layers": [8], "variants": variants}}
        checkout.write(edit(config, changes))
        result = checkout.run()
        assert result.returncode == 0, result.stdout + result.stderr
        return tmp_path / "results"

    return run


def atlas_nodes(results) -> list[str]:
    text = (results / "atlas/shared/datasets/planted/tree.js").read_text()
    return json.loads(re.search(r'"wnid":(\[.*?\])', text).group(1))


def table_of(results, name: str) -> pd.DataFrame:
    return pd.read_csv(results / "tables" / name, dtype=str, keep_default_na=False)


def test_ids_and_names_are_text_from_the_first_table_to_the_last_page(run, tmp_path):
    """With one class a hundred times as large as another, and images that are there twice."""
    rows = [(node, *about) for node, about in ODD.items()]
    rows += [(node, parent, "") for node, parent in ABOVE.items()]
    sizes = dict.fromkeys(ODD, 8) | {"NA": 1, "007": 100}
    taxonomy = write_taxonomy(tmp_path / "taxonomy.csv", rows)
    results = run(sizes, taxonomy, **{"training.images": 256, "training.batch_size": 64})
    assert set(pd.read_parquet(results / "datasets/planted/taxonomy.parquet")["wnid"]) == {
        *ODD,
        *ABOVE,
    }
    nodes = table_of(results, "nodes.csv.gz")
    assert set(nodes["wnid"]) == set(ABOVE) - {"0.0"}
    assert {*ODD, *ABOVE} == set(atlas_nodes(results))
    latents = table_of(results, "latents.csv.gz")
    assert set(latents.loc[latents["status"] == "scored", "best_wnid"]) <= {*ODD, *ABOVE}
    assert set(table_of(results, "probe_nodes.csv")["wnid"]) == set(ABOVE) - {"0.0"}
    tree = (results / "atlas/shared/datasets/planted/tree.js").read_text()
    for name in ("Passer domesticus (L., 1758), the house sparrow", r"not\navailable"):
        assert name in tree


def test_a_thousand_classes_of_two_images_with_numbers_for_ids(run, tmp_path):
    rows = [(str(i), str(1000 + i % 37), "") for i in range(1000)]
    rows += [(str(1000 + i), str(2000 + i % 5), "") for i in range(37)]
    rows += [*((str(2000 + i), "3000", "") for i in range(5)), ("3000", "", "life")]
    sizes = {str(i): 2 for i in range(1000)}
    results = run(sizes, write_taxonomy(tmp_path / "taxonomy.csv", rows))
    nodes = table_of(results, "nodes.csv.gz")
    assert set(nodes["wnid"]) == {str(1000 + i) for i in range(37)} | {
        str(2000 + i) for i in range(5)
    }
    # A figure without a node would be a line of text.
    with Image.open(results / "figures/recovered_nodes.png") as figure:
        assert figure.height > figure.width / 4


def test_three_classes_of_one_image_of_which_no_latent_is_scored(run):
    sizes = dict.fromkeys(("n02071294", "n02066245", "n01440764"), 1)
    results = run(sizes, **{"training.images": 32, "training.batch_size": 2})
    metrics = pd.read_csv(results / "tables/metrics.csv")
    assert metrics["best_mcc"].isna().all()
    assert metrics["node_recovery"].eq(0).all()
    assert "scored" not in set(table_of(results, "latents.csv.gz")["status"])
    assert (results / "figures/top_images.png").is_file()
    assert (results / "atlas/index.html").is_file()


def test_one_class_stops_before_anything_is_extracted(checkout, config, tmp_path):
    folders = draw_images(tmp_path / "images", {"n02071294": 3})
    config["datasets"]["planted"] = {"source": "image_folder", "folders": folders}
    config["results"] = str(tmp_path / "results")
    checkout.write(config)
    result = checkout.run()
    assert result.returncode != 0
    assert "all images are of the class n02071294" in result.stdout + result.stderr
    assert not (tmp_path / "results/trained/dictionaries").exists()
