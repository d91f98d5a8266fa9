"""Controls: what training starts from, directions that are given, parts that stay random."""

import dataclasses
import logging

import numpy as np
import pytest

from cladescope.dictionaries.train import (
    Target,
    fit_dictionary,
    fit_together,
    open_source,
    train_dictionaries,
)
from cladescope.dictionaries.training import loop
from cladescope.dictionaries.training.batches import InMemory
from cladescope.dictionaries.training.initial import Beginning
from cladescope.dictionaries.training.spec import FitSpec, Recipe
from cladescope.dictionaries.variants import node_means, topk
from cladescope.images.index import ImageIndex
from cladescope.taxonomy.taxonomy import taxonomy_from_parents
from stores import write

RECIPE = Recipe(20_000, 128, 4e-3, 0.05, 0.2, 0.005, 0.05, 1 / 32)
FROZEN = ("frozen_decoder", "frozen_encoder", "soft_frozen")
WEIGHTS = ("encoder", "encoder_bias", "decoder", "decoder_bias")


@pytest.fixture(scope="module")
def source():
    """Sparse combinations of 24 directions in 16 dimensions, off centre and off scale."""
    random = np.random.default_rng(99)
    directions = random.standard_normal((24, 16))
    z = (random.random((3000, 24)) < 0.08) * random.uniform(0.5, 1.5, (3000, 24))
    return InMemory((z @ directions + 3).astype(np.float32))


# What training starts from.


@pytest.mark.parametrize("seed", [0, 1])
def test_start_is_what_topk_starts_from_to_the_bit(source, seed):
    spec = FitSpec(32, 3, seed, RECIPE)
    beginning = Beginning.of(next(source.blocks()))
    before = topk.begin(beginning, spec, steps=100, threads=1).finished(iter(()))
    start = fit_dictionary("start", source, FitSpec(32, 3, seed)).dictionary
    for name in WEIGHTS:
        assert getattr(start, name).tobytes() == before[name].tobytes(), name
    assert start.k == 3
    trained = fit_dictionary("topk", source, spec).dictionary
    assert (start.scale, start.mean.tobytes()) == (trained.scale, trained.mean.tobytes())


def test_random_directions_know_nothing_of_the_data(source):
    one = fit_dictionary("random", source, FitSpec(32, 3, 0)).dictionary
    moved = InMemory(np.square(next(source.blocks())) + 5)
    other = fit_dictionary("random", moved, FitSpec(32, 3, 0)).dictionary
    assert one.decoder == pytest.approx(other.decoder, abs=1e-6)
    start = fit_dictionary("start", source, FitSpec(32, 3, 0)).dictionary
    assert np.abs((one.decoder * start.decoder).sum(1)).max() < 0.95


def test_likeness_reads_the_decoder_of_topk_by_cosine(source):
    spec = FitSpec(32, 3, 0, RECIPE)
    trained, read = (
        fit_dictionary(variant, source, spec).dictionary for variant in ("topk", "likeness")
    )
    for name in ("decoder", "decoder_bias", "mean"):
        assert getattr(read, name).tobytes() == getattr(trained, name).tobytes(), name
    x = read.normalise(next(source.blocks())[:500])
    z = read.encode(x)
    for row, code in zip(x.astype(np.float64), z, strict=True):
        likeness = read.decoder @ (row - read.decoder_bias)
        largest = np.argsort(-likeness)[:3]
        assert set(np.flatnonzero(code)) == {j for j in largest if likeness[j] > 0}

    def error(factor):
        guess = factor * (z @ read.decoder) + read.decoder_bias
        return float(np.square(x - guess, dtype=np.float64).sum())

    assert error(1.0) < min(error(0.95), error(1.05))


# Directions that are given.

PARENTS = {"rose": ["plant"], "oak": ["plant"], "cat": ["root"], "plant": ["root"], "root": []}
CLASSES = ["cat", "oak", "rose"]


def told(folder, labels, wnids=CLASSES, parents=PARENTS):
    """Write what tells the classes of the training images."""
    files = {"index": folder / "train.parquet", "taxonomy": folder / "taxonomy.parquet"}
    n = len(labels)
    paths = np.array([f"{number}.png" for number in range(n)], np.dtypes.StringDType())
    hashes = np.zeros((n, 32), np.uint8)
    ImageIndex(paths, np.array(labels, np.int32), wnids, hashes).save(files["index"])
    taxonomy_from_parents(wnids, parents).save(files["taxonomy"])
    return files


def test_means_by_hand(tmp_path):
    """The classes are not of one size, and images not in their order.

    x̄ = (0 + 0 + 6 + 0 + 4 + 2, 0 + 4 + 0 + 2 + 0 + 0) / 6 = (2, 1). Classes: cat (0, 2) − x̄ =
    (−2, 1); oak (5, 0) − x̄ = (3, −1); rose (2, 0) − x̄ = (0, −1). The plant: half of (3, −1) +
    (0, −1), along (3, −2).
    """
    x = np.array([[0, 0], [0, 4], [6, 0], [0, 2], [4, 0], [2, 0]], np.float32)
    files = told(tmp_path, [0, 0, 1, 0, 1, 2])
    of_classes = np.array([[-2, 1], [3, -1], [0, -1]])
    spec = FitSpec(sparsity=1)
    found = fit_dictionary("class_means", InMemory(x), spec, told={"index": files["index"]})
    expected = of_classes / np.linalg.norm(of_classes, axis=1, keepdims=True)
    np.testing.assert_allclose(found.dictionary.decoder, expected, atol=1e-6)
    assert found.dictionary.k == 1

    found = fit_dictionary("node_means", InMemory(x), spec, told=files).dictionary
    # The deepest first: oak and rose; then the cat, which is fewer classes than the plant.
    rows = [[3, -1], [0, -1], [-2, 1], [1.5, -1]]
    np.testing.assert_allclose(node_means.directions(InMemory(x), **files), rows, atol=1e-12)
    plant = np.array([3, -2]) / np.sqrt(13)
    np.testing.assert_allclose(found.decoder[3], plant, atol=1e-6)


def test_means_are_read_like_centres_of_clusters(tmp_path):
    """Classes that are clusters give the directions of k-means, with a scale that fits as well."""
    random = np.random.default_rng(0)
    labels = np.arange(300) % 3
    x = (10 * np.eye(8)[labels] + 0.1 * random.standard_normal((300, 8))).astype(np.float32)
    index = told(tmp_path, labels)["index"]
    means = fit_dictionary("class_means", InMemory(x), FitSpec(sparsity=2), told={"index": index})
    centres = fit_dictionary("kmeans", InMemory(x), FitSpec(3, 2, 6)).dictionary
    cosine = centres.decoder @ means.dictionary.decoder.T
    np.testing.assert_allclose(np.sort(cosine.max(0)), 1, atol=1e-5)
    scales = [np.linalg.norm(d.encoder, axis=1).mean() for d in (means.dictionary, centres)]
    assert scales[0] == pytest.approx(scales[1], rel=1e-4)


def test_an_image_of_several_tokens_counts_as_their_mean(tmp_path, monkeypatch):
    monkeypatch.setattr("cladescope.dictionaries.training.batches.BLOCK_ROWS", 30)
    monkeypatch.setattr("cladescope.dictionaries.training.batches.IMAGES_AT_A_TIME", 7)
    random = np.random.default_rng(0)
    x = random.standard_normal((60, 4, 8)).astype(np.float32)
    files = told(tmp_path, random.integers(3, size=60))
    expected = node_means.directions(InMemory(x.mean(1, dtype=np.float64)), **files)
    streamed = open_source(write(tmp_path, x, 3))
    for source in (InMemory(x), streamed):
        np.testing.assert_allclose(node_means.directions(source, **files), expected, atol=1e-12)
    found = fit_dictionary("node_means", streamed, FitSpec(sparsity=2), told=files)
    assert found.dictionary.width == 4


def test_damaged_tokens_are_not_averaged(tmp_path):
    x = np.random.default_rng(0).standard_normal((60, 4, 8)).astype(np.float32)
    files = told(tmp_path, np.arange(60) % 3)
    source = open_source(write(tmp_path, x, 3))
    chunk = source.store.chunk(1)
    content = bytearray(chunk.read_bytes())
    content[100] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(ValueError, match="fails its checksum"):
        node_means.directions(source, **files)
    with pytest.raises(ValueError, match="fails its checksum"):
        fit_dictionary("random", source, FitSpec(8, 2, 0))


def test_more_latents_to_keep_than_classes(tmp_path):
    x = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
    index = told(tmp_path, np.arange(60) % 3)["index"]
    message = r"sweep.variants: a sparsity of 4 exceeds the 3 latents.*largest valid k is 3"
    with pytest.raises(ValueError, match=message):
        fit_dictionary("class_means", InMemory(x), FitSpec(sparsity=4), told={"index": index})


# Parts that stay random.


@pytest.fixture(scope="module")
def fits(source):
    """A dictionary of each kind."""
    spec = FitSpec(32, 3, 0, RECIPE)
    return {variant: fit_dictionary(variant, source, spec) for variant in FROZEN}


@pytest.fixture(scope="module")
def random_start(source):
    return fit_dictionary("random", source, FitSpec(32, 3, 0)).dictionary


@pytest.mark.parametrize(
    ("variant", "part", "others"),
    [("frozen_decoder", "decoder", "encoder"), ("frozen_encoder", "encoder", "decoder")],
)
def test_the_frozen_part_keeps_its_bits_and_the_others_learn(
    fits, random_start, variant, part, others
):
    found = fits[variant].dictionary
    assert getattr(found, part).tobytes() == getattr(random_start, part).tobytes()
    for name in (others, "encoder_bias", "decoder_bias"):
        assert np.abs(getattr(found, name) - getattr(random_start, name)).max() > 0.01, name


def test_soft_frozen_rows_stay_in_their_cone_and_use_all_of_it(fits, random_start):
    rows = fits["soft_frozen"].dictionary.decoder.astype(np.float64)
    cosine = (rows * random_start.decoder).sum(1)
    assert cosine.min() >= 0.8 - 1e-6
    assert (cosine < 0.8 + 1e-6).any()
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(32), abs=1e-6)


@pytest.mark.parametrize("variant", FROZEN)
def test_the_loss_falls(fits, variant):
    loss = fits[variant].log["loss"]
    assert loss[-5:].mean() < 0.8 * loss[:5].mean()


def test_a_row_outside_its_cone_moves_to_the_nearest_edge():
    """From (1, 0) by more than cos⁻¹ .8: (0, 2) goes to (.8, .6), (3, 1) is within."""
    import torch

    from cladescope.dictionaries.dictionary import Dictionary
    from cladescope.dictionaries.variants.soft_frozen import SoftFrozen

    first = np.array([[1, 0], [1, 0]], np.float32)
    zeros = np.zeros(2, np.float32)
    sae = SoftFrozen(Dictionary(first, zeros, first, zeros, zeros, 1.0), 1)
    with torch.no_grad():
        sae.decoder.copy_(torch.tensor([[0.0, 2.0], [3.0, 1.0]]))
    sae.constrain()
    expected = [[0.8, 0.6], [3 / 10**0.5, 1 / 10**0.5]]
    np.testing.assert_allclose(sae.decoder.detach().numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("variant", [*FROZEN, "tree", "matching_pursuit", "hsae", "archetypal"])
def test_interrupted_runs_end_with_the_same_bits(tmp_path, monkeypatch, caplog, source, variant):
    """The part that is fixed, or the trees, are in no checkpoint: they follow from the seed."""

    def run(folder, rows=source):
        folder.mkdir(exist_ok=True)
        target = Target(FitSpec(32, 3, 0, RECIPE), folder / "sae.safetensors", "key")
        train_dictionaries(variant, rows, [target])
        return [path.read_bytes() for path in sorted(folder.iterdir())]

    calm = run(tmp_path / "calm")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        take = loop.Run._take_in

        def stop(self, stretch):
            if self.step == 60:
                raise KeyboardInterrupt
            take(self, stretch)

        patch.setattr(loop.Run, "_take_in", stop)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "killed")
    caplog.set_level(logging.INFO)
    assert run(tmp_path / "killed") == calm
    assert "continuing from step 60" in caplog.text


def test_dictionaries_of_a_job_have_cones_of_their_own(source):
    recipe = dataclasses.replace(RECIPE, images=2560)
    specs = [FitSpec(32, 3, seed, recipe) for seed in (0, 1)]
    together = fit_together("soft_frozen", source, specs)
    for spec, fit in zip(specs, together, strict=True):
        alone = fit_dictionary("soft_frozen", source, spec).dictionary
        assert alone.decoder.tobytes() == fit.dictionary.decoder.tobytes()
