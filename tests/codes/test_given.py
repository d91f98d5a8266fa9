"""Codes from elsewhere: every form of the same codes gives the same ones."""

import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import scipy.sparse

from cladescope.codes import given
from cladescope.codes.codes import Codes
from cladescope.codes.given import codes_of, read_codes

N_IMAGES, WIDTH = 50, 9


@pytest.fixture
def dense() -> np.ndarray:
    random = np.random.default_rng(0)
    z = random.normal(size=(N_IMAGES, WIDTH)).astype(np.float32)
    # The last image and the last latent have none.
    z[-1], z[:, -1] = -1, 0
    return z


def by_loop(z: np.ndarray) -> list[tuple[int, int, float]]:
    return [(i, j, z[i, j]) for i in range(z.shape[0]) for j in range(z.shape[1]) if z[i, j] > 0]


def assert_same(codes: Codes, z: np.ndarray) -> None:
    assert [*zip(codes.image, codes.latent, codes.activation, strict=True)] == by_loop(z)
    assert (codes.n_images, codes.width) == z.shape
    assert [codes.image.dtype, codes.latent.dtype, codes.activation.dtype] == [*"iif"]


def long_form(z: np.ndarray) -> pd.DataFrame:
    """All values, those that do not fire too, in no order."""
    image, latent = (part.ravel() for part in np.indices(z.shape))
    frame = pd.DataFrame({"image": image, "latent": latent, "activation": z.ravel()})
    return frame.sample(frac=1, random_state=0)


@pytest.mark.parametrize("rows", [7, 4096])
def test_arrays_matrices_and_frames(dense, monkeypatch, rows):
    monkeypatch.setattr(given, "ROWS", rows)
    for values in (
        dense,
        dense.astype(np.float64),
        dense.tolist(),
        scipy.sparse.csc_array(dense),
        scipy.sparse.coo_matrix(dense),
        pd.DataFrame(dense, columns=[f"latent {j}" for j in range(WIDTH)]),
    ):
        assert_same(codes_of(values), dense)
    assert_same(codes_of(long_form(dense), N_IMAGES, WIDTH), dense)


def test_images_that_are_named_are_looked_up(dense):
    names = [f"picture {i}" for i in range(N_IMAGES)]
    frame = long_form(dense)
    frame["image"] = np.array(names)[frame["image"]]
    assert_same(codes_of(frame, None, WIDTH, names), dense)
    with pytest.raises(ValueError, match=r"images that the labels lack: picture 0; use the same"):
        codes_of(frame, None, WIDTH, names[1:])


def test_files(dense, tmp_path):
    np.save(tmp_path / "z.npy", dense)
    scipy.sparse.save_npz(tmp_path / "z.npz", scipy.sparse.csr_array(dense))
    codes_of(dense).save(tmp_path / "ours.parquet")
    long_form(dense).to_parquet(tmp_path / "frame.parquet")
    for name in ("z.npy", "z.npz", "ours.parquet", "frame.parquet"):
        assert_same(read_codes(tmp_path / name, N_IMAGES), dense)
    # Without what the workflow says of its own, the last latent that fires ends the dictionary.
    firing = long_form(dense).query("activation > 0")
    firing.to_parquet(tmp_path / "firing.parquet")
    assert read_codes(tmp_path / "firing.parquet", N_IMAGES).width == WIDTH - 1
    assert pq.read_schema(tmp_path / "ours.parquet").metadata[b"width"] == b"9"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[1, np.nan]]), "no finite float32"),
        (np.array([[1, np.inf]]), "no finite float32"),
        (np.array([[1, 1e39]]), "no finite float32"),
        (np.ones(3), r"shape (3,)"),
        (np.array([["a"]]), "give numbers, images × latents"),
        (pd.DataFrame({"image": [0, 0], "latent": [1, 1], "activation": [1.0, 2]}), "given twice"),
        (pd.DataFrame({"image": [-1], "latent": [1], "activation": [1.0]}), "of images -1 to -1"),
        (pd.DataFrame({"image": [0], "latent": [-2], "activation": [1.0]}), "of latents -2 to -2"),
        (
            pd.DataFrame({"image": [0], "latent": ["x"], "activation": [1.0]}),
            "column latent holds",
        ),
    ],
)
def test_what_is_no_code_is_refused(values, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        codes_of(values)


def test_files_that_cannot_be_used_are_named(dense, tmp_path):
    np.save(tmp_path / "z.npy", dense)
    with pytest.raises(ValueError, match=r"z\.npy has 50 images, the labels 49"):
        read_codes(tmp_path / "z.npy", N_IMAGES - 1)
    np.save(tmp_path / "pickled.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"pickled\.npy cannot be read"):
        read_codes(tmp_path / "pickled.npy", 1)
    (tmp_path / "z.csv").write_text("1,2\n")
    with pytest.raises(ValueError, match=r"z\.csv: codes are read from \.parquet, \.npz, \.npy"):
        read_codes(tmp_path / "z.csv", 1)
    with pytest.raises(FileNotFoundError, match=r"none\.npy does not exist"):
        read_codes(tmp_path / "none.npy", 1)
