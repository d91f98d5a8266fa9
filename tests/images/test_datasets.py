"""A user's own images through the workflow, from each kind of source."""

import io
import tarfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from checkouts import SMALL

WNIDS = ("n02071294", "n02066245")
INDICES = ("train", "eval")


@pytest.fixture
def images(tmp_path):
    """Two classes of two images for each split, in class folders."""
    rng = np.random.default_rng(0)
    for split in INDICES:
        for wnid in WNIDS:
            folder = tmp_path / "images" / split / wnid
            folder.mkdir(parents=True)
            for number in range(2):
                pixels = rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "images"


@pytest.fixture
def with_dataset(checkout, config, tmp_path):
    """Configure the checkout for a dataset, with an empty results folder."""

    def write(**dataset):
        config["datasets"]["planted"] = dataset
        config["results"] = str(tmp_path / "results")
        checkout.write(config)
        return checkout

    yield write
    checkout.write(SMALL)


def folders(parent) -> dict[str, str]:
    return {split: str(parent / split) for split in INDICES}


def succeed(checkout, *arguments):
    result = checkout.run(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr


def test_moved_dataset_is_indexed_again_and_nothing_else(with_dataset, images, config, tmp_path):
    checkout = with_dataset(source="image_folder", folders=folders(images))
    target = str(tmp_path / "results/trained/activations/eval/cls/L8.json")
    succeed(checkout, "--", target)
    assert checkout.planned("--", target) == {}
    images.rename(tmp_path / "moved")
    with_dataset(source="image_folder", folders=folders(tmp_path / "moved"))
    assert checkout.planned("--", target)["index_images"] == 1
    succeed(checkout, "--until", "index_images", "--", target)
    assert checkout.planned("--", target) == {}
    # A layer that is added now is read from where the images are.
    config["experiments"]["trained"]["extraction"]["passes"] = [{"layers": [2, 8]}, {"layers": [5]}]
    checkout.write(config)
    succeed(checkout, "--", target.replace("L8", "L5"))


def test_tar_shards_with_a_bad_image(with_dataset, images, tmp_path):
    for split in INDICES:
        with tarfile.open(tmp_path / f"{split}-000.tar", "w") as tar:
            tar.add(images / split, ".")
    with tarfile.open(tmp_path / "eval-001.tar", "w") as tar:
        for name, content in (("7.jpg", b"no image"), ("7.cls", b"147")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    checkout = with_dataset(
        source="webdataset",
        folders=dict.fromkeys(INDICES, str(tmp_path)),
        patterns={split: f"{split}-*.tar" for split in INDICES},
        wnids="imagenet-1k",
        expected_images={"train": 4, "eval": 5},
        on_bad_image="skip",
    )
    table = tmp_path / "results/datasets/planted/images/eval_skipped.csv"
    manifest = tmp_path / "results/trained/activations/eval/cls/L8.json"
    succeed(checkout, "--", str(table), str(manifest))
    skipped = pd.read_csv(table)
    assert list(skipped.columns) == ["path", "wnid", "reason"]
    # ImageNet's class 147 is the grey whale.
    assert skipped.iloc[:, :2].to_numpy().tolist() == [["eval-001.tar/7.jpg", "n02066245"]]
    index = pd.read_parquet(tmp_path / "results/datasets/planted/images/eval.parquet")
    assert len(index) == 4


def test_hub_dataset_has_no_input_files(with_dataset, tmp_path):
    checkout = with_dataset(
        source="huggingface",
        name="org/set",
        hub_splits={"train": "train", "eval": "validation"},
        wnids="imagenet-1k",
    )
    index = str(tmp_path / "results/datasets/planted/images/eval.parquet")
    assert checkout.planned("--", index) == {"index_images": 1}
