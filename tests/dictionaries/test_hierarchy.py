"""The benchmark's hierarchical source: what it makes, and what it says of codes that are known."""

import numpy as np
import pytest
from benchmarks import hierarchy

from cladescope.sweep import TRAINED


@pytest.fixture
def source(monkeypatch):
    monkeypatch.setattr(hierarchy, "TRAIN", 3000)
    monkeypatch.setattr(hierarchy, "EVALUATION", 1000)
    monkeypatch.setattr(hierarchy, "NOISE", 0.0)
    return lambda paths: hierarchy.world(d=24, roots=3, branching=2, depth=3, paths=paths, seed=0)


def test_every_trained_variant_is_compared_with_clustering():
    told_otherwise = {"relu", "likeness", "frozen_decoder", "frozen_encoder", "soft_frozen"}
    assert {*TRAINED} - told_otherwise == {*hierarchy.VARIANTS} - {"kmeans", "start"}
    assert hierarchy.VARIANTS[0] == "kmeans"


def test_codes_hold_the_parents_of_their_nodes(source):
    for paths in (1, 2):
        made = source(paths)
        assert len(made.parent) == 3 * (1 + 2 + 4)
        for child, parent in enumerate(made.parent):
            if parent >= 0:
                assert not (made.code[:, child] & ~made.code[:, parent]).any()
        assert (made.code[:, made.parent < 0].sum(1) == paths).all()
    # Without noise, rows of one code are multiples of one direction.
    made = source(1)
    _, group = np.unique(made.code, axis=0, return_inverse=True)
    for number in range(group.max() + 1):
        rows = made.x[group == number].astype(np.float64)
        assert np.linalg.svd(rows, compute_uv=False)[1] < 1e-4


def test_true_codes_recover_all(source):
    made = source(2)
    shuffled = made.code[:, np.random.default_rng(0).permutation(made.code.shape[1])]
    found = hierarchy.recovery(shuffled, made.code, made.parent)
    assert found == pytest.approx(dict.fromkeys(("nodes", "own", "edges", "codes"), 1.0))


def test_other_codes_recover_what_they_hold(source):
    made = source(1)
    leaves = ~np.isin(np.arange(len(made.parent)), made.parent)
    found = hierarchy.recovery(made.code[:, leaves], made.code, made.parent)
    # Twelve leaves of 21 nodes, of which 9 are parents; a leaf says nothing of an edge.
    assert found["edges"] == 0
    assert found["nodes"] >= 12 / 21 and found["own"] == pytest.approx(12 / 21)
    noise = np.random.default_rng(1).random((len(made.code), 30)) < 0.2
    nothing = hierarchy.recovery(noise, made.code, made.parent)
    assert nothing["nodes"] == nothing["own"] == nothing["edges"] == 0
    assert abs(nothing["codes"]) < 0.1


def test_mcc_is_the_correlation(source):
    random = np.random.default_rng(2)
    fires, code = random.random((2, 200, 3)) < 0.4
    fires[:, 2] = False
    found = hierarchy.mcc(fires, code)
    for j in range(2):
        for v in range(3):
            assert found[j, v] == pytest.approx(np.corrcoef(fires[:, j], code[:, v])[0, 1])
    assert (found[2] == 0).all()
