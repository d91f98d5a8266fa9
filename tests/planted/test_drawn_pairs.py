"""Drawn pairs: one scene, and nothing differs but where the part is."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cladescope.names import ACROSS, ADDED, LEAF, OTHER, WITHIN
from cladescope.planted.drawing import Drawing
from cladescope.planted.leaves import LEAF_WNIDS, LEAVES, OWNERS, PARTS
from cladescope.planted.pairs import BY_WNID, SPLIT, render_pairs
from cladescope.planted.rendering import render_image, scene_number
from cladescope.planted.scenes import SUPERSAMPLING, PlantedSpec, draw_scene
from cladescope.taxonomy.outline import classes_under
from cladescope.taxonomy.wordnet import build_taxonomy

SPEC = PlantedSpec(seed=3)


@pytest.fixture(scope="module")
def under(root) -> dict[str, list[str]]:
    """Return the classes under each node of the planted world."""
    return classes_under(build_taxonomy(sorted(LEAF_WNIDS), root / "resources" / "nltk_data"))


@pytest.fixture(scope="module")
def drawn(under, tmp_path_factory) -> Path:
    """One scene per class: the folder of the table and of the images."""
    folder = tmp_path_factory.mktemp("drawn")
    render_pairs(SPEC, 1, under, folder / "pairs", folder / "pairs.csv")
    return folder


@pytest.fixture(scope="module")
def pairs(drawn) -> pd.DataFrame:
    return pd.read_csv(drawn / "pairs.csv")


def pixels(folder: Path, path: str) -> np.ndarray:
    with Image.open(folder / path) as image:
        return np.asarray(image)


def painted(parts: set[str], leaf: str) -> np.ndarray:
    """Return where some parts fall in a leaf's scene, by as little as a quarter of a pixel."""
    placement = draw_scene(SPEC, SPLIT, scene_number(leaf, 0)).placement
    shapes = [shape for part in parts for shape in PARTS[part]]
    roles = np.asarray(Drawing(shapes).paint(SPEC.image_size * SUPERSAMPLING, placement))
    blocks = roles.reshape(SPEC.image_size, SUPERSAMPLING, SPEC.image_size, SUPERSAMPLING)
    return blocks.any((1, 3))


def test_only_the_part_differs(drawn, pairs, under):
    """For parts that all classes of the node have, no others, and for those of one class."""
    kept = pairs[pairs["change"].isin((ADDED, LEAF))].drop_duplicates(["image", "counterpart"])
    assert len(kept) > 100
    for image, counterpart, node, change in kept.itertuples(index=False):
        leaf = counterpart.split("/")[1]
        owners = {*under[node]} if change == ADDED else {leaf}
        parts = {part for part in BY_WNID[leaf].parts if OWNERS[part] == owners}
        differs = (pixels(drawn, image) != pixels(drawn, counterpart)).any(2)
        assert parts and differs.any()
        assert not (differs & ~painted(parts, leaf)).any(), (image, counterpart)
        # What others paint over it does not count.
        over = {*BY_WNID[leaf].parts} - parts
        visible = painted(parts, leaf) & ~painted(over, leaf)
        assert not visible.any() or (differs & visible).sum() > 0.9 * visible.sum()


def test_counterparts_are_what_the_table_says(drawn, pairs, under):
    for leaf in LEAVES[::9]:
        whole = f"pairs/{leaf.wnid}/00000.png"
        scene = scene_number(leaf.wnid, 0)
        expected = render_image(leaf.wnid, SPEC, SPLIT, scene).image
        np.testing.assert_array_equal(pixels(drawn, whole), expected)
        mine = pairs[pairs["image"].eq(whole) | pairs["counterpart"].eq(whole)]
        assert {*mine["node"]} == {node for node, leaves in under.items() if leaf.wnid in leaves}
        for image, counterpart, node, change in mine.itertuples(index=False):
            assert (image if change == WITHIN else counterpart) == whole
            if change in (WITHIN, ACROSS):
                swapped = counterpart if change == WITHIN else image
                other = swapped.removesuffix(".png").rpartition("_")[2]
                assert (other in under[node]) == (change == WITHIN) and other != leaf.wnid
                expected = render_image(other, SPEC, SPLIT, scene).image
                np.testing.assert_array_equal(pixels(drawn, swapped), expected)


def test_nodes_share_what_the_declaration_says(pairs, root):
    nodes = pd.read_csv(root / "resources" / "planted" / "nodes.csv")
    added = {*pairs.loc[pairs["change"].eq(ADDED), "node"]}
    assert added == {*nodes.loc[nodes["drawn"], "wnid"]}
    undrawn = {*nodes.loc[~nodes["drawn"], "wnid"][1:]}
    assert {*pairs["node"]} == added | undrawn
    assert not pairs.duplicated().any()
    # A balloon shares nothing: it is not drawn without all that it is.
    of_balloon = pairs[pairs["counterpart"].eq("pairs/n02782093/00000.png")]
    assert {*of_balloon["change"]} == {ACROSS}
    assert {*pairs["change"]} == {ADDED, LEAF, OTHER, WITHIN, ACROSS}


def test_more_scenes_only_add_and_bytes_are_the_same(drawn, pairs, under, tmp_path):
    render_pairs(SPEC, 2, under, tmp_path / "pairs", tmp_path / "pairs.csv")
    for path in sorted({*pairs["image"], *pairs["counterpart"]}):
        assert (tmp_path / path).read_bytes() == (drawn / path).read_bytes()
    more = pd.read_csv(tmp_path / "pairs.csv")
    assert len(more) > 1.8 * len(pairs)
    first = more[
        ~more["counterpart"].str.contains("/00001") & ~more["image"].str.contains("/00001")
    ]
    pd.testing.assert_frame_equal(first.reset_index(drop=True), pairs)


def test_scenes_are_those_of_no_other_split():
    scene = scene_number(LEAF_WNIDS[5], 0)
    factors = {
        split: render_image(LEAF_WNIDS[5], SPEC, split, scene).factors
        for split in ("train", "eval", SPLIT)
    }
    assert len({*factors.values()}) == 3


def test_a_scene_less_than_one_is_refused(under, tmp_path):
    with pytest.raises(ValueError, match="at least 1"):
        render_pairs(SPEC, 0, under, tmp_path / "pairs", tmp_path / "pairs.csv")
