"""k-sparse probes: latents whose scores are known, and a regression by another way."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from cladescope.uses.sparse_probes import RIDGE, sparse_probes
from families import TAXONOMY, TREE, images_of, one_hot

LABELS = np.repeat(np.arange(8), 24)
NODES = [TAXONOMY.nodes[v] for v in TREE.node[TREE.internal]]


def probed(rows, k: int, labels=LABELS) -> dict[str, float]:
    (found,) = sparse_probes(rows, images_of(labels), (k,))
    return dict(zip(NODES, found.value, strict=True))


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_a_code_of_each_class_tells_k_classes_of_a_node(k) -> None:
    found = probed(one_hot(LABELS), k)
    for node, n in (("p", 2), ("o", 2), ("s", 4), ("u", 4)):
        assert found[node] == pytest.approx((1 + min(k, n) / n) / 2)


def test_a_code_of_each_node_tells_it() -> None:
    assert [probed(one_hot(LABELS // 2), 1)[node] for node in "poqt"] == [1, 1, 1, 1]
    assert [probed(one_hot(LABELS // 4), 1)[node] for node in "su"] == [1, 1]


@pytest.mark.parametrize("rows", [np.full((len(LABELS), 3), 0.1), csr_array((len(LABELS), 3))])
def test_codes_that_are_all_the_same_get_chance(rows) -> None:
    assert set(probed(rows, 2).values()) == {0.5}


def test_random_codes_get_chance() -> None:
    rows = np.random.default_rng(1).random((len(LABELS), 50))
    # 96 test images: the standard error of a node of a quarter of them is .06.
    assert np.mean([*probed(rows, 5).values()]) == pytest.approx(0.5, abs=0.08)


def test_against_weighted_least_squares() -> None:
    random = np.random.default_rng(2)
    x = random.standard_normal((len(LABELS), 4)) + random.standard_normal((8, 4))[LABELS]
    images, found = images_of(LABELS), probed(x, 2)
    for v, node in enumerate(NODES):
        truth = TREE.covers[LABELS, TREE.internal[v]]
        learnt = images.learnt
        difference = x[learnt & truth].mean(0) - x[learnt & ~truth].mean(0)
        chosen = np.argsort(-np.abs(difference))[:2]
        weight = np.where(truth, 1 / (learnt & truth).sum(), 1 / (learnt & ~truth).sum())[learnt]
        design = np.column_stack([x[:, chosen], np.ones(len(x))])
        # The ridge is too small to be seen.
        root = np.sqrt(weight)[:, None]
        line, *_ = np.linalg.lstsq(
            design[learnt] * root, np.where(truth, 1.0, -1.0)[learnt] * root[:, 0], rcond=None
        )
        called = design[images.tested] @ line > 0
        right = called == truth[images.tested]
        accuracy = np.mean([right[truth[images.tested] == kind].mean() for kind in (True, False)])
        assert found[node] == pytest.approx(accuracy)
    assert RIDGE < 1e-4


def test_storage_does_not_matter_and_a_node_without_images_has_no_score() -> None:
    z = np.random.default_rng(3).integers(0, 3, (len(LABELS), 6)) * 0.1
    assert probed(csr_array(z), 2) == pytest.approx(probed(z, 2))
    labels = np.repeat(np.arange(6), 24)
    found = probed(one_hot(labels), 1, labels)
    assert np.isnan(found["t"]) and np.isfinite(found["q"])


def test_images_on_the_cut_are_half_of_them_members() -> None:
    # On a and b the latent has 2 and 1, on four classes .75, on two 0: means 1.5, .5, the cut is 1.
    strength = np.array([2.0, 1.0, 0.75, 0.75, 0.75, 0.75, 0.0, 0.0])
    found = probed(strength[LABELS][:, None], 1)
    assert found["p"] == pytest.approx(((1 + 0.5) / 2 + 1) / 2)


def test_more_latents_than_there_are_are_all_of_them() -> None:
    assert probed(one_hot(LABELS // 4), 5) == pytest.approx(probed(one_hot(LABELS // 4), 2))
