"""Counts of classes between cut-offs, and sums over pairs of images, against plain loops."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from cladescope.scores import pair_null
from cladescope.scores.counts import count_between, count_first
from cladescope.scores.halves import Firings

CLASSES, IMAGES = 7, 40


@pytest.fixture
def firings() -> Firings:
    """Latents that fire on 0 to 40 images, at four levels of activation."""
    random = np.random.default_rng(0)
    images = [random.permutation(IMAGES)[:n] for n in (0, 1, 8, 9, 40, 23)]
    activation = [np.sort(random.integers(1, 5, len(i)))[::-1] for i in images]
    return Firings(
        start=np.cumsum([0, *map(len, images)]),
        image=np.concatenate(images).astype(np.int32),
        activation=np.concatenate(activation).astype(np.float32),
        labels=random.integers(CLASSES, size=IMAGES).astype(np.int32),
        n_classes=CLASSES,
    )


def parts_of(firings: Firings, j: int, cutoffs, tied: bool) -> list[tuple[int, Counter]]:
    """The ends of a latent's parts and the classes in each, one image after the other."""
    own = slice(firings.start[j], firings.start[j + 1])
    labels, z = firings.labels[firings.image[own]].tolist(), firings.activation[own].tolist()
    ends = {r for r in cutoffs if r < len(z)}
    if tied:
        ends = {next((i for i in range(r, len(z)) if z[i] != z[r - 1]), len(z)) for r in ends}
    ends = sorted({*ends, len(z)} - {0})
    return [(end, Counter(labels[begin:end])) for begin, end in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cutoffs", [(8,), (2, 8, 9, 16), (1, 100)])
def test_counts_between_cutoffs(firings, cutoffs, tied) -> None:
    activation = firings.activation if tied else None
    counts = count_between(
        firings.start, firings.image, firings.labels, CLASSES, cutoffs, activation
    )
    n_parts = len(cutoffs) + 1
    for j in range(len(firings.start) - 1):
        found = []
        for part in range(n_parts):
            row = slice(*counts.start[j * n_parts + part : j * n_parts + part + 2])
            classes = dict(
                zip(counts.label[row].tolist(), counts.images[row].tolist(), strict=True)
            )
            if counts.end[j, part]:
                found.append((counts.end[j, part], classes))
            else:
                assert not classes
        assert found == parts_of(firings, j, cutoffs, tied)


def test_counts_of_moved_classes_are_those_of_moved_images(firings) -> None:
    permutation = np.random.default_rng(1).permutation(CLASSES)
    moved = firings.permuted(permutation).permuted(permutation)
    again = firings.relabelled(permutation[permutation[firings.labels]])
    assert np.array_equal(moved.labels, again.labels)
    for found, expected in (
        (moved.class_counts(8), again.class_counts(8)),
        (moved.cut_counts((8, 16)), again.cut_counts((8, 16))),
    ):
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    back = moved.relabelled(firings.labels)
    assert np.array_equal(back.class_counts().label, firings.class_counts().label)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("table_bytes", [1, 2**25])
def test_sums_over_pairs_in_blocks_and_threads(firings, threads, table_bytes, monkeypatch) -> None:
    monkeypatch.setattr(pair_null, "TABLE_BYTES", table_bytes)
    random = np.random.default_rng(2)
    heights = np.triu(random.integers(1, 30, (CLASSES, CLASSES)), 1)
    heights = (heights + heights.T).astype(np.uint8)
    places = np.array([random.permutation(CLASSES) for _ in range(5)], np.int32)
    top = count_first(firings.start, firings.image, firings.labels, CLASSES, limit=8)
    found = pair_null.pair_sums(top, heights, places, threads)
    for draw, place in enumerate(places):
        for j in range(len(firings.start) - 1):
            images = firings.image[firings.start[j] : firings.start[j + 1]][:8]
            classes = place[firings.labels[images]].tolist()
            expected = sum(int(heights[a, b]) for a, b in combinations(classes, 2) if a != b)
            assert found[draw, j] == expected
