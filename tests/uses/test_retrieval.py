"""Retrieval: ties against all their orders, codes whose neighbours are known, and chance."""

from itertools import permutations

import numpy as np
import pytest
from scipy.sparse import csr_array

from cladescope.uses import retrieval
from cladescope.uses.retrieval import _expect, retrieve
from cladescope.uses.table import FIRST_PRECISION, HEIGHT, PRECISION, Images
from families import IDENTITY, images_of, one_hot

N = 12
"""Images of each of the eight classes."""
LABELS = np.repeat(np.arange(8), N)
EVERY = np.arange(len(LABELS))


def measured(rows, images: Images | None = None, queries=EVERY, place=IDENTITY) -> dict:
    (found,) = retrieve(rows, images or images_of(LABELS), queries, [place])
    return {(part.measure, part.level): part for part in found}


def values(rows, *arguments) -> dict:
    return {key: part.value for key, part in measured(rows, *arguments).items()}


def expected(cosine, labels, own, group, height):
    """Average precision and precision of the first 10 over all orders of equal cosines; height."""
    found = []
    for order in permutations(range(len(cosine))):
        ranked = cosine[list(order)]
        if (np.diff(ranked) <= 0).all():
            relevant = group[labels[list(order)]] == group[own]
            precision = np.cumsum(relevant) / np.arange(1, len(relevant) + 1)
            first = height[own, labels[list(order)]][:10].mean()
            found.append([precision[relevant].mean(), relevant[:10].mean(), first])
    return np.mean(found, axis=0)


def test_ties_are_the_mean_over_their_orders() -> None:
    random = np.random.default_rng(0)
    group, height = np.array([0, 0, 1]), random.random((3, 3))
    for cosines in ([0, 0, 0, 0, 0, 0], [2, 2, 1, 0, 0, 0], [3, 2, 2, 2, 1, 1], [5, 4, 3, 2, 1, 0]):
        labels = random.permutation([0, 0, 1, 1, 2, 2])
        out = np.empty((1, 3))
        _expect(np.array(cosines, float), labels, 0, group[None, None], height[None], out)
        assert out[0] == pytest.approx(expected(np.array(cosines), labels, 0, group, height))


def test_first_ten_end_within_a_tie() -> None:
    # 4 images come first, 2 of them relevant; of 12 tied ones that follow, 3 are; 6 are looked at.
    labels = np.array([0, 0, 1, 1] + [0] * 3 + [1] * 9)
    cosine, out = np.array([2.0] * 4 + [1.0] * 12), np.empty((1, 3))
    height = np.array([[0.0, 1.0], [1.0, 0.0]])
    _expect(cosine, labels, 0, np.array([[[0, 1]]]), height[None], out)
    assert out[0, 1] == pytest.approx((2 + 6 * 3 / 12) / 10)
    assert out[0, 2] == pytest.approx((2 + 6 * 9 / 12) / 10)


def test_against_a_slow_reference() -> None:
    random = np.random.default_rng(1)
    x = random.standard_normal((len(LABELS), 6))
    found = values(x)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    groups = {"leaf": LABELS, "family": LABELS // 2, "domain": LABELS // 4}
    for level, group in groups.items():
        precision, first = np.zeros((2, 8, N))
        for q in EVERY:
            order = [i for i in np.argsort([-unit[q] @ u for u in unit]) if i != q]
            relevant = group[order] == group[q]
            ranks = np.flatnonzero(relevant) + 1
            precision[LABELS[q], q % N] = np.mean(np.arange(1, len(ranks) + 1) / ranks)
            first[LABELS[q], q % N] = relevant[:10].mean()
        assert found[PRECISION, level] == pytest.approx(precision.mean(1))
        assert found[FIRST_PRECISION, level] == pytest.approx(first.mean(1))


def test_a_code_of_each_class_is_found_first_and_the_rest_at_random() -> None:
    found = values(one_hot(LABELS, np.random.default_rng(2).random(len(LABELS)) + 0.1))
    assert (found[PRECISION, "leaf"] == 1).all() and (found[FIRST_PRECISION, "leaf"] == 1).all()
    assert (found[HEIGHT, "leaf"] == 0).all()
    # Behind the N − 1 of the class, N others of the family among 7 N images in any order.
    rest = sum(
        (N / (7 * N)) * (N + (i - 1) * (N - 1) / (7 * N - 1)) / (N - 1 + i)
        for i in range(1, 7 * N + 1)
    )
    assert found[PRECISION, "family"] == pytest.approx((N - 1 + rest) / (2 * N - 1))


def test_codes_that_are_all_the_same_get_chance() -> None:
    found = measured(np.ones((len(LABELS), 3)))
    for part in found.values():
        assert part.value.tolist() == part.chance.tolist()
    # Mean over orders: (H + (n − H)(R − 1)/(n − 1)) / n, H being the n-th harmonic number.
    n, relevant = 8 * N - 1, N - 1
    harmonic = (1 / np.arange(1, n + 1)).sum()
    chance = (harmonic + (n - harmonic) * (relevant - 1) / (n - 1)) / n
    assert found[PRECISION, "leaf"].chance == pytest.approx(chance)
    assert found[FIRST_PRECISION, "family"].chance == pytest.approx((2 * N - 1) / n)
    assert found[HEIGHT, "leaf"].chance == pytest.approx((N + 2 * 2 * N + 3 * 4 * N) / n)


def test_random_codes_get_chance() -> None:
    random = np.random.default_rng(3)
    for part in measured(
        csr_array(random.random((len(LABELS), 40)) * (random.random((96, 40)) < 0.1))
    ).values():
        # 96 queries of one gallery: five standard errors of what they differ by.
        margin = 5 * part.value.std() / np.sqrt(8)
        assert part.value.mean() == pytest.approx(part.chance.mean(), abs=margin)


def test_neither_order_nor_rotation_nor_storage_of_images_matters() -> None:
    random = np.random.default_rng(4)
    # Few values, so that many cosines are equal but for rounding.
    z = random.integers(0, 3, (len(LABELS), 5)) * 0.1
    rotation = np.linalg.qr(random.standard_normal((5, 5)))[0]
    order = random.permutation(EVERY)
    before = values(csr_array(z))
    for rows, images in (
        (z @ rotation, images_of(LABELS)),
        (csr_array(z[order]), images_of(LABELS[order])),
        (z[order] @ rotation, images_of(LABELS[order])),
    ):
        for key, value in values(rows, images).items():
            assert value == pytest.approx(before[key], abs=1e-12)


def test_blocks_do_not_matter(monkeypatch) -> None:
    rows = csr_array(np.random.default_rng(7).integers(0, 3, (len(LABELS), 5)) * 0.1)
    whole = values(rows)
    monkeypatch.setattr(retrieval, "BLOCK_CELLS", 5 * len(LABELS))
    for key, value in values(rows).items():
        assert value.tolist() == whole[key].tolist()


def test_images_of_the_own_group_are_not_found() -> None:
    # Two images of each group are the same; the classes have nothing to do with it.
    pairs = np.arange(len(LABELS)) // 2
    rows = one_hot(pairs)
    assert (values(rows)[PRECISION, "leaf"] > 0.15).all()
    apart = measured(rows, images_of(LABELS, groups=pairs))[PRECISION, "leaf"]
    assert apart.value.tolist() == apart.chance.tolist()


def test_arrangements_are_those_of_relabelled_images() -> None:
    random = np.random.default_rng(5)
    x, place = random.standard_normal((len(LABELS), 4)), random.permutation(8)
    queries = np.sort(random.permutation(EVERY)[:50])
    moved = values(x, images_of(place[LABELS]), queries)
    for key, value in values(x, None, queries, place).items():
        assert value == pytest.approx(moved[key])


def test_a_class_without_another_image_has_no_precision() -> None:
    labels = np.append(LABELS[: 7 * N], 7)
    found = values(
        np.random.default_rng(6).random((len(labels), 3)), images_of(labels), np.arange(len(labels))
    )
    assert np.isnan(found[PRECISION, "leaf"]).tolist() == [False] * 7 + [True]
    assert np.isfinite(found[PRECISION, "family"]).all()
