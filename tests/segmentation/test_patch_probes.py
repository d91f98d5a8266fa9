"""Probes of single latents, against dense loops in float64 and against cases known by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.sparse import csc_array, csr_array

from cladescope.segmentation.probes import FIRST, RIDGE, Probes, find


def fitted(x: np.ndarray, positive: np.ndarray) -> Probes:
    positive = csr_array(positive.astype(float))
    probes = Probes.without_latents(positive)
    probes.improve(np.arange(x.shape[1]), csc_array(x), positive)
    return probes


def dense_loss(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Minimise over slope and bias by scipy; return slope, bias and loss."""
    scale = np.sqrt(np.square(x[x > 0]).mean())

    def loss(t: np.ndarray) -> float:
        logit = t[0] + t[1] * x / scale
        return float((np.logaddexp(0, logit) - y * logit).sum() + RIDGE / 2 * t[1] ** 2)

    found = minimize(loss, [0, 0], method="BFGS", options={"gtol": 1e-9})
    return found.x[1] / scale, found.x[0], found.fun


def dense_precision(score: np.ndarray, y: np.ndarray) -> float:
    """Average precision as a loop over thresholds, as scikit-learn defines it."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        called = score >= threshold
        recall = (called & y).sum() / y.sum()
        total += (recall - before) * (called & y).sum() / called.sum()
        before = recall
    return total


def random_case(seed: int, n: int = 300, latents: int = 8) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    positive = random.random((n, 4)) < [0.02, 0.1, 0.4, 0.7]
    own = positive[:, random.integers(0, 4, latents)]
    x = random.standard_normal((n, latents)) - 1 + own * random.uniform(-1, 3, latents)
    return np.maximum(x, 0).astype(np.float32), positive


@pytest.mark.parametrize("seed", range(3))
def test_the_best_latent_is_that_of_dense_fits(seed: int) -> None:
    x, positive = random_case(seed)
    found = fitted(x, positive)
    for node in range(positive.shape[1]):
        dense = [dense_loss(column.astype(float), positive[:, node]) for column in x.T]
        best = int(np.argmin([loss for *_, loss in dense]))
        assert found.latent[node] == best
        assert found.loss[node] == pytest.approx(dense[best][2], rel=1e-7)
        assert found.slope[node] == pytest.approx(dense[best][0], rel=1e-3)
        assert found.bias[node] == pytest.approx(dense[best][1], rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_measures_are_those_of_dense_loops(seed: int) -> None:
    x, positive = random_case(seed)
    # Few values, so that many are tied.
    x = np.round(x)
    for column in x.T:
        for y in positive.T:
            slope, bias, _ = dense_loss(column.astype(float), y)
            fires = np.flatnonzero(column)
            arguments = (column[fires], y[fires], len(y), int(y.sum()))
            found = find(*arguments, (slope, bias), 0.3)
            logit = bias + slope * column.astype(float)
            assert found.precision == pytest.approx(dense_precision(logit, y), abs=1e-12)
            p = 1 / (1 + np.exp(-logit))
            loss = -np.log(np.where(y, p, 1 - p)).sum()
            nothing = -np.log(np.where(y, 0.3, 0.7)).sum()
            assert found.explained == pytest.approx(1 - loss / nothing, abs=1e-9)


def test_purity_is_the_mean_over_orders_of_tied_patches() -> None:
    # Ten patches at 2, of which four are positive, then twenty at 1 with ten.
    x = np.repeat([2.0, 1.0], [10, 20])
    hits = np.concatenate([np.arange(10) < 4, np.arange(20) < 10])
    found = find(x, hits, 100, 14, (1.0, 0.0), 0.14)
    # All ten, and six of the twenty: 4 + 6 / 2.
    assert found.purity == pytest.approx(7 / FIRST)
    # Where the latent speaks against it, those on which it does not fire come first.
    against = find(x, hits, 100, 14 + 35, (-1.0, 0.0), 0.5)
    assert against.purity == pytest.approx(35 / 70)


def test_a_latent_that_is_the_mask_finds_all_of_it() -> None:
    positive = np.random.default_rng(0).random((500, 3)) < [0.01, 0.2, 0.5]
    x = positive * np.float32(2.5)
    found = fitted(x, positive)
    assert found.latent.tolist() == [0, 1, 2]
    for node in range(3):
        fires = positive[:, node]
        total = int(fires.sum())
        probe = (found.slope[node], found.bias[node])
        measured = find(x[fires, node], fires[fires], 500, total, probe, total / 500)
        assert measured.precision == 1
        assert measured.explained > 0.99
        assert measured.purity == min(total, FIRST) / FIRST


def test_a_latent_that_never_fires_is_none() -> None:
    positive = np.eye(4, 2, dtype=bool)
    found = fitted(np.zeros((4, 3), np.float32), positive)
    assert found.latent.tolist() == [-1, -1]
    measured = find(np.empty(0), np.empty(0, bool), 4, 1, (0.0, float(found.bias[0])), 0.25)
    assert measured.precision == pytest.approx(0.25)
    assert measured.explained == pytest.approx(0, abs=1e-12)
    assert measured.purity == pytest.approx(0.25)


def test_nodes_without_positive_patches_or_without_others_have_no_probe() -> None:
    positive = np.array([[0, 1, 1], [0, 1, 0], [0, 1, 0]], bool)
    found = fitted(np.eye(3, dtype=np.float32), positive)
    assert found.latent.tolist() == [-1, -1, 0]


@given(st.integers(0, 10_000), st.integers(1, 60), st.floats(1e-3, 1e3))
def test_no_probe_is_worse_than_none_and_units_do_not_matter(seed, n, unit) -> None:
    x, positive = random_case(seed, n, 3)
    plain, scaled = fitted(x, positive), fitted((x * unit).astype(np.float32), positive)
    nothing = Probes.without_latents(csr_array(positive.astype(float)))
    assert (plain.loss <= nothing.loss).all()
    np.testing.assert_allclose(scaled.loss, plain.loss, rtol=1e-4)
