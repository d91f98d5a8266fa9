"""The k-means baseline on activations with known clusters."""

import numpy as np
import pytest

from cladescope.dictionaries.train import fit_dictionary
from cladescope.dictionaries.training.batches import InMemory
from cladescope.dictionaries.training.spec import FitSpec


@pytest.mark.parametrize("on_device", [False, True])
def test_directions_are_those_of_the_clusters(on_device, monkeypatch) -> None:
    """A mock: on the device the processor stands for a GPU."""
    monkeypatch.setattr("cladescope.dictionaries.training.clustering.has_gpu", lambda: on_device)
    random = np.random.default_rng(0)
    # Four tight clusters around orthogonal directions, of equal size, so that their mean is known.
    centres = np.eye(8)[:4] * 10
    x = np.repeat(centres, 100, axis=0) + 0.05 * random.standard_normal((400, 8))
    dictionary = fit_dictionary(
        "kmeans", InMemory(x), FitSpec(width=16, sparsity=1, seed=0)
    ).dictionary
    truth = centres - centres.mean(0)
    cosine = dictionary.decoder @ (truth / np.linalg.norm(truth, axis=1, keepdims=True)).T
    assert (cosine.max(0) > 0.999).all()
    assert (cosine.max(1) > 0.999).all()
    np.testing.assert_allclose(np.linalg.norm(dictionary.decoder, axis=1), 1, rtol=1e-5)
    again = fit_dictionary("kmeans", InMemory(x), FitSpec(width=16, sparsity=1, seed=0)).dictionary
    assert (again.decoder == dictionary.decoder).all()
    with pytest.raises(ValueError, match="500 clusters"):
        fit_dictionary("kmeans", InMemory(x), FitSpec(width=500, sparsity=1, seed=0))


def test_the_scale_is_the_one_that_fits_best() -> None:
    """Four latents of nearly one direction reconstruct an image of that direction fourfold."""
    random = np.random.default_rng(0)
    x = np.concatenate([np.eye(8)[:1] * 10, np.eye(8)[:1] * -10]).repeat(200, axis=0)
    x = x + 0.5 * random.standard_normal(x.shape)
    spec = FitSpec(width=16, sparsity=4, seed=0)
    dictionary = fit_dictionary("kmeans", InMemory(x), spec).dictionary
    factors = np.linalg.norm(dictionary.encoder, axis=1)
    np.testing.assert_allclose(factors, factors[0], rtol=1e-5)
    np.testing.assert_allclose(dictionary.encoder, factors[0] * dictionary.decoder, rtol=1e-5)
    assert factors[0] == pytest.approx(1 / 4, rel=0.05)

    def error(factor: float) -> float:
        rows = dictionary.normalise(x)
        guess = dictionary.decode(dictionary.encode(rows)) / factors[0]
        return float(np.square(rows - factor * guess).sum())

    # The error is least at the factor, and above that of the mean without one.
    assert error(factors[0]) < min(error(0.98 * factors[0]), error(1.02 * factors[0]))
    assert error(1.0) > error(0.0) > error(factors[0])
