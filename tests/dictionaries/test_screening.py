"""The screened encoder: the same latents and the same bits as if all were computed in float32."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training import processor_kernels as kernels
from cladescope.dictionaries.training.processor_step import SparseTopK
from cladescope.dictionaries.training.schedule import ADAM_BETAS
from cladescope.dictionaries.training.screening import Screen

ROWS, D = 40, 200


def case(kind, width):
    """Activations, an encoder and its bias."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, D), dtype=np.float32)
    encoder = 0.1 * rng.standard_normal((width, D), dtype=np.float32)
    bias = 0.05 * rng.standard_normal(width, dtype=np.float32)
    if kind == "ties":
        x, encoder, bias = np.round(x), np.round(10 * encoder), np.round(20 * bias)
    elif kind == "near ties":
        # One latent many times over, with differences that bfloat16 does not hold.
        encoder = encoder[:1] * (1 + 1e-4 * rng.standard_normal((width, 1), dtype=np.float32))
        x *= np.sign(x @ encoder[:1].T)
    elif kind == "long rows":
        encoder[::7] *= 100
    elif kind == "common direction":
        x += 300
        encoder -= encoder.mean(1, keepdims=True)
    elif kind == "large bias":
        bias = 1000 + 10 * bias
    elif kind == "few positive":
        bias -= 1.5
    elif kind == "none positive":
        bias -= 50
    elif kind == "silent encoder":
        encoder[:] = 0
    return x, encoder, bias


KINDS = [
    "distinct",
    "ties",
    "near ties",
    "long rows",
    "common direction",
    "large bias",
    "few positive",
    "none positive",
    "silent encoder",
]


def everything(x, encoder, bias, k):
    """What the kernels select when every product is taken in float32."""
    pre = np.empty((len(x), len(encoder)), np.float32)
    columns = np.arange(len(encoder), dtype=np.int32)
    for row in range(len(x)):
        kernels.products(x[row], encoder, columns, pre[row])
    latents, values = np.empty((len(x), k), np.int32), np.empty((len(x), k), np.float32)
    kernels.select_largest(pre, bias, k, latents, values)
    return latents, values


def screened(x, encoder, bias, k, seen=None):
    """What the screen selects; `seen` is the encoder that it computes in float32."""
    screen = Screen(*encoder.shape)
    for first in range(0, len(encoder), 100):
        screen.load(encoder, slice(first, first + 100))
    latents, values = np.empty((len(x), k), np.int32), np.empty((len(x), k), np.float32)
    screen.select(x, encoder if seen is None else seen, bias, latents, values)
    return latents, values


@pytest.mark.parametrize(("width", "k"), [(36, 5), (256, 1), (300, 5), (600, 200), (4100, 32)])
@pytest.mark.parametrize("kind", KINDS)
def test_selection_has_the_bits_of_float32(kind, width, k):
    x, encoder, bias = case(kind, width)
    expected, found = everything(x, encoder, bias, k), screened(x, encoder, bias, k)
    assert np.array_equal(expected[0], found[0])
    assert np.array_equal(expected[1], found[1])
    if kind not in ("few positive", "none positive", "silent encoder"):
        assert found[1].any()


@pytest.mark.parametrize("inexact", ["x", "encoder"])
def test_rounding_errors_that_all_add_up_are_allowed_for(inexact):
    n = 256
    # Half of the entries are rounded down, half of the negative ones up: errors of one sign, in a
    # sum that is close to 0 without them.
    nearly = 2.0**-8 * 0.999
    skewed = np.where(np.arange(n) % 2, 1 + nearly, -(1 + 2.0**-7 - nearly))
    skewed, even = np.append(skewed, 2), np.ones(n + 1)
    row, latent = (skewed, even) if inexact == "x" else (even, skewed)
    encoder = np.zeros((300, n + 1), np.float32)
    encoder[17] = latent
    # The sums are 2 and 1.75, but after rounding 1 and 1.75.
    encoder[3:9, n] = 1.75 / row[n]
    x, bias = row[None].astype(np.float32), np.zeros(300, np.float32)
    rounded = (torch.from_numpy(m).bfloat16().double() for m in (x, encoder))
    one, two = (a.numpy() for a in rounded)
    assert (one @ two.T).argmax() == 3
    assert screened(x, encoder, bias, 1)[0] == 17


@pytest.mark.parametrize(
    ("entries", "k"),
    [
        ([(256.9, 0), (256, 0.5)], 1),
        ([(1000.9, -998), (2.5, 0)], 1),
        # The second is rounded down, the third up.
        ([(344, 0), (256.99, 0.05), (257.01, 0)], 2),
    ],
    ids=["top", "bias", "both"],
)
@pytest.mark.parametrize("places", [(100, 7, 3), (260, 290, 280)], ids=["groups", "rest"])
def test_rounded_products_are_allowed_for(entries, k, places):
    """The first k of the entries are the largest, but not after rounding."""
    products, bias = np.zeros((2, 300), np.float32)
    places = places[: len(entries)]
    for place, (product, shift) in zip(places, entries, strict=True):
        products[place], bias[place] = product, shift
    rough = torch.from_numpy(products).bfloat16()
    assert set((-(rough.float().numpy() + bias)).argsort()[:k]) != set(places[:k])
    rough, doubts = rough.view(torch.uint16).numpy()[None], np.zeros(1, np.float32)
    latents, values = np.empty((1, k), np.int32), np.empty((1, k), np.float32)
    x, encoder = np.ones((1, 1), np.float32), products[:, None]
    kernels.select_screened(rough, doubts, np.abs(products), x, encoder, bias, latents, values)
    best = sorted(places[:k])
    assert latents[0].tolist() == best
    assert np.array_equal(values[0], (products + bias)[best])


@pytest.mark.parametrize("width", [36, 300])
def test_a_small_sum_of_large_parts_is_not_lost(width):
    x, encoder, bias = np.ones((1, 2)), np.zeros((width, 2)), np.zeros(width)
    encoder[5], bias[5] = (100, 0.6015625), -100.55
    x, encoder, bias = (part.astype(np.float32) for part in (x, encoder, bias))
    latents, values = screened(x, encoder, bias, 3)
    assert latents.tolist() == [[5, 0, 0]]
    assert values[0] == pytest.approx([0.0515625, 0, 0], abs=1e-5)


def test_sums_in_float32_are_allowed_for():
    """Every factor is one of bfloat16, and large products cancel."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        x, encoder = np.round(100 * rng.standard_normal((40, 32))), 2.0 ** rng.integers(-10, 10, 32)
        x, encoder = x[:4] * encoder, x[4:]
        x = np.concatenate([x, x, np.ones((4, 1))], 1)
        last = 2.0 ** rng.integers(-14, -9, (36, 1))
        encoder = np.concatenate([encoder, -encoder, last], 1)
        order = rng.permutation(65)
        x, encoder = (m[:, order].astype(np.float32) for m in (x, encoder))
        bias = np.zeros(36, np.float32)
        expected, found = everything(x, encoder, bias, 1), screened(x, encoder, bias, 1)
        assert np.array_equal(expected[0], found[0])
        assert np.array_equal(expected[1], found[1])


@pytest.mark.parametrize("d", [1, 7, 97, 384, 1536])
def test_a_product_has_the_same_bits_wherever_it_is_asked_for(d):
    rng = np.random.default_rng(0)
    x, encoder = rng.standard_normal(d, np.float32), rng.standard_normal((37, d), np.float32)
    together, alone = np.empty((2, 37), np.float32)
    kernels.products(x, encoder, np.arange(37, dtype=np.int32), together)
    for j in range(37):
        kernels.products(x, encoder, np.array([j], np.int32), alone[j : j + 1])
    assert np.array_equal(together, alone)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_a_step_on_what_is_not_finite_says_so(value):
    x, encoder, bias = case("distinct", 300)
    x[3, 4] = value
    zero = np.zeros(D, np.float32)
    start = Dictionary(encoder, bias, encoder.copy(), zero, zero, 1.0, k=5)
    learner = SparseTopK(start, 0.0, ADAM_BETAS, 1, Screen(*encoder.shape))
    report = learner.step(x, 1e-3, np.zeros(300, bool))
    assert not np.isfinite(report.squared_error + report.gradient_norm)


def test_every_thread_multiplies_alone(monkeypatch):
    x, encoder, bias = case("distinct", 300)
    told = []
    set_threads = torch.set_num_threads

    def tell(n):
        told.append((threading.get_ident(), n))
        set_threads(n)

    monkeypatch.setattr(torch, "set_num_threads", tell)
    screen = Screen(*encoder.shape)
    screen.load(encoder, slice(None))

    def select(_):
        latents, values = np.empty((ROWS, 5), np.int32), np.empty((ROWS, 5), np.float32)
        screen.select(x, encoder, bias, latents, values)
        together.wait()
        return threading.get_ident()

    together = threading.Barrier(2, timeout=60)
    with ThreadPoolExecutor(2) as pool:
        workers = set(pool.map(select, range(2)))
    assert len(workers) == 2
    assert set(told) == {(worker, 1) for worker in workers}


def test_most_latents_are_not_computed_again():
    x, encoder, bias = case("distinct", 4096)
    expected = screened(x, encoder, bias, 32)
    pre = x.astype(float) @ encoder.T.astype(float) + bias
    ranks = (-pre).argsort(1).argsort(1)
    far = (ranks >= 48).all(0)
    assert far.mean() > 0.5
    without = np.where(far[:, None], np.float32("nan"), encoder)
    found = screened(x, encoder, bias, 32, seen=without)
    assert np.array_equal(expected[0], found[0])
    assert np.array_equal(expected[1], found[1])


def test_blocks_of_any_size_are_selected_alike():
    x, encoder, bias = case("distinct", 300)
    whole = screened(x, encoder, bias, 5)
    screen = Screen(*encoder.shape)
    screen.load(encoder, slice(None))
    for rows in (slice(3), slice(3, 33), slice(33, 40)):
        latents, values = np.empty((ROWS, 5), np.int32), np.empty((ROWS, 5), np.float32)
        screen.select(x[rows], encoder, bias, latents[rows], values[rows])
        assert np.array_equal(latents[rows], whole[0][rows])
        assert np.array_equal(values[rows], whole[1][rows])


def test_rows_are_rounded_as_torch_rounds_them():
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((20, D)) * 10.0 ** rng.integers(-6, 6, (20, D))
    matrix = matrix.astype(np.float32)
    matrix[0, :4] = [1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 0]  # exactly between two numbers
    rounded, norms, errors = np.empty((20, D), np.uint16), *np.empty((2, 20), np.float32)
    kernels.round_rows(matrix, rounded, norms, errors)
    expected = torch.from_numpy(matrix).to(torch.bfloat16)
    assert np.array_equal(rounded, expected.view(torch.uint16).numpy())
    lost = matrix.astype(float) - expected.double().numpy()
    assert norms == pytest.approx(np.linalg.norm(matrix.astype(float), axis=1), rel=1e-5)
    assert errors == pytest.approx(np.linalg.norm(lost, axis=1), rel=1e-5)


def test_bounds_of_rounding_are_those_of_bfloat16():
    assert float(kernels.ROUNDING) == torch.finfo(torch.bfloat16).eps / 2
