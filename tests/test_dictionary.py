import numpy as np
import pytest

from cladescope.codes import Codes
from cladescope.dictionary import Dictionary
from cladescope.encoding import encode
from cladescope.quality import measure_quality
from cladescope.variants import fit_dictionary
from cladescope.variants.base import FitSpec


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    return (3 * rng.standard_normal((200, 12)) @ rng.standard_normal((12, 12)) + 5).astype(
        np.float32
    )


def dictionary(k=3, width=20, d=12):
    rng = np.random.default_rng(1)
    draw = rng.standard_normal
    return Dictionary(
        encoder=draw((width, d)).astype(np.float32),
        encoder_bias=draw(width).astype(np.float32),
        decoder=draw((width, d)).astype(np.float32),
        decoder_bias=draw(d).astype(np.float32),
        mean=draw(d).astype(np.float32),
        scale=2.5,
        k=k,
    )


@pytest.mark.parametrize("k", [1, 3, 20, None])
def test_encoding_equals_a_loop_in_float64(x, k):
    subject = dictionary(k)
    codes = encode(subject, x, rows=64)
    expected = {}
    for i, row in enumerate(x.astype(float)):
        centred = (row - subject.mean) / subject.scale - subject.decoder_bias
        z = subject.encoder.astype(float) @ centred + subject.encoder_bias
        for j in np.argsort(-z)[:k]:
            if z[j] > 0:
                expected[i, int(j)] = z[j]
    found = dict(
        zip(
            zip(codes.image.tolist(), codes.latent.tolist(), strict=True),
            codes.activation,
            strict=True,
        )
    )
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-4, abs=1e-4)


def test_ties_go_to_the_lower_latent():
    subject = Dictionary(
        np.ones((4, 1), np.float32),
        np.zeros(4, np.float32),
        np.ones((4, 1), np.float32),
        np.zeros(1, np.float32),
        np.zeros(1, np.float32),
        1.0,
        k=2,
    )
    codes = encode(subject, np.array([[2.0], [-1.0]]))
    assert codes.latent.tolist() == [0, 1]
    assert codes.image.tolist() == [0, 0]


def test_files_round_trip_bytes(x, tmp_path):
    subject = dictionary()
    subject.save(tmp_path / "sae.safetensors", {"variant": "topk"})
    loaded = Dictionary.load(tmp_path / "sae.safetensors")
    loaded.save(tmp_path / "again.safetensors", {"variant": "topk"})
    for suffix in (".safetensors", ".json"):
        first, second = (tmp_path / f"{stem}{suffix}" for stem in ("sae", "again"))
        assert first.read_bytes() == second.read_bytes()
    codes = encode(subject, x)
    codes.save(tmp_path / "codes.parquet")
    again = Codes.load(tmp_path / "codes.parquet")
    assert (again.n_images, again.width) == (200, 20)
    assert np.array_equal(again.activation, encode(loaded, x).activation)


def test_dense_blocks_hold_every_activation(x):
    codes = encode(dictionary(), x)
    dense = np.concatenate([block for _, block in codes.dense_blocks(rows=33)])
    assert np.array_equal(dense[codes.image, codes.latent], codes.activation)
    assert np.count_nonzero(dense) == len(codes.activation)


def test_fve_of_the_mean_predictor_is_zero_and_of_the_identity_one(x):
    mean, scale = x.mean(0), float(x.std())
    nothing = Codes(*(np.array([], t) for t in (np.int32, np.int32, np.float32)), len(x), 2)
    zeros = np.zeros((2, 12), np.float32)
    flat = Dictionary(zeros, zeros[:, 0], zeros, zeros[0], mean, scale)
    assert measure_quality(flat, nothing, x)["fve"] == pytest.approx(0, abs=1e-6)
    identity = fit_dictionary("neurons", x, FitSpec()).dictionary
    assert measure_quality(identity, encode(identity, x), x)["fve"] == pytest.approx(1, abs=1e-9)


def test_quality_by_hand():
    # Latent 0 fires on 3 of 4 images (dense), latent 1 on one, latent 2 on none (dead).
    x = np.array([[1.0], [2.0], [3.0], [-4.0]])
    subject = Dictionary(
        np.array([[1], [-1], [0]], np.float32),
        np.zeros(3, np.float32),
        np.array([[1], [0], [0]], np.float32),
        *np.zeros((2, 1), np.float32),
        1.0,
    )
    quality = measure_quality(subject, encode(subject, x), x)
    assert quality["l0"] == 1.0
    assert quality["dead_share"] == pytest.approx(1 / 3)
    assert quality["dense_share"] == pytest.approx(1 / 3)
    # Only -4 is not reconstructed: residual 16; the total is 30 - 4 * 0.5^2 = 29.
    assert quality["fve"] == pytest.approx(1 - 16 / 29)


def test_pca_directions_are_those_of_the_svd(x):
    found = fit_dictionary("pca", x, FitSpec()).dictionary.decoder[:12]
    expected = np.linalg.svd(x - x.mean(0, dtype=float), full_matrices=False)[2]
    assert np.abs(np.sum(found * expected, axis=1)) == pytest.approx(np.ones(12), abs=1e-3)
