"""Latents on pairs of images: oracles whose wiring is known, a plain reading, and the intervals."""

import re
from itertools import product

import numpy as np
import pandas as pd
import pytest

from cladescope.names import ADDED, LEAF, REMOVED
from cladescope.planted.leaves import LEAF_WNIDS, LEAVES, OWNERS
from cladescope.planted.pairs import BY_WNID, pairs_of
from cladescope.scores.contrasts import CONTRASTS, Contrast, Contrasts, clusters_of
from cladescope.scores.matched import DRAWS, NEAREST, match
from cladescope.scores.pairs import PAIR_NODE_SCHEMA, PAIR_SCHEMA, PairScores, score_pairs
from cladescope.taxonomy.outline import classes_under
from cladescope.taxonomy.wordnet import build_taxonomy

SCENES = 3


@pytest.fixture(scope="module")
def under(root) -> dict[str, list[str]]:
    """Return the classes under each node of the planted world."""
    return classes_under(build_taxonomy(sorted(LEAF_WNIDS), root / "resources" / "nltk_data"))


class World:
    """The planted pairs without their pixels: which parts stand in each image, and which scene."""

    def __init__(self, under: dict[str, list[str]]):
        self.under = under
        ids: dict[tuple, int] = {}
        rows = []
        for number, (leaf, index) in enumerate(product(LEAVES, range(SCENES))):
            for pair in pairs_of(leaf, under, np.random.default_rng((number, 7))):
                ends = [ids.setdefault((number, drawn), len(ids)) for drawn in pair[:2]]
                rows.append((*ends, pair.node, pair.change, 0.1 + 0.01 * (index + 1) * len(pair)))
        columns = ["image", "counterpart", "node", "change", "pixel_change"]
        self.pairs = pd.DataFrame(rows, columns=columns)
        self.scene = np.array([scene for scene, _ in ids])
        self.parts = [{*BY_WNID[d.wnid].parts} - {*d.without} for _, d in ids]
        self.leaf = [d.wnid for _, d in ids]
        self.shared = {
            node: {part for part, owners in OWNERS.items() if owners == {*leaves}}
            for node, leaves in under.items()
        }

    def score(self, fires: np.ndarray, coalitions: list[list[int]]) -> PairScores:
        """Score latents, bool (n_images, n_latents), of which each node has some."""
        nodes = pd.DataFrame(
            {
                "wnid": [*self.under],
                "name": [*self.under],
                "n_leaves": [len(leaves) for leaves in self.under.values()],
                "best_latent": [ids[0] if ids else np.nan for ids in coalitions],
                "coalition": [" ".join(map(str, ids)) or None for ids in coalitions],
            }
        )
        n_latents = fires.shape[1]
        latents = pd.DataFrame(
            {"latent": range(n_latents), "status": "scored", "n_firing": fires.sum(0)}
        )
        contrasts = Contrasts.of(self.pairs)
        return score_pairs(contrasts, nodes, latents, lambda ids: fires[:, ids], seed=0)


@pytest.fixture(scope="module")
def world(under) -> World:
    return World(under)


def table(scores: PairScores, change: str, latents: str = "best", of_nodes: bool = True):
    rows = (scores.nodes if of_nodes else scores.means).to_pandas()
    rows = rows[rows["change"].eq(change) & rows["latents"].eq(latents)]
    return rows.set_index("wnid" if of_nodes else "nodes")


# Oracles.


def test_latents_wired_to_the_shared_part_follow_it_and_nothing_else(world):
    has = [[bool(parts & shared) for shared in world.shared.values()] for parts in world.parts]
    scores = world.score(np.array(has), [[j] for j in range(len(world.under))])
    drawn = [node for node, shared in world.shared.items() if shared]
    assert len(drawn) == 25
    tapa = table(scores, "shared")
    assert sorted(tapa.index) == sorted(drawn)
    np.testing.assert_allclose(tapa[["answer", "fires"]], 1, rtol=1e-12)
    for change in ("leaf", "other", "within"):
        rows = table(scores, change)
        assert (rows["flips"] == 0).all(), change
    for change in ("shared_over_leaf", "shared_over_larger"):
        np.testing.assert_allclose(table(scores, change)["answer"], 1, rtol=1e-12)
    np.testing.assert_allclose(table(scores, "across").loc[drawn, "answer"], 1, rtol=1e-12)
    means = table(scores, "shared", of_nodes=False)
    assert means.loc["all", "answer"] == means.loc["shared", "answer"] == pytest.approx(1)
    assert means.loc["all", "answer_low"] > 0.9 and means.loc["all", "n_nodes"] == 25
    # A node that shares nothing has a latent that never fires.
    assert table(scores, "leaf", of_nodes=False).loc["unshared", "fires"] == 0


def test_latents_wired_to_the_background_follow_nothing(world):
    scores = world.score(world.scene[:, None] % 2 == 0, [[0]] * len(world.under))
    for change in CONTRASTS:
        rows = table(scores, change)
        assert (rows["flips"] == 0).all() and 0 < rows["fires"].mean() < 1
        assert change == "within" or (rows["answer"] == 0).all()


def test_latents_wired_to_what_leaves_have_of_their_own(world):
    """A group of one latent for each class answers to the class, and to what nobody shares."""
    own = [{part for part in leaf.parts if OWNERS[part] == {leaf.wnid}} for leaf in LEAVES]
    fires = np.array([[bool(parts & mine) for mine in own] for parts in world.parts])
    number = {leaf.wnid: j for j, leaf in enumerate(LEAVES)}
    members = [[number[wnid] for wnid in leaves] for leaves in world.under.values()]
    scores = world.score(fires, members)
    together = {change: table(scores, change, "coalition") for change in CONTRASTS}
    np.testing.assert_allclose(together["leaf"]["answer"], 1, rtol=1e-12)
    np.testing.assert_allclose(together["shared_over_leaf"]["answer"], -1, rtol=1e-12)
    assert (together["shared"]["flips"] == 0).all()
    assert (together["within"]["flips"] == 0).all()
    # One of them: its class is one of the node's, in as many scenes as any other.
    alone = table(scores, "leaf")
    with_own = pd.Series(dict.fromkeys(world.under, 0))
    for node, leaves in world.under.items():
        with_own[node] = sum(len(BY_WNID[wnid].parts) > 1 for wnid in leaves)
    first = pd.Series({node: leaves[0] for node, leaves in world.under.items()})
    expected = [1 / with_own[v] if len(BY_WNID[first[v]].parts) > 1 else 0 for v in alone.index]
    np.testing.assert_allclose(alone["answer"], expected)


def test_latents_that_fire_at_random_have_no_answer(world):
    random = np.random.default_rng(0)
    inside, low, high, beyond = [], [], [], []
    for _ in range(15):
        fires = random.random((len(world.scene), 60)) < random.uniform(0.05, 0.5, 60)
        scores = world.score(fires, [[v] for v in range(len(world.under))])
        for change in ("shared", "leaf", "other", "across", "shared_over_leaf"):
            row = table(scores, change, of_nodes=False).loc["all"]
            inside.append(row["answer_low"] <= 0 <= row["answer_high"])
            low.append(row["answer_random_low"])
            high.append(row["answer_random_high"])
            beyond.append(row["flips"] - row["flips_random"])
    assert np.mean(inside) >= 0.9
    assert np.mean(low) < 0 < np.mean(high)
    assert abs(np.mean(beyond)) < 0.02


# The definition.


def test_equals_a_plain_reading(world):
    """With pairs of both directions, loops over pairs: means, random sets, and the margin."""
    pairs = world.pairs.copy()
    turned = pairs["change"].eq(ADDED) & (pairs.index % 3 == 0)
    pairs.loc[turned, ["image", "counterpart"]] = pairs.loc[
        turned, ["counterpart", "image"]
    ].to_numpy()
    pairs.loc[turned, "change"] = REMOVED
    random = np.random.default_rng(1)
    fires = random.random((len(world.scene), 60)) < 0.3
    other = World.__new__(World)
    other.__dict__ = {**world.__dict__, "pairs": pairs}
    coalitions = [random.choice(60, 3, replace=False).tolist() for _ in world.under]
    scores = other.score(fires, coalitions)
    tapa = table(scores, "shared", "coalition")
    cluster = clusters_of(pairs)
    by_cluster: dict[int, float] = {}
    means, further = [], 0.0
    counted = [node for node in world.under if world.shared[node]]
    for node in counted:
        ids = coalitions[[*world.under].index(node)]
        values: dict[str, list[float]] = {ADDED: [], REMOVED: []}
        rows = pairs[pairs["node"].eq(node) & pairs["change"].isin(values)]
        for row in rows.itertuples():
            after, before = (fires[i, ids].any() for i in (row.counterpart, row.image))
            values[row.change].append(float(after) - float(before))
        known = [v for v in values.values() if v]
        signs = {ADDED: 1, REMOVED: -1}
        m = sum(signs[c] * np.mean(v) for c, v in values.items() if v) / len(known)
        assert tapa.loc[node, "answer"] == pytest.approx(m)
        means.append(m)
        n = len({cluster[i] for i in rows.index})
        for row in rows.itertuples():
            after, before = (fires[i, ids].any() for i in (row.counterpart, row.image))
            d = signs[row.change] * (float(after) - float(before))
            w = 1 / (len(known) * len(values[row.change]))
            g = cluster[row.Index]
            u = w * (d - m) * np.sqrt(n / (n - 1)) / len(counted)
            by_cluster[g] = by_cluster.get(g, 0.0) + u
        further += (1 + 2 * m**2) / (len(counted) * (n + 2)) ** 2
    variance = sum(u**2 for u in by_cluster.values()) + further
    row = table(scores, "shared", "coalition", of_nodes=False).loc["all"]
    assert row["answer"] == pytest.approx(np.mean(means))
    assert row["answer_high"] - row["answer"] == pytest.approx(1.96 * np.sqrt(variance))


def test_both_directions_of_a_pair_count_once_in_the_answer():
    """An edit that fires the latent whatever it does: its artefact is taken away, not doubled."""
    rows = [(0, 1, "v", ADDED, 0.1), (2, 3, "v", REMOVED, 0.1)]
    pairs = pd.DataFrame(rows, columns=["image", "counterpart", "node", "change", "pixel_change"])
    artefact = Contrasts.of(pairs).by_name["shared"]
    fires = np.array([0, 1, 0, 1.0])
    d = fires[artefact.having] - fires[artefact.lacking]
    assert artefact.mean(d, 1).tolist() == [0]
    follows = np.array([0, 1, 1, 0.0])
    d = follows[artefact.having] - follows[artefact.lacking]
    assert artefact.mean(d, 1).tolist() == [1]


def test_parts_are_compared_within_the_image_that_has_both():
    """The leaf's part is the larger change in image 2 and the smaller one in image 5."""
    rows = [
        (0, 2, "v", ADDED, 0.1),
        (1, 2, "v", LEAF, 0.2),
        (5, 3, "v", REMOVED, 0.3),
        (4, 5, "v", LEAF, 0.2),
        (6, 7, "v", LEAF, 0.9),
    ]
    pairs = pd.DataFrame(rows, columns=["image", "counterpart", "node", "change", "pixel_change"])
    found = Contrasts.of(pairs).by_name
    # Without its own part an image has the shared one.
    over = found["shared_over_leaf"]
    assert over.having.tolist() == [1, 4] and over.lacking.tolist() == [0, 3]
    larger = found["shared_over_larger"]
    assert larger.having.tolist() == [1] and larger.pixel_change.tolist() == pytest.approx([-0.1])


def test_random_latents_are_others_of_like_rate():
    nodes = pd.DataFrame({"best_latent": [0, np.nan], "coalition": ["0 1", None]})
    latents = pd.DataFrame(
        {"latent": range(40), "status": ["rare", *["scored"] * 39], "n_firing": range(100, 140)}
    )
    first, empty = match(nodes, latents, seed=0)
    assert first["best"].random.shape == (DRAWS, 1) and first["coalition"].random.shape == (
        DRAWS,
        2,
    )
    assert {*np.unique(first["best"].random)} == {*range(2, 2 + NEAREST)}
    both = first["coalition"].random
    assert (both[:, 0] != both[:, 1]).all() and both.min() == 2
    assert len(empty["best"].latents) == 0 and empty["best"].random.shape == (DRAWS, 0)
    # Too few others: no null rather than a wrong one.
    assert match(nodes, latents[:2], seed=0)[0]["best"].random.shape == (0, 1)


def test_pairs_of_a_node_that_is_none_are_refused(world):
    contrasts = Contrasts.of(world.pairs.assign(node="n00"))
    nodes = pd.DataFrame({"wnid": ["n01"]})
    with pytest.raises(ValueError, match="n00"):
        score_pairs(contrasts, nodes, pd.DataFrame(), lambda ids: ids, 0)


# Intervals.


@pytest.mark.parametrize(
    ("n_nodes", "n_scenes", "up", "down"),
    [
        (1, 8, 0.5, 0.05),
        (1, 16, 0.9, 0.0),
        (1, 16, 0.05, 0.02),
        (20, 8, 0.95, 0.0),
        (20, 8, 0.3, 0.1),
        (20, 16, 0.02, 0.02),
    ],
)
def test_intervals_cover(n_nodes, n_scenes, up, down):
    """Two nodes in each scene, one within the other: their pairs agree more often than not."""
    random = np.random.default_rng(0)
    scenes = np.arange(n_nodes * n_scenes)
    node = np.concatenate([scenes // n_scenes, n_nodes + scenes // n_scenes])
    cluster = np.concatenate([scenes, scenes])
    n_pairs = len(node)
    nowhere, weight = np.zeros(n_pairs, int), np.full(n_pairs, 1 / n_scenes)
    contrast = Contrast(node, nowhere, nowhere, cluster, weight, weight)
    every = np.stack([np.ones(2 * n_nodes, bool), np.arange(2 * n_nodes) == 0])
    # Nodes differ, and stay the same from one study to the next.
    ups = np.clip(up + 0.05 * random.standard_normal(2 * n_nodes), 0, 1 - down)
    truth = ups - down
    inside = []
    for _ in range(1000):
        u = np.where(random.random(n_pairs) < 0.7, np.tile(random.random(len(scenes)), 2), 2)
        u = np.where(u > 1, random.random(n_pairs), u)
        d = (u < ups[node]).astype(float) - (u > 1 - down)
        means = contrast.mean(d, 2 * n_nodes)
        margins = contrast.margins(d, every)
        inside.append(
            [abs(means.mean() - truth.mean()) <= margins[0], abs(means[0] - truth[0]) <= margins[1]]
        )
    assert (np.mean(inside, axis=0) >= 0.93).all(), np.mean(inside, axis=0)


def test_columns_are_those_of_the_documentation(root):
    section = (root / "docs" / "causes.md").read_text().split("\n### Numbers")[1].split("\n### ")[0]
    rows = re.findall(r"^\| `([^|]*)` \|", section, flags=re.MULTILINE)
    named = [name for row in rows for name in row.split("`, `")]
    assert len(named) == len({*named})
    assert {*named} == {*PAIR_SCHEMA.names, *PAIR_NODE_SCHEMA.names}
