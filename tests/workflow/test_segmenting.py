"""Latents against masks through Snakemake: those of the planted world, and files of one's own."""

import csv

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cladescope.planted.rendering import LEAF_WNIDS, PlantedSpec, render_image
from cladescope.summary.tables import read_csv

TOKENS = {"tokens": ["patches"]}


@pytest.fixture
def patched(config):
    """The small experiment with dictionaries of patches at one block."""
    experiment = config["experiments"]["trained"]
    experiment["extraction"]["passes"] = [{"layers": [2, 8]}, {"layers": [6], **TOKENS}]
    variants = {"topk": {"width": [48], "sparsity": [4], "seed": [0]}, "neurons": {}}
    experiment["sweep"] = {"layers": [6], **TOKENS, "variants": variants}
    config["training"] = {"images": 1024, "batch_size": 256}
    config["segmentation"] = {"images": 4, "null_draws": 1}
    return config


def test_latents_are_held_against_the_planted_masks(checkout, patched):
    checkout.write(patched)
    target = "results/small/tables/segmentation.csv"
    planned = checkout.planned("--", target)
    assert planned["segment"] == 2 and planned["tabulate_segmentation"] == 1
    assert "index_masks" not in planned
    result = checkout.run("--", target)
    assert result.returncode == 0, result.stdout + result.stderr
    table = read_csv(checkout.folder / target)
    assert set(table["variant"]) == {"topk", "neurons"} and set(table["n_images"]) == {256}
    kinds = table[table["height"].isna()].set_index(["variant", "kind"])
    assert kinds["n_units"].tolist() == [64, 42, 1] * 2
    nodes = kinds.loc[("topk", "node")]
    assert nodes["map"] > 2 * nodes["chance"] and nodes["map"] > nodes["map_null_permuted"]
    assert kinds.loc[("neurons", "root"), "map"] > 0.4
    assert not checkout.planned("--", target)
    figure = "results/small/figures/segmentation.png"
    assert checkout.planned("--", figure) == {"plot_segmentation": 1}
    result = checkout.run("--", figure)
    assert result.returncode == 0 and (checkout.folder / figure).is_file(), result.stderr
    # Among what a whole run makes, with the section of the page of evidence and the atlas.
    checkout.write({**patched, "atlas": {}})
    planned = checkout.planned()
    assert planned["write_evidence"] == 1 and planned["chart_dictionary"] == 2

    patched["segmentation"]["bootstrap_draws"] = 7
    checkout.write(patched)
    planned = checkout.planned("--", figure)
    assert "segment" not in planned
    assert planned == {"tabulate_segmentation": 1, "plot_segmentation": 1}
    patched["segmentation"]["images"] = 5
    checkout.write(patched)
    assert checkout.planned("--", target)["segment"] == 2


def test_masks_of_ones_own_are_checked_before_any_model_runs(checkout, patched, tmp_path):
    """Two classes whose images show the sky, too, which WordNet is not told of."""
    wnids, table = LEAF_WNIDS[:2], tmp_path / "objects.csv"
    for split, number in (("train", 6), ("eval", 4)):
        for label, wnid in enumerate(wnids):
            for kind in ("images", "masks"):
                (tmp_path / kind / split / wnid).mkdir(parents=True)
            for scene in range(number):
                drawn = render_image(wnid, PlantedSpec(), split, 2 * scene + label)
                mask = np.where(drawn.mask, label + 1, 0).astype(np.uint8)
                mask[:8][~drawn.mask[:8]] = 9
                name = f"{split}/{wnid}/{scene}.png"
                Image.fromarray(drawn.image).save(tmp_path / "images" / name)
                Image.fromarray(mask).save(tmp_path / "masks" / name)
    with table.open("w", newline="") as file:
        rows = [("index", "wnid", "name"), (1, wnids[0], ""), (2, wnids[1], "")]
        csv.writer(file).writerows(rows)
    patched["results"] = str(tmp_path / "results")
    patched["datasets"]["planted"] = {
        "source": "image_folder",
        "folders": {split: str(tmp_path / "images" / split) for split in ("train", "eval")},
        "masks": {"folder": str(tmp_path / "masks" / "eval"), "table": str(table)},
    }
    checkout.write(patched)
    folder = tmp_path / "results/trained/dictionaries/patches/L6/topk/w48_k4_s0"
    result = checkout.run("--", str(folder / "segmentation.parquet"))
    assert result.returncode == 1
    said = result.stdout + result.stderr
    assert "8 fault" in said and "has 9, which masks.table lacks; add it there" in said
    assert not list((tmp_path / "results").rglob("*.zarr"))
    with table.open("a", newline="") as file:
        csv.writer(file).writerow((9, "", "sky"))
    result = checkout.run("--", str(folder / "segmentation.parquet"))
    assert result.returncode == 0, result.stdout + result.stderr
    rows = pd.read_parquet(folder / "segmentation.parquet").set_index("wnid")
    assert sorted(rows["kind"]) == ["class"] * 3 + ["node", "root"]
    assert {*rows.index[rows["kind"] == "class"]} == {*wnids, "sky"}
    assert rows.loc["sky", "patches"] > 0
