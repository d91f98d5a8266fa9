"""The object of an image by its mask, and how much of a map lies on it."""

import csv
import logging

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from cladescope.images.indexing import index_images
from cladescope.images.masks import index_masks, read_mask_table, save_masks
from cladescope.images.sources.image_folder import ImageFolder
from cladescope.relevancy.map import _coverage
from cladescope.relevancy.objects import objects_of, read_objects, same_thing
from cladescope.taxonomy.taxonomy import taxonomy_from_parents

PARENTS = {"pug": ["dog"], "hound": ["dog"], "dog": ["animal"], "cat": ["animal"], "animal": []}


def test_a_mask_shows_the_class_a_kind_of_it_or_what_it_is_a_kind_of() -> None:
    classes = ["pug", "hound", "cat"]
    of_images = taxonomy_from_parents(classes, PARENTS, {})
    of_masks = taxonomy_from_parents(["dog", "cat", "sky"], {**PARENTS, "sky": ["animal"]}, {})
    coarse = same_thing(of_images, of_masks)
    assert coarse.tolist() == [[True, False, False], [True, False, False], [False, True, False]]
    fine = same_thing(taxonomy_from_parents(["dog", "cat"], PARENTS, {}), of_images)
    assert fine.tolist() == [[True, True, False], [False, False, True]]
    # Siblings are other things.
    assert not same_thing(
        taxonomy_from_parents(["pug", "cat"], PARENTS, {}),
        taxonomy_from_parents(["hound", "animal"], {"hound": ["x"], "animal": ["x"], "x": []}, {}),
    )[:, 0].any()


def test_pixels_of_no_class_are_no_object(caplog) -> None:
    mask = np.array([[0, 1], [-1, 1]])
    read = objects_of(lambda image: mask, np.array([0, 1]), np.eye(2, dtype=bool))
    assert read(0).tolist() == [[True, False], [False, False]]
    assert read(1).tolist() == [[False, True], [False, True]]
    with caplog.at_level(logging.WARNING):
        none = objects_of(lambda image: mask, np.array([0]), np.zeros((1, 2), bool))
    assert not none(0).any() and "show no class of the images" in caplog.text


@pytest.fixture
def photographs(tmp_path):
    """Six pictures that differ in size, with masks of a cat, a dog and the sky; one has no cat."""
    random, wnids = np.random.default_rng(0), ("n02084071", "n02121808")
    shown = {}
    for number, (width, height) in enumerate(
        [(20, 12), (12, 30), (24, 24), (40, 16), (13, 17), (12, 12)]
    ):
        wnid = wnids[number % 2]
        for kind in ("images", "masks"):
            (tmp_path / kind / wnid).mkdir(parents=True, exist_ok=True)
        mask = random.integers(0, 4, (height, width)).astype(np.uint8)
        if number == 5:
            mask[mask == 2] = 3
        name = f"{wnid}/{number}.png"
        shown[name] = mask == number % 2 + 1
        Image.fromarray(mask).save(tmp_path / "masks" / name)
        Image.fromarray(random.integers(0, 255, (height, width, 3), np.uint8)).save(
            tmp_path / "images" / name
        )
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        rows = [("index", "wnid", "name"), (1, wnids[0], ""), (2, wnids[1], ""), (3, "", "sky")]
        csv.writer(file).writerows(rows)
    source = ImageFolder(str(tmp_path / "images"))
    index, _ = index_images(source)
    classes = read_mask_table(table)
    found = index_masks(index, source, tmp_path / "masks", classes.classes)
    save_masks(found, classes.classes, tmp_path / "masks", tmp_path / "eval.masks.parquet")
    parents = {wnid: ["all"] for wnid in (*wnids, "sky")} | {"all": []}
    taxonomy_from_parents([*wnids, "sky"], parents, {}).save(tmp_path / "mask_taxonomy.parquet")
    taxonomy_from_parents([*wnids], parents, {}).save(tmp_path / "taxonomy.parquet")
    return tmp_path, index, shown


def test_objects_of_photographs_are_read_from_their_masks(photographs) -> None:
    folder, index, shown = photographs
    files = {name: str(folder / f"{name}.parquet") for name in ("taxonomy", "mask_taxonomy")}
    files["masks"] = str(folder / "eval.masks.parquet")
    read = read_objects(files, index)
    assert read is not None
    for image, path in enumerate(index.paths):
        np.testing.assert_array_equal(read(image), shown[str(path)])
    assert read_objects({"taxonomy": files["taxonomy"]}, index) is None


class Cropped:
    """A backbone that sees the left upper 12 × 12 pixels."""

    @staticmethod
    def transform(image: Image.Image) -> torch.Tensor:
        return v2.functional.pil_to_tensor(image).float()[:, :12, :12] / 255


def test_coverage_is_of_each_photograph_and_missing_without_an_object(photographs) -> None:
    _, index, shown = photographs
    paths = [str(path) for path in index.paths]
    rows = np.array([5, 0, 3, 3, 1])
    found = _coverage(Cropped, lambda image: shown[paths[image]], rows, 9).numpy()
    for row, image in enumerate(rows):
        pixels = shown[paths[image]][:12, :12].reshape(3, 4, 3, 4).mean((1, 3)).ravel()
        expected = pixels if pixels.any() else np.full(9, np.nan)
        np.testing.assert_allclose(found[row], expected, rtol=1e-6)
    assert np.isnan(found[[paths[image].endswith("5.png") for image in rows]]).all()
    assert np.isnan(found).any() and not np.isnan(found).all()
