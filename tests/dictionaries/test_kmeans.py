"""The k-means baseline on activations with known clusters."""

import numpy as np
import pytest

from cladescope.dictionaries.train import fit_dictionary
from cladescope.dictionaries.training.batches import InMemory
from cladescope.dictionaries.training.spec import FitSpec


@pytest.mark.parametrize("on_device", [False, True])
def test_directions_are_those_of_the_clusters(on_device, monkeypatch) -> None:
    """A mock: on the device the processor stands for a GPU."""
    monkeypatch.setattr("cladescope.dictionaries.variants.kmeans.has_gpu", lambda: on_device)
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
