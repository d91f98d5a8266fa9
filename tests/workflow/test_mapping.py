"""Maps of pictures of one's own against their masks, through Snakemake."""

import csv

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cladescope.images.index import ImageIndex
from cladescope.planted.rendering import LEAF_WNIDS, PlantedSpec, render_image
from cladescope.summary.tables import read_csv

SIDE, PER_CLASS = 48, {"train": 4, "eval": 8}


def test_maps_are_held_against_masks_of_ones_own(checkout, config, tmp_path) -> None:
    """As many pixels as the network sees, so that coverage is a mean of 8 × 8 of them."""
    wnids, table, drawn = LEAF_WNIDS[:8], tmp_path / "objects.csv", {}
    for split, number in PER_CLASS.items():
        for label, wnid in enumerate(wnids):
            for kind in ("images", "masks"):
                (tmp_path / kind / split / wnid).mkdir(parents=True)
            for scene in range(number):
                image = render_image(wnid, PlantedSpec(), split, 8 * scene + label)
                name = f"{wnid}/{scene}.png"
                Image.fromarray(image.image).save(tmp_path / "images" / split / name)
                # What is no object is the sky, which no image is labelled with.
                mask = np.where(image.mask, label + 1, 99).astype(np.uint8)
                Image.fromarray(mask).save(tmp_path / "masks" / split / name)
                if split == "eval":
                    drawn[name] = image.mask
    with table.open("w", newline="") as file:
        rows = [(number, wnid, "") for number, wnid in enumerate(wnids, start=1)]
        csv.writer(file).writerows([("index", "wnid", "name"), *rows, (99, "", "sky")])
    results = tmp_path / "results"
    config["results"] = str(results)
    config["datasets"]["planted"] = {
        "source": "image_folder",
        "folders": {split: str(tmp_path / "images" / split) for split in PER_CLASS},
        "masks": {"folder": str(tmp_path / "masks" / "eval"), "table": str(table)},
    }
    experiment = config["experiments"]["trained"]
    experiment["extraction"]["passes"] = [{"layers": [8]}]
    variants = {"topk": {"width": [48], "sparsity": [4], "seed": [0]}}
    experiment["sweep"] = {"layers": [8], "variants": variants}
    config["training"] = {"images": 512, "batch_size": 32}
    config["scores"]["top_n"] = 4
    config["relevancy"] = {"latents": 2, "random_latents": 2, "images": 3, "steps": 2}
    checkout.write(config)
    target = str(results / "tables" / "relevancy.csv")
    planned = checkout.planned("--", target)
    assert planned["index_masks"] == planned["map_relevancy"] == 1
    result = checkout.run("--", target)
    assert result.returncode == 0, result.stdout + result.stderr
    folder = results / "trained/dictionaries/cls/L8/topk/w48_k4_s0"
    maps = pd.read_parquet(folder / "relevancy.parquet")
    paths = ImageIndex.load(results / "datasets/planted/images/eval.parquet").paths
    assert len(maps) > 20
    for row in maps.itertuples():
        mask = drawn[str(paths[row.image])]
        coverage = mask.reshape(6, SIDE // 6, 6, SIDE // 6).mean((1, 3)).ravel()
        assert row.object_area == pytest.approx(coverage.mean(), abs=1e-6)
        share = (row.relevancy * coverage).sum() / row.relevancy.sum()
        assert row.object_share == pytest.approx(share, abs=1e-5)
    summary = read_csv(target)
    assert summary["object_share"].notna().all() and summary["object_excess"].notna().all()
