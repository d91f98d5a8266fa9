"""The planted world: what is random, what is shared, and what is written."""

import csv
import errno
from pathlib import Path

import nltk
import numpy as np
import pandas as pd
import pytest
from nltk.corpus import wordnet
from PIL import Image
from timm.data import ImageNetInfo

from cladescope.planted import rendering
from cladescope.planted.leaves import DRAWINGS, LEAVES, PARTS
from cladescope.planted.rendering import (
    LEAF_NAMES,
    LEAF_WNIDS,
    Nuisance,
    PlantedSpec,
    read_masks,
    render_beside,
    render_image,
    render_split,
    scene_number,
)
from cladescope.planted.scenes import SUPERSAMPLING, placement_of

ROOT = Path(__file__).resolve().parents[2]
SPEC = PlantedSpec()
KILLER_WHALE, WINE_BOTTLE = "n02071294", "n04591713"


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """Two eval images per class: their folder and factors table."""
    folder = tmp_path_factory.mktemp("planted")
    render_split(SPEC, "eval", 2, folder / "images", folder / "factors.parquet")
    return folder / "images", folder / "factors.parquet"


def pixels_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*.png"))
    }


def grown(mask: np.ndarray) -> np.ndarray:
    """Return the mask and every pixel that touches it."""
    padded = np.pad(mask, 1)
    size = len(mask)
    shifts = [(i, j) for i in range(3) for j in range(3)]
    return np.any([padded[i : i + size, j : j + size] for i, j in shifts], axis=0)


# Randomness


def test_bytes_depend_on_neither_workers_nor_images_per_class(split, tmp_path):
    images, factors = split
    render_split(SPEC, "eval", 2, tmp_path / "two", tmp_path / "two.parquet", workers=2)
    render_split(SPEC, "eval", 3, tmp_path / "three", tmp_path / "three.parquet", workers=2)

    first = pixels_of(images)
    assert len(first) == 2 * 64
    assert pixels_of(tmp_path / "two") == first
    assert (tmp_path / "two.parquet").read_bytes() == factors.read_bytes()
    more = pixels_of(tmp_path / "three")
    assert len(more) == 3 * 64
    assert {path: more[path] for path in first} == first


def test_a_file_holds_the_image_that_render_image_returns(split):
    images, _ = split
    for wnid in LEAF_WNIDS[::9]:
        with Image.open(images / wnid / "eval_00001.png") as stored:
            np.testing.assert_array_equal(
                stored, render_image(wnid, SPEC, "eval", scene_number(wnid, 1)).image
            )


@pytest.mark.parametrize("scene", [0, 1, 7])
def test_two_leaves_in_one_scene_are_a_matched_pair(scene):
    whale = render_image(KILLER_WHALE, SPEC, "train", scene)
    bottle = render_image(WINE_BOTTLE, SPEC, "train", scene)
    assert whale.factors == bottle.factors

    # Neither mask holds pixels that an object covers by less than half, so leave one pixel more.
    outside = ~grown(whale.mask | bottle.mask)
    assert outside.mean() > 0.2
    np.testing.assert_array_equal(whale.image[outside], bottle.image[outside])
    one_object = grown(whale.mask) ^ grown(bottle.mask)
    differs = (whale.image != bottle.image).any(axis=2)
    assert differs[one_object & (whale.mask | bottle.mask)].mean() > 0.99


def test_seed_split_and_scene_each_change_the_nuisance():
    factors = {
        render_image(KILLER_WHALE, PlantedSpec(seed=seed), split, scene).factors
        for seed in (0, 1)
        for split in ("train", "eval")
        for scene in (0, 1)
    }
    assert len(factors) == 8


# Objects


def test_every_leaf_is_an_imagenet_class_and_is_drawn_differently():
    assert len(LEAF_WNIDS) == len(set(LEAF_WNIDS)) == len(set(LEAF_NAMES)) == 64
    assert set(LEAF_WNIDS) <= set(ImageNetInfo("imagenet-1k").label_names())
    assert len({DRAWINGS[wnid].shapes for wnid in LEAF_WNIDS}) == 64


@pytest.mark.parametrize("wnid", LEAF_WNIDS[::7])
def test_the_mask_is_the_drawn_silhouette(wnid):
    _, mask, factors = render_image(wnid, SPEC, "eval", 3)
    finer = 16  # against a painting at eight times the renderer's own resolution
    placement = placement_of(factors, SPEC.image_size) * finer / SUPERSAMPLING
    roles = np.asarray(DRAWINGS[wnid].paint(SPEC.image_size * finer, placement))
    covered = (roles > 0).reshape(SPEC.image_size, finer, SPEC.image_size, finer).mean((1, 3))
    assert mask[covered > 0.9].mean() > 0.99
    assert mask[covered < 0.1].mean() < 0.01
    assert 0.01 < mask.mean() < 0.6


# The factors table


def test_the_factors_table_has_a_row_per_image_with_its_nuisance_and_mask(split):
    images, factors = split
    table = pd.read_parquet(factors)
    assert list(table.columns) == ["path", "wnid", "scene", *Nuisance._fields, "mask"]
    assert table["scene"].is_unique
    assert list(table["path"]) == sorted(pixels_of(images))
    assert list(table["wnid"]) == [wnid for wnid in sorted(LEAF_WNIDS) for _ in range(2)]

    masks = read_masks(factors)
    assert masks.shape == (128, 48, 48)
    assert masks.dtype == bool
    for row in range(0, 128, 17):
        image = render_image(table["wnid"][row], SPEC, "eval", int(table["scene"][row]))
        np.testing.assert_array_equal(masks[row], image.mask)
        assert tuple(table.loc[row, list(Nuisance._fields)]) == image.factors


def test_nuisances_stay_in_their_ranges():
    table = pd.DataFrame(
        [render_image(KILLER_WHALE, SPEC, "train", index).factors for index in range(200)]
    )
    # A hair's breadth for the rounding of value ± contrast.
    assert ((table["body_value"] - table["background_value"]).abs() > 0.3 - 1e-9).all()
    assert table["body_value"].between(0.15, 1).all()
    assert table["scale"].between(0.5, 0.85).all()
    assert table["x"].between(13, 35).all()
    assert table["y"].between(13, 35).all()
    assert table["clutter"].between(2, 6).all()
    assert set(table["flip"]) == {0, 1}


def test_reading_masks_of_another_table_says_so(tmp_path):
    pd.DataFrame({"mask": [b"\0"]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(ValueError, match=r"other\.parquet is not a factors table"):
        read_masks(tmp_path / "other.parquet")


# Failures


def test_what_the_world_does_not_have_is_named(tmp_path):
    with pytest.raises(ValueError, match="'n00000000' is not a leaf"):
        render_image("n00000000", SPEC, "eval", 0)
    with pytest.raises(ValueError, match="train, eval, pairs, not 'test'"):
        render_image(KILLER_WHALE, SPEC, "test", 0)
    with pytest.raises(ValueError, match="images_per_class and workers"):
        render_split(SPEC, "eval", 0, tmp_path / "images", tmp_path / "factors.parquet")
    with pytest.raises(ValueError, match="image_size"):
        PlantedSpec(image_size=200)
    with pytest.raises(ValueError, match="seed"):
        PlantedSpec(seed=-1)


def test_a_failed_split_leaves_the_earlier_one(tmp_path, monkeypatch):
    images, factors = tmp_path / "images", tmp_path / "factors.parquet"
    render_split(SPEC, "eval", 1, images, factors)
    before, table = pixels_of(images), factors.read_bytes()

    def fail(path, image):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(rendering, "write_png", fail)
    with pytest.raises(OSError, match=r"eval_00000\.png"):
        render_split(SPEC, "eval", 2, images, factors)
    assert (pixels_of(images), factors.read_bytes()) == (before, table)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["factors.parquet", "images"]


# The pre-registered nodes


@pytest.fixture(scope="module")
def nodes():
    """The rows of resources/planted/nodes.csv."""
    with (ROOT / "resources/planted/nodes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def leaves_under():
    """WordNet's internal nodes over the 64 leaves, unary chains contracted: wnid -> leaf set."""
    nltk.data.path.insert(0, str(ROOT / "resources/nltk_data"))
    under: dict = {}
    for wnid in LEAF_WNIDS:
        leaf = wordnet.synset_from_pos_and_offset("n", int(wnid[1:]))
        for ancestor in {node for path in leaf.hypernym_paths() for node in path}:
            under.setdefault(ancestor, set()).add(wnid)
    deepest: dict = {}
    for node in sorted(under, key=lambda node: (-node.max_depth(), node.offset())):
        if len(under[node]) > 1:
            deepest.setdefault(frozenset(under[node]), node)
    return {f"n{node.offset():08d}": (node, leaves) for leaves, node in deepest.items()}


def test_nodes_csv_lists_exactly_the_internal_nodes_of_wordnet(nodes, leaves_under):
    assert [row["wnid"] for row in nodes] == sorted(
        leaves_under, key=lambda wnid: (-len(leaves_under[wnid][1]), wnid)
    )
    for row in nodes:
        node, leaves = leaves_under[row["wnid"]]
        assert row["name"] == node.lemma_names()[0].replace("_", " ")
        assert int(row["n_leaves"]) == len(leaves)
        assert row["drawn"] in ("true", "false")
        assert row["reason"]


def test_a_shape_is_shared_by_exactly_the_leaves_of_a_drawn_node(nodes, leaves_under):
    drawn_by: dict = {}
    for leaf in LEAVES:
        for shape in DRAWINGS[leaf.wnid].shapes:
            # The outline decides, not its colour: a recoloured common part would be common too.
            drawn_by.setdefault(shape.corners, set()).add(leaf.wnid)
    shared = {frozenset(wnids) for wnids in drawn_by.values() if len(wnids) > 1}
    drawn = {leaves_under[row["wnid"]][1] for row in nodes if row["drawn"] == "true"}
    assert shared == drawn


def test_a_shared_part_is_named_after_its_node(nodes, leaves_under):
    users: dict = {}
    for leaf in LEAVES:
        for part in leaf.parts:
            users.setdefault(part, set()).add(leaf.wnid)
    assert set(users) == set(PARTS)
    names = {row["name"]: leaves_under[row["wnid"]][1] for row in nodes}
    for part, wnids in users.items():
        if len(wnids) > 1:
            assert names[part] == wnids


def test_objects_beside_each_other_do_not_change_the_rest() -> None:
    pair = (LEAF_WNIDS[3], LEAF_WNIDS[40])
    both, masks = render_beside(pair, SPEC, "pairs", 7)
    left, of_left = render_beside((pair[0], None), SPEC, "pairs", 7)
    right, of_right = render_beside((None, pair[1]), SPEC, "pairs", 7)
    nothing, of_nothing = render_beside((None, None), SPEC, "pairs", 7)
    assert not of_nothing.any() and not of_left[1].any() and not of_right[0].any()
    assert (masks[1] == of_right[1]).all() and not (masks[0] & masks[1]).any()
    assert masks[0].sum() > 50 and masks[1].sum() > 50
    columns = [np.flatnonzero(mask.any(0)).mean() for mask in masks]
    assert columns[0] < 20 and columns[1] > 28
    # Where one of them is not, all is as without it.
    for alone, other in ((left, right), (right, left)):
        untouched = (other == nothing).all(2)
        assert untouched.mean() > 0.5 and (both[untouched] == alone[untouched]).all()
