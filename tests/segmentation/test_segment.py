"""Latents against masks, from the store of activations to the table."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from scipy.sparse import csr_array
from torchvision.transforms import v2

from cladescope.about import read_about
from cladescope.activations.store import ActivationStore
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.segmentation.columns import latent_columns
from cladescope.segmentation.measure import (
    SCHEMA,
    Place,
    SegmentationSpec,
    measure_segmentation,
)
from cladescope.segmentation.patches import Patches, cover_patches
from cladescope.summary.segmentation import summarise
from families import TAXONOMY, TREE
from stores import write

PER_IMAGE, PER_CLASS = 9, 8
LABELS = np.repeat(np.arange(8), PER_CLASS).astype(np.int32)
IMAGES = np.arange(len(LABELS))
SPEC = SegmentationSpec(images=PER_CLASS, null_draws=3, seed=0)
TRANSFORM = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32)])


def dictionary_of(width: int) -> Dictionary:
    """Each latent is an axis of the activations."""
    rows, zeros = np.eye(width, dtype=np.float32), np.zeros(width, np.float32)
    return Dictionary(rows, zeros, rows, zeros, zeros, 1.0)


@pytest.fixture
def shares() -> np.ndarray:
    """An object in each image, on two to four of its patches: float64 (patches, classes)."""
    random = np.random.default_rng(0)
    found = np.zeros((len(LABELS), PER_IMAGE, 8))
    for image, label in enumerate(LABELS):
        patches = random.permutation(PER_IMAGE)[: random.integers(2, 5)]
        found[image, patches, label] = random.uniform(0.3, 1, len(patches))
    return found.reshape(-1, 8)


def place_of(folder, x: np.ndarray, shares: np.ndarray, spec: SegmentationSpec = SPEC) -> Place:
    store = ActivationStore.open(write(folder, x.reshape(len(LABELS), PER_IMAGE, -1), 2))
    patches = Patches(IMAGES, PER_IMAGE, csr_array(shares))
    return Place(store, patches, LABELS, None, TAXONOMY, spec)


def measured(folder, x: np.ndarray, shares: np.ndarray) -> pd.DataFrame:
    path = folder / "segmentation.parquet"
    measure_segmentation(dictionary_of(x.shape[1]), place_of(folder, x, shares), path)
    table = pq.read_table(path)
    assert table.schema.remove_metadata() == SCHEMA
    assert json.loads(table.schema.metadata[b"about"]) == {
        "n_images": len(LABELS),
        "n_patches": len(LABELS) * PER_IMAGE,
        "n_latents": x.shape[1],
    }
    return table.to_pandas()


def test_latents_that_are_masks_find_classes_and_nodes(tmp_path, shares) -> None:
    present = (shares >= 0.25).astype(float)
    x = present @ TREE.covers * np.arange(1, len(TREE.node) + 1)
    rows = measured(tmp_path, x, shares)
    assert rows["kind"].tolist() == ["class"] * 8 + ["node"] * 6 + ["root"]
    assert rows["wnid"].tolist()[:8] == [*"abcdefgh"]
    assert rows["precision"].tolist() == [1] * 15
    assert (rows["probe_r"] > 0.95).all()
    assert rows["latent"].tolist() == [*range(15)]
    assert rows.loc[rows["kind"] == "node", "height"].tolist() == [1, 1, 1, 1, 2, 2]
    # A node of classes that are drawn at random is no latent's.
    internal = rows[rows["kind"] == "node"]
    assert (internal["precision_null_permuted"] < 0.8).all()
    assert rows.loc[rows["kind"] == "class", "precision_null_permuted"].isna().all()


def test_shuffled_masks_leave_chance(tmp_path, shares) -> None:
    x = (shares >= 0.25).astype(float)
    shuffled = shares[np.random.default_rng(1).permutation(len(shares))]
    rows = measured(tmp_path, x, shuffled)
    above = rows["precision"] - rows["chance"]
    assert abs(above.mean()) < 0.02
    # What was fitted to one half is worse than nothing on the other.
    assert rows["probe_r"].mean() < 0


def test_what_knows_the_image_and_not_the_place_has_the_image_level(tmp_path, shares) -> None:
    x = np.repeat(np.eye(8)[LABELS], PER_IMAGE, axis=0)
    rows = measured(tmp_path, x, shares)
    classes = rows[rows["kind"] == "class"]
    np.testing.assert_allclose(classes["precision"], classes["image_level"])
    # Of the whole it is the share of patches with an object.
    assert rows["image_level"].iloc[-1] == rows["chance"].iloc[-1]


def test_latents_are_chosen_on_one_half_and_measured_on_the_other(tmp_path, shares) -> None:
    """A latent that is right on the first half alone is chosen, and finds nothing."""
    present = (shares[:, :1] >= 0.25).astype(float)
    place = place_of(tmp_path, np.zeros((len(shares), 2)), shares)
    half = np.isin(np.repeat(IMAGES, PER_IMAGE), place.halves[0].images)
    noisy = np.where(np.random.default_rng(0).random(len(present)) < 0.5, present[:, 0], 0)
    x = np.stack([np.where(half, present[:, 0], 0), noisy], axis=1)
    rows = measured(tmp_path / "x", x, shares)
    assert rows["latent"].iloc[0] == 0
    assert rows["precision"].iloc[0] == pytest.approx(rows["chance"].iloc[0])


def test_dictionaries_without_firings_have_chance(tmp_path, shares) -> None:
    rows = measured(tmp_path, -np.ones((len(shares), 2)), shares)
    assert rows["latent"].isna().all()
    np.testing.assert_allclose(rows["precision"], rows["chance"])


def test_groups_stay_in_one_half(tmp_path, shares) -> None:
    place = place_of(tmp_path, np.zeros((len(shares), 2)), shares)
    groups = IMAGES // 2
    grouped = Place(place.store, place.patches, LABELS, groups, TAXONOMY, SPEC)
    first, second = (half.images for half in grouped.halves)
    assert not {*groups[first]} & {*groups[second]}


def test_nodes_count_what_their_classes_cover_together() -> None:
    # A patch of which two classes of p cover .15 and .1, and one with .1 of p and .2 of o.
    shares = np.zeros((2, 8))
    shares[0, :2] = 0.15, 0.1
    shares[1, [0, 2]] = 0.1, 0.2
    patches = Patches(np.arange(1), 2, csr_array(shares))
    positive = patches.positive(TREE.covers).toarray()
    names = {TAXONOMY.nodes[node]: positive[:, n].tolist() for n, node in enumerate(TREE.node)}
    assert names["a"] == [0, 0] and names["p"] == [1, 0]
    assert names["o"] == [0, 0] and names["s"] == [1, 1] and names["r"] == [1, 1]


def test_patches_are_covered_by_what_masks_show() -> None:
    mask = np.full((4, 6), -1)
    mask[:2, :3], mask[3, 5] = 4, 7
    images = np.array([2, 5])
    masks = {2: mask, 5: np.full((4, 6), -1)}
    found = cover_patches(TRANSFORM, masks.__getitem__, images, 8, 6)
    expected = np.zeros((12, 8))
    # Two rows of three patches of 2 × 2 pixels.
    expected[[0, 1, 5], [4, 4, 7]] = 1, 0.5, 0.25
    np.testing.assert_allclose(found.shares.toarray(), expected)
    positions = np.array([[1, 5], [0, 3]])
    sampled = cover_patches(TRANSFORM, masks.__getitem__, images, 8, 6, positions)
    np.testing.assert_allclose(sampled.shares.toarray(), expected[[1, 5, 6, 9]])
    assert sampled.only(np.array([False, True])).shares.nnz == 0


def test_codes_come_in_parts_and_are_the_same(tmp_path) -> None:
    x = np.maximum(np.random.default_rng(0).standard_normal((len(LABELS), PER_IMAGE, 12)), 0)
    store = ActivationStore.open(write(tmp_path, x, 3))
    images, latents = np.array([1, 5, 40]), np.array([0, 2, 3, 7, 11])
    expected = x[images].reshape(-1, 12)[:, latents].astype(np.float32)
    for most in (10**9, 40, 1):
        parts = [*latent_columns(dictionary_of(12), store, images, latents, most)]
        assert np.concatenate([part for part, _ in parts]).tolist() == latents.tolist()
        found = np.concatenate([columns.toarray() for _, columns in parts], axis=1)
        np.testing.assert_allclose(found, expected)
    assert len(parts) == len(latents)


def test_table_sums_up_by_kind_and_height(tmp_path, shares) -> None:
    measured(tmp_path, (shares >= 0.25).astype(float), shares)
    table, about = read_about(tmp_path / "segmentation.parquet")
    found = {(r["kind"], r["height"]): r for r in summarise(table, about, 200, 0)}
    assert [*found] == [
        ("class", None),
        ("node", None),
        ("node", 1),
        ("node", 2),
        ("root", None),
    ]
    assert [found[key]["n_units"] for key in found] == [8, 6, 4, 2, 1]
    whole = found["class", None]
    assert whole["map"] == whole["coverage_30"] == 1 and whole["n_latents"] == 8
    nodes = found["node", None]
    assert nodes["map_low"] <= nodes["map"] <= nodes["map_high"] < 1
    of = table[table["kind"] == "node"]
    assert nodes["map"] == pytest.approx(of["precision"].mean())
    assert nodes["over_image_level"] == pytest.approx((of["precision"] - of["image_level"]).mean())
    assert nodes["map_null_permuted"] == pytest.approx(of["precision_null_permuted"].mean())
    empty = [*summarise(table.assign(precision=np.nan), about, 10, 0)]
    assert {row["n_units"] for row in empty} == {0} and empty[0]["map"] is None
