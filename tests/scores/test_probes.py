"""Probes on activations whose groups are known."""

import numpy as np
import pandas as pd
import pytest

from cladescope.codes.linear import nearest, unit_rows, vote
from cladescope.scores.probes import ProbeSpec, Split, class_levels, penalty_images, probe_layer
from cladescope.taxonomy.taxonomy import taxonomy_from_parents
from cladescope.taxonomy.tree import Tree

#       r            Eight classes: a b | c d below p, below s; e f below q, g h below t: both in u.
#    s     u
#   p o   q t
#  ab cd ef  gh
PARENTS = {"r": [], "s": ["r"], "u": ["r"], "p": ["s"], "o": ["s"], "q": ["u"], "t": ["u"]}
PARENTS |= {c: [p] for c, p in zip("abcdefgh", "ppooqqtt", strict=True)}
TAXONOMY = taxonomy_from_parents([*"abcdefgh"], PARENTS)


def test_levels_group_the_classes() -> None:
    levels = class_levels(Tree.of(TAXONOMY))
    assert len(set(levels["leaf"])) == 8
    for level, size in (("family", 2), ("domain", 4)):
        groups = levels[level].reshape(-1, size)
        assert (groups == groups[:, :1]).all()
        assert len(set(groups[:, 0])) == 8 // size


def test_neighbours_by_a_slow_reference() -> None:
    random = np.random.default_rng(0)
    train, x = random.standard_normal((50, 6)), random.standard_normal((20, 6))
    found, _ = nearest(unit_rows(x), unit_rows(train), 5)
    unit = [v / np.linalg.norm(v) for v in train]
    for row, chosen in zip(x, found, strict=True):
        assert chosen.tolist() == np.argsort([-(row @ u) for u in unit])[:5].tolist()
    assert vote(np.array([[1, 2, 2], [3, 1, 2], [5, 4, 4]])).tolist() == [2, 3, 4]


def test_probes_find_what_is_there_and_no_more(tmp_path) -> None:
    # The domain and the family are written into the activations, the class within it is not.
    random = np.random.default_rng(1)

    def split(n: int) -> Split:
        labels = np.arange(n) % 8
        x = random.standard_normal((n, 12))
        x[:, 0] += 8 * (labels // 4)
        x[:, 1] += 8 * (labels // 2 % 2)
        return Split(x, labels)

    probe_layer(
        split(800),
        split(400),
        TAXONOMY,
        ProbeSpec(),
        tmp_path / "l.parquet",
        tmp_path / "n.parquet",
    )
    levels = pd.read_parquet(tmp_path / "l.parquet").set_index(["level", "probe"])
    assert levels["chance"].tolist() == [1 / 8, 1 / 8, 1 / 4, 1 / 4, 1 / 2, 1 / 2]
    for probe in ("linear", "neighbours"):
        assert levels.loc[("family", probe), "accuracy"] > 0.97
        assert levels.loc[("domain", probe), "accuracy"] > 0.97
        assert levels.loc[("leaf", probe), "accuracy"] == pytest.approx(0.5, abs=0.12)
    nodes = pd.read_parquet(tmp_path / "n.parquet").set_index("wnid")
    assert set(nodes.index) == {"s", "u", "p", "o", "q", "t"}
    assert (nodes["probe_mcc"] > 0.9).all()
    assert (nodes["probe_auroc"] > 0.97).all()
    # The one class that is seen of a family tells it from the others but for chance.
    assert (nodes["probe_held_out"] > 0.7).all()
    assert nodes["probe_held_out_null_permuted"].abs().max() < 0.4


def test_nothing_is_found_in_noise(tmp_path) -> None:
    random = np.random.default_rng(2)
    train, test = (
        Split(random.standard_normal((n, 10)), random.integers(0, 8, n)) for n in (600, 600)
    )
    probe_layer(train, test, TAXONOMY, ProbeSpec(), tmp_path / "l.parquet", tmp_path / "n.parquet")
    levels = pd.read_parquet(tmp_path / "l.parquet")
    # Four standard deviations of a share of 600 images.
    assert (levels["accuracy"] < levels["chance"] + 4 * 0.5 / np.sqrt(600)).all()
    nodes = pd.read_parquet(tmp_path / "n.parquet")
    assert nodes["probe_auroc"].between(0.4, 0.6).all()
    assert nodes["probe_held_out"].between(-0.15, 0.15).all()


def test_classes_without_a_hierarchy_are_told_apart_but_not_held_out(tmp_path) -> None:
    random = np.random.default_rng(3)
    labels = np.arange(800) % 8
    train, test = (
        Split(8 * np.eye(8)[labels] + random.standard_normal((800, 8)), labels) for _ in range(2)
    )
    probe_layer(train, test, TAXONOMY, ProbeSpec(), tmp_path / "l.parquet", tmp_path / "n.parquet")
    nodes = pd.read_parquet(tmp_path / "n.parquet")
    assert (nodes["probe_mcc"] > 0.97).all()
    assert (nodes["probe_held_out"] < 0.05).all()


def test_a_penalty_is_chosen_on_groups_that_were_not_learnt() -> None:
    random = np.random.default_rng(0)
    groups = random.integers(0, 10, 200)
    held = penalty_images(Split(np.zeros((200, 1)), np.zeros(200, int), groups), random)
    # A fifth of ten groups, whole.
    assert len(set(groups[held])) == 2
    assert not set(groups[held]) & set(groups[~held])


def test_equal_scores_are_a_tie_whatever_the_order_of_the_images(tmp_path) -> None:
    # Half of the images of the domain u differ from the others; all else is equal.
    labels = np.repeat(np.arange(8), 20)
    x = np.zeros((160, 3))
    x[(labels >= 4) & (np.arange(160) % 2 == 0)] = 1
    split = Split(x, labels)
    probe_layer(split, split, TAXONOMY, ProbeSpec(), tmp_path / "l.parquet", tmp_path / "n.parquet")
    nodes = pd.read_parquet(tmp_path / "n.parquet").set_index("wnid")
    # 40 of the 80 images of u beat all 80 others, 40 tie with them.
    assert nodes.loc["u", "probe_auroc"] == 0.75
    # 40 above the cut, all of them in u: 160*40 - 40*80 = 3200 / sqrt(40*120*80*80).
    assert nodes.loc["u", "probe_mcc"] == pytest.approx(3200 / np.sqrt(40 * 120 * 80 * 80))
