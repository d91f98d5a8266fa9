"""Codes with their places, against codes of all patches at once."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cladescope.activations.store import ActivationStore
from cladescope.codes.encode import ImageBlocks, encode
from cladescope.codes.positions import Positions, PositionsSpec, keep_positions
from cladescope.dictionaries.dictionary import Dictionary
from stores import write

LABELS = np.repeat(np.arange(4), 6).astype(np.int32)
WIDTH, TOKENS, D = 20, 6, 8


@pytest.fixture
def dictionary() -> Dictionary:
    random = np.random.default_rng(1)
    rows = random.normal(size=(WIDTH, D)).astype(np.float32)
    bias = random.normal(size=WIDTH).astype(np.float32)
    zeros = np.zeros(D, np.float32)
    return Dictionary(rows, bias, rows, zeros, zeros, 1.0, k=3)


@pytest.fixture
def store(tmp_path) -> ActivationStore:
    x = np.random.default_rng(0).normal(size=(len(LABELS), TOKENS, D))
    return ActivationStore.open(write(tmp_path, x, 3))


def kept(path, dictionary, store, images, stored=None, grid=(2, 3)) -> Positions:
    blocks = ImageBlocks(store, images)
    keep_positions(dictionary, blocks, images, grid, path, stored)
    return Positions.open(path)


def test_every_code_of_the_chosen_images_is_kept_with_its_place(
    tmp_path, dictionary, store, monkeypatch
) -> None:
    images = np.array([0, 3, 4, 11, 23])
    # Two images in a block.
    monkeypatch.setattr("cladescope.codes.encode.ROWS", 2 * TOKENS)
    found = kept(tmp_path / "p.parquet", dictionary, store, images)
    assert (found.images.tolist(), found.grid, found.width) == (images.tolist(), (2, 3), WIDTH)
    assert pq.ParquetFile(found.path).num_row_groups == 3
    z = dictionary.encode(store.read()[images].reshape(-1, D)).reshape(-1, TOKENS, WIDTH)
    parts = [*found]
    table = pd.DataFrame(
        {name: np.concatenate([getattr(p, name) for p in parts]) for name in parts[0]._fields}
    )
    place, patch, latent = np.nonzero(z)
    assert table["image"].tolist() == images[place].tolist()
    assert table["patch"].tolist() == patch.tolist() and table["latent"].tolist() == latent.tolist()
    np.testing.assert_allclose(table["activation"], z[place, patch, latent], rtol=1e-6)
    for row, image in enumerate(images):
        one = found.of_image(image)
        assert one.shape == (TOKENS, WIDTH)
        np.testing.assert_allclose(one.toarray(), z[row], rtol=1e-6)
    with pytest.raises(ValueError, match="holds 5 images, 7 is none of them"):
        found.of_image(7)


def test_the_largest_of_an_image_is_its_code(tmp_path, dictionary, store) -> None:
    codes, _ = encode(dictionary, ImageBlocks(store), LABELS)
    found = kept(tmp_path / "p.parquet", dictionary, store, np.arange(len(LABELS)))
    dense = np.zeros((len(LABELS), WIDTH), np.float32)
    dense[codes.image, codes.latent] = codes.activation
    largest = np.stack([found.of_image(image).toarray().max(0) for image in found.images])
    np.testing.assert_allclose(largest, dense, rtol=1e-6)


def test_of_sampled_patches_the_place_is_that_in_the_image(tmp_path, dictionary, store) -> None:
    images = np.array([2, 9])
    stored = np.array([[0, 2, 3, 5, 7, 11], [1, 2, 4, 6, 8, 10]])
    whole = kept(tmp_path / "all.parquet", dictionary, store, images)
    found = kept(tmp_path / "p.parquet", dictionary, store, images, stored, (3, 4))
    for row, image in enumerate(images):
        one = found.of_image(image).toarray()
        assert one.shape == (12, WIDTH)
        np.testing.assert_array_equal(one[stored[row]], whole.of_image(image).toarray())
        assert not np.delete(one, stored[row], axis=0).any()


def test_a_dictionary_that_never_fires_has_an_empty_file(tmp_path, store) -> None:
    rows, zeros = np.eye(D, dtype=np.float32), np.zeros(D, np.float32)
    silent = Dictionary(rows, zeros - 100, rows, zeros, zeros, 1.0)
    found = kept(tmp_path / "p.parquet", silent, store, np.array([1, 2]))
    assert sum(len(part.image) for part in found) == 0
    assert found.of_image(1).nnz == 0


def test_images_are_drawn_by_class_and_fewer_are_a_part_of_more() -> None:
    few, more, all_ = (PositionsSpec(n, 3).chosen(LABELS) for n in (2, 4, 99))
    assert np.bincount(LABELS[few]).tolist() == [2] * 4
    assert np.bincount(LABELS[more]).tolist() == [4] * 4
    assert {*few} < {*more} and all_.tolist() == [*range(len(LABELS))]
    assert few.tolist() == sorted(few.tolist())
    assert PositionsSpec(2, 4).chosen(LABELS).tolist() != few.tolist()


def test_a_damaged_file_is_named(tmp_path) -> None:
    (tmp_path / "p.parquet").write_bytes(b"no table")
    with pytest.raises(ValueError, match=r"p\.parquet"):
        Positions.open(tmp_path / "p.parquet")
