"""Few shots and transfer: codes whose scores are known, and a slow reference."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from cladescope import uses
from cladescope.scores.held_out import Folds
from cladescope.scores.probes import class_levels
from cladescope.scores.splitting import places_in_group
from cladescope.uses.few_shots import _STREAM, Shots, few_shots, transfer
from families import TAXONOMY, TREE, images_of, one_hot

LABELS = np.repeat(np.arange(8), 24)
SHOTS = Shots((1, 4, 12), 6, seed=0)
FAMILY, DOMAIN = LABELS // 2, LABELS // 4
NODES = [TAXONOMY.nodes[v] for v in TREE.node[TREE.internal]]


def shot(rows, level: str, n: int, labels=LABELS, shots=SHOTS) -> np.ndarray:
    """Recall of each group in each draw."""
    found = few_shots(rows, images_of(labels), shots)
    return np.array([part.value for part in found if (part.level, part.n) == (level, n)])


def told(rows, n: int, labels=LABELS, shots=SHOTS) -> dict[str, np.ndarray]:
    """AUROC of each node in each draw."""
    found = transfer(rows, images_of(labels), shots)
    return dict(zip(NODES, np.array([part.value for part in found if part.n == n]).T, strict=True))


def test_a_code_of_each_class_tells_leaves_and_the_families_that_it_has_seen() -> None:
    rows = one_hot(LABELS, np.random.default_rng(0).random(len(LABELS)) + 0.1)
    assert (shot(rows, "leaf", 1) == 1).all() and (shot(rows, "leaf", 12) == 1).all()
    # Of a family one class is seen; images of the other are as near to all four means.
    assert shot(rows, "family", 1) == pytest.approx((1 + 1 / 4) / 2)
    assert shot(rows, "domain", 1) == pytest.approx((1 + 3 / 2) / 4)
    # Classes that are not learnt from have nothing in common with those that are.
    for accuracy in told(rows, 12).values():
        assert (accuracy == 0.5).all()


def test_a_code_of_each_family_transfers_to_its_other_class() -> None:
    found, folds = told(one_hot(FAMILY), 1), Folds.of(TREE, SHOTS.draws, SHOTS.seed)
    assert all((found[node] == 1).all() for node in "poqt")
    for v in (NODES.index("s"), NODES.index("u")):
        for draw in range(SHOTS.draws):
            seen, member = folds.seen_classes(v)[:, draw], TREE.covers[:, TREE.internal[v]]
            # Classes of a family that is seen are on their side, others in between.
            score = [(np.where(member, 1, -1)[c] * seen[[c, c ^ 1]].any()) for c in range(8)]
            rest = [np.array(score)[~seen & part] for part in (member, ~member)]
            order = np.sign(rest[0][:, None] - rest[1])
            assert found[NODES[v]][draw] == pytest.approx((order.mean() + 1) / 2)
    assert (shot(one_hot(FAMILY), "family", 1) == 1).all()
    # Which of two classes it is cannot be told.
    assert (shot(one_hot(FAMILY), "leaf", 4) == 0.5).all()


@pytest.mark.parametrize("rows", [np.ones((len(LABELS), 2)), csr_array((len(LABELS), 3))])
def test_codes_that_are_all_the_same_get_chance(rows) -> None:
    for part in few_shots(rows, images_of(LABELS), SHOTS):
        assert part.value.tolist() == part.chance.tolist()
        assert (part.chance == {"leaf": 1 / 8, "family": 1 / 4, "domain": 1 / 2}[part.level]).all()
    for part in transfer(rows, images_of(LABELS), SHOTS):
        assert (part.value == 0.5).all() and (part.chance == 0.5).all()


def test_random_codes_get_chance() -> None:
    rows = np.random.default_rng(1).standard_normal((len(LABELS), 30))
    shots = Shots((12,), 20, seed=0)
    for level, chance in (("leaf", 1 / 8), ("family", 1 / 4), ("domain", 1 / 2)):
        # 96 test images serve all draws.
        margin = 4 * np.sqrt(chance * (1 - chance) / 96)
        assert shot(rows, level, 12, shots=shots).mean() == pytest.approx(chance, abs=margin)
    # In some draws no class outside of a domain is learnt from.
    worlds = [np.random.default_rng(seed).standard_normal(rows.shape) for seed in range(40)]
    found = [np.nanmean([*told(world, 12, shots=SHOTS).values()]) for world in worlds]
    assert np.mean(found) == pytest.approx(0.5, abs=4 * np.std(found) / np.sqrt(len(found)))
    assert np.std(found) < 0.1


def test_what_classes_share_at_random_transfers_to_none() -> None:
    """Codes of families, leaves permuted: over all draws of a node's classes the mean is a half."""
    random, means = np.random.default_rng(2), []
    rows = one_hot(FAMILY)
    for _ in range(200):
        place = random.permutation(8)
        found = told(rows, 1, place[LABELS], Shots((1,), 1, seed=int(random.integers(1000))))
        means.append(np.nanmean([*found.values()]))
    assert np.mean(means) == pytest.approx(0.5, abs=4 * np.std(means) / np.sqrt(len(means)))
    assert np.std(means) > 0.05


def test_transfer_against_a_slow_reference() -> None:
    random = np.random.default_rng(3)
    x = random.standard_normal((len(LABELS), 5)) + 2 * random.standard_normal((8, 5))[LABELS]
    images, shots = images_of(LABELS), Shots((4,), 3, seed=7)
    found = told(x, 4, shots=shots)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    folds = Folds.of(TREE, 3, 7)
    for draw in range(3):
        learnt = np.where(images.learnt, LABELS, -1)
        place = places_in_group(learnt, np.random.default_rng((7, _STREAM, draw)))
        mean = [unit[(c == LABELS) & images.learnt & (place < 4)].mean(0) for c in range(8)]
        for v, node in enumerate(TREE.internal):
            seen, member = folds.seen_classes(v)[:, draw], TREE.covers[:, node]
            inside = np.mean([mean[c] for c in range(8) if seen[c] and member[c]], axis=0)
            outside = np.mean([mean[c] for c in range(8) if seen[c] and not member[c]], axis=0)
            rest = images.tested & ~seen[LABELS]
            score = [unit[rest & (member[LABELS] == side)] @ (inside - outside) for side in (1, 0)]
            wins = np.mean([a > b for a in score[0] for b in score[1]])
            assert found[NODES[v]][draw] == pytest.approx(wins)


def test_few_shots_against_a_slow_reference() -> None:
    random = np.random.default_rng(4)
    x = random.standard_normal((len(LABELS), 5)) + random.standard_normal((8, 5))[LABELS]
    images, found = images_of(LABELS), shot(x, "family", 4)
    families = class_levels(TREE)["family"][LABELS]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    for draw in range(SHOTS.draws):
        learnt = np.where(images.learnt, families, -1)
        place = places_in_group(learnt, np.random.default_rng((SHOTS.seed, _STREAM, draw)))
        means = [unit[(f == families) & images.learnt & (place < 4)].mean(0) for f in range(4)]
        for family in range(4):
            tested = unit[images.tested & (family == families)]
            guess = [np.argmax([t @ m / np.linalg.norm(m) for m in means]) for t in tested]
            assert found[draw, family] == pytest.approx(np.mean(np.array(guess) == family))


def test_neither_rotation_nor_storage_matters() -> None:
    random = np.random.default_rng(5)
    z = random.integers(0, 3, (len(LABELS), 5)) * 0.1
    rotation = np.linalg.qr(random.standard_normal((5, 5)))[0]
    for measure in (few_shots, transfer):
        kinds = [
            measure(rows, images_of(LABELS), SHOTS) for rows in (csr_array(z), z, z @ rotation)
        ]
        for sparse, dense, rotated in zip(*kinds, strict=True):
            assert dense.value == pytest.approx(sparse.value)
            assert rotated.value == pytest.approx(sparse.value)


def test_blocks_do_not_matter(monkeypatch) -> None:
    rows = np.random.default_rng(8).standard_normal((len(LABELS), 5))
    for measure in (few_shots, transfer):
        monkeypatch.undo()
        whole = [part.value for part in measure(rows, images_of(LABELS), SHOTS)]
        monkeypatch.setattr(uses.few_shots, "BLOCK_IMAGES", 7)
        parts = [part.value for part in measure(rows, images_of(LABELS), SHOTS)]
        assert np.concatenate(parts) == pytest.approx(np.concatenate(whole), nan_ok=True)


def test_without_enough_examples_there_is_no_score() -> None:
    # One class has four images, so that there are two in either half.
    labels = np.append(LABELS[:-24], [7] * 4)
    rows = one_hot(labels)
    assert np.isfinite(shot(rows, "leaf", 1, labels)).all()
    assert np.isnan(shot(rows, "leaf", 4, labels)).all()
    assert np.isfinite(shot(rows, "family", 4, labels)).all()
    assert np.isnan([*told(rows, 4, labels).values()]).all()
    # A class without images is left out.
    labels = np.repeat(np.arange(7), 24)
    found = shot(one_hot(labels), "leaf", 4, labels)
    assert np.isnan(found[:, 7]).all() and (found[:, :7] == 1).all()
    assert np.isnan(told(one_hot(labels), 4, labels)["t"]).all()


def test_more_examples_hold_the_fewer() -> None:
    place = places_in_group(LABELS, np.random.default_rng(6))
    for c in range(8):
        assert sorted(place[c == LABELS]) == [*range(24)]
    assert (places_in_group(np.array([-1, 0, -1]), np.random.default_rng(0)) == [-1, 0, -1]).all()
