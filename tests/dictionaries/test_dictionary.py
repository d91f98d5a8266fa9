import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from cladescope.codes.codes import Codes
from cladescope.codes.encode import encode, firing
from cladescope.codes.linear import Ridge, nearest, unit_rows, vote
from cladescope.codes.quality import Reconstruction, redundant_share
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.on_device import OnDevice
from cladescope.dictionaries.train import fit_dictionary
from cladescope.dictionaries.training.batches import InMemory
from cladescope.dictionaries.training.spec import FitSpec


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    return (3 * rng.standard_normal((200, 12)) @ rng.standard_normal((12, 12)) + 5).astype(
        np.float32
    )


def dictionary(k=3, width=20, d=12, threshold=None):
    draw = np.random.default_rng(1).standard_normal
    return Dictionary(
        encoder=draw((width, d)).astype(np.float32),
        encoder_bias=draw(width).astype(np.float32),
        decoder=draw((width, d)).astype(np.float32),
        decoder_bias=draw(d).astype(np.float32),
        mean=draw(d).astype(np.float32),
        scale=2.5,
        k=k,
        threshold=threshold,
    )


def labels(n):
    return np.arange(n) % 3


PER_LATENT = np.linspace(0, 4, 20, dtype=np.float32)


@pytest.fixture(params=["numpy", "torch"])
def way(request, monkeypatch):
    """What encodes. A mock: with torch the processor stands for a GPU."""
    if request.param == "torch":
        monkeypatch.setattr("cladescope.codes.encode.has_gpu", lambda: True)


@pytest.mark.parametrize("k", [1, 3, 20, None])
@pytest.mark.parametrize("threshold", [None, np.array([1.5], np.float32), PER_LATENT])
@pytest.mark.usefixtures("way")
def test_encoding_equals_a_loop_in_float64(x, k, threshold):
    subject = dictionary(k, threshold=threshold)
    codes, _ = encode(subject, [x[:, None]], labels(len(x)))
    limits = np.broadcast_to(0 if threshold is None else threshold, 20)
    expected = {}
    for i, row in enumerate(x.astype(float)):
        centred = (row - subject.mean) / subject.scale - subject.decoder_bias
        z = subject.encoder.astype(float) @ centred + subject.encoder_bias
        z[z <= limits] = 0
        for j in np.argsort(-z)[:k]:
            if z[j] > 0:
                expected[i, int(j)] = z[j]
    pairs = zip(codes.image.tolist(), codes.latent.tolist(), strict=True)
    found = dict(zip(pairs, codes.activation, strict=True))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-4, abs=1e-4)


def test_blocks_change_nothing(x):
    subject = dictionary()
    whole, quality = encode(subject, [x[:, None]], labels(200))
    cut, again = encode(subject, np.array_split(x[:, None], 7), labels(200))
    assert np.array_equal(whole.latent, cut.latent)
    assert quality == pytest.approx(again, rel=1e-6)


def test_image_takes_the_largest_activation_of_its_tokens(x):
    subject = dictionary()
    alone, _ = encode(subject, [x[:, None]], labels(200))
    together, quality = encode(subject, [x.reshape(50, 4, 12)], labels(50))
    dense = np.zeros((200, 20), np.float32)
    dense[alone.image, alone.latent] = alone.activation
    pooled = np.zeros((50, 20), np.float32)
    pooled[together.image, together.latent] = together.activation
    assert np.array_equal(pooled, dense.reshape(50, 4, 20).max(1))
    assert together.n_images == 50
    # Quality is over tokens.
    assert quality["l0"] == len(alone.image) / 200


@pytest.mark.usefixtures("way")
def test_some_latents_fire_where_their_codes_are(x):
    subject, blocks = dictionary(), np.array_split(x.reshape(50, 4, 12), 3)
    codes, _ = encode(subject, blocks, labels(50))
    dense = np.zeros((50, 20), bool)
    dense[codes.image, codes.latent] = True
    some = np.array([7, 2, 19])
    np.testing.assert_array_equal(firing(subject, blocks, some), dense[:, some])
    assert firing(subject, [], some).shape == (0, 3)


def test_ties_go_to_the_lower_latent():
    zeros = np.zeros(1, np.float32)
    ones = np.ones((4, 1), np.float32)
    subject = Dictionary(ones, np.zeros(4, np.float32), ones, zeros, zeros, 1.0, k=2)
    x = np.array([[2.0], [-1.0]], np.float32)
    assert subject.encode(x).tolist() == [[2, 2, 0, 0], [0, 0, 0, 0]]
    z, guess = OnDevice(subject, torch.device("cpu")).reconstruct(x)
    assert z.tolist() == [[2, 2, 0, 0], [0, 0, 0, 0]]
    assert guess.tolist() == [[4], [0]]


@pytest.mark.parametrize("threshold", [None, PER_LATENT])
def test_files_round_trip_bytes(x, tmp_path, threshold):
    subject = dictionary(threshold=threshold)
    subject.save(tmp_path / "sae.safetensors", {"variant": "topk"})
    loaded = Dictionary.load(tmp_path / "sae.safetensors")
    loaded.save(tmp_path / "again.safetensors", {"variant": "topk"})
    for suffix in (".safetensors", ".json"):
        first, second = (tmp_path / f"{stem}{suffix}" for stem in ("sae", "again"))
        assert first.read_bytes() == second.read_bytes()
    codes, _ = encode(subject, [x[:, None]], labels(200))
    codes.save(tmp_path / "codes.parquet")
    again = Codes.load(tmp_path / "codes.parquet")
    assert (again.n_images, again.width) == (200, 20)
    assert np.array_equal(again.activation, encode(loaded, [x[:, None]], labels(200))[0].activation)


def quality_of(x, guess, z):
    meter = Reconstruction(z.shape[1])
    meter.add(x[:150], guess[:150], z[:150])
    meter.add(x[150:], guess[150:], z[150:])
    return meter.result()


def test_fve_of_the_mean_predictor_is_zero_and_of_the_identity_one(x):
    z = np.zeros((200, 2), np.float32)
    mean = np.broadcast_to(x.mean(0, dtype=float), x.shape)
    assert quality_of(x, mean, z)["fve"] == pytest.approx(0, abs=1e-9)
    assert quality_of(x, x, z)["fve"] == 1
    neurons = fit_dictionary("neurons", InMemory(x), FitSpec()).dictionary
    _, quality = encode(neurons, [x[:, None]], labels(200))
    assert quality["fve"] == pytest.approx(1, abs=1e-9)


def test_quality_by_hand():
    # Latent 0 fires on 3 of 4 tokens (dense), latent 1 on one, latent 2 on none (dead).
    x = np.array([[1.0], [2.0], [3.0], [-4.0]])
    subject = Dictionary(
        np.array([[1], [-1], [0]], np.float32),
        np.zeros(3, np.float32),
        np.array([[1], [0], [0]], np.float32),
        *np.zeros((2, 1), np.float32),
        1.0,
    )
    _, quality = encode(subject, [x[:, None]], np.array([0, 0, 1, 1]))
    assert quality["l0"] == 1.0
    assert [quality[name] for name in ("l0_q05", "l0_median", "l0_q95")] == [1, 1, 1]
    assert quality["dead_share"] == pytest.approx(1 / 3)
    assert quality["dense_share"] == pytest.approx(1 / 3)
    assert quality["rare_share"] == 0
    # Only -4 is not reconstructed: residual 16; the total is 30 - 4 * 0.5^2 = 29.
    assert quality["fve"] == pytest.approx(1 - 16 / 29)
    # One of four tokens is lost as a whole.
    assert quality["nmse"] == pytest.approx(1 / 4)


def test_quantiles_of_l0_by_hand():
    # 20 tokens fire 0, 1, …, 19 latents: 5% of them fire none, half fire at most 9.
    z = np.tril(np.ones((20, 20), np.float32), -1)
    meter = Reconstruction(20)
    x = np.arange(20.0)[:, None]
    meter.add(x, x, z)
    quality = meter.result()
    assert [quality[name] for name in ("l0_q05", "l0_median", "l0_q95")] == [0, 9, 18]


def test_rare_latents_fire_on_less_than_a_thousandth():
    z = np.zeros((4000, 3), np.float32)
    z[:3, 0] = z[:5, 1] = 1
    meter = Reconstruction(3)
    x = np.arange(4000.0)[:, None]
    meter.add(x, x, z)
    quality = meter.result()
    assert quality["rare_share"] == pytest.approx(1 / 3)
    assert quality["dead_share"] == pytest.approx(1 / 3)


def test_near_duplicates_are_counted_across_blocks(monkeypatch):
    monkeypatch.setattr("cladescope.codes.linear.BLOCK_ROWS", 32)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((300, 64))
    rows[250] = 3 * rows[7] + 0.3 * rng.standard_normal(64)
    rows[20] = -rows[21]
    assert redundant_share(rows) == pytest.approx(2 / 300)


def test_probe_is_the_ridge_solution():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((90, 5)) + 3
    y = labels(90)
    probe = Ridge.fit(x, y, 3, penalty=1e-3)
    # The same by least squares on a system with the penalty as extra rows.
    centred = x - x.mean(0)
    ridge = 1e-3 * np.trace(centred.T @ centred) / 5
    system = np.vstack([centred, np.sqrt(ridge) * np.eye(5)])
    target = np.vstack([np.eye(3)[y] - np.eye(3)[y].mean(0), np.zeros((5, 3))])
    weights = np.linalg.lstsq(system, target, rcond=None)[0]
    queries = rng.standard_normal((50, 5)) + 3
    expected = ((queries - x.mean(0)) @ weights + np.eye(3)[y].mean(0)).argmax(1)
    assert probe.scores(queries).argmax(1).tolist() == expected.tolist()


def test_neighbours_vote_and_the_lower_label_wins_ties():
    train = np.array([[1, 0], [1, 0.01], [0, 1], [0.01, 1], [0, 1.0]])
    near, _ = nearest(unit_rows(np.array([[1, 0.0], [0, 2.0]])), unit_rows(train), 10)
    labels = np.array([2, 1, 0, 0, 3])[near]
    # All five vote: 0 has two votes, whatever the query.
    assert vote(np.sort(labels, axis=1)).tolist() == [0, 0]


def test_downstream_accuracy_falls_with_what_a_dictionary_loses():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 50)
    x = (4 * np.eye(6)[y] + 0.3 * rng.standard_normal((200, 6))).astype(np.float32)
    full = fit_dictionary("neurons", InMemory(x), FitSpec()).dictionary
    _, whole = encode(full, [x[:, None]], y)
    one_sided = Dictionary(**{**vars(full), "encoder": np.zeros_like(full.encoder)})
    _, lost = encode(one_sided, [x[:, None]], y)
    for name in ("probe_accuracy", "knn_accuracy"):
        assert whole[name] == whole[f"{name}_original"] == 1
        assert lost[name] == pytest.approx(0.25, abs=0.02)


def test_pca_directions_are_those_of_the_svd(x):
    found = fit_dictionary("pca", InMemory(x), FitSpec()).dictionary.decoder[:12]
    expected = np.linalg.svd(x - x.mean(0, dtype=float), full_matrices=False)[2]
    assert np.abs(np.sum(found * expected, axis=1)) == pytest.approx(np.ones(12), abs=1e-3)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("encoder", np.full((20, 12), np.nan, np.float32), "encoder has numbers"),
        ("decoder_bias", np.full(12, np.inf, np.float32), "decoder_bias has numbers"),
        ("decoder", np.ones((19, 12), np.float32), r"decoder is of shape \(19, 12\), not"),
        ("threshold", np.ones(3, np.float32), r"threshold is of shape \(3,\), not \(20,\)"),
        ("scale", 0.0, "scale is 0.0"),
        ("scale", float("nan"), "scale is nan"),
        ("k", 0, "k is 0"),
    ],
)
def test_what_no_dictionary_can_hold_is_refused(tmp_path, field, value, said):
    path = tmp_path / "sae.safetensors"
    with pytest.raises(ValueError, match=f"sae.safetensors: {said}"):
        replace(dictionary(), **{field: value}).save(path, {})
    dictionary().save(path, {})
    about = path.with_suffix(".json")
    if field in ("scale", "k"):
        about.write_text(json.dumps({**json.loads(about.read_text()), field: value}))
    else:
        save_file({**load_file(path), field: value}, path)
    with pytest.raises(ValueError, match=f"sae.safetensors: {said}"):
        Dictionary.load(path)
