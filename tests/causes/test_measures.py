"""The measures of ablation, against loops over trials and images that follow the definitions."""

from itertools import product

import numpy as np
import pytest
import torch

from cladescope.causes.kinds import ADDED, ADDING, CHOSEN, REARRANGED, TAKING
from cladescope.causes.measures import Totals, evenness, measure
from cladescope.causes.sets import NONE
from cladescope.causes.trials import NOTHING, Trials, ask
from cladescope.taxonomy.taxonomy import taxonomy_from_parents
from cladescope.taxonomy.tree import Tree

KINDS = (*TAKING, *ADDING)
PARENTS = {
    "r": [],
    **{"big": ["r"], "p": ["big"], "q": ["big"], "s": ["r"]},
    **{"a": ["p"], "b": ["p"], "c": ["q"], "d": ["q"], "e": ["big"], "f": ["s"], "g": ["s"]},
}
TAXONOMY = taxonomy_from_parents([*"abcdefg"], PARENTS)
TREE = Tree.of(TAXONOMY)
LABELS = np.tile(np.arange(7), 5)
PLACES = (np.arange(7), np.array([3, 5, 0, 1, 6, 2, 4]), np.array([1, 0, 2, 6, 5, 4, 3]))
"""As they are, and in two permutations."""
WIDTH = 12
UNDER = {
    "p": "ab",
    "q": "cd",
    "s": "fg",
    "big": "abcde",
    **{leaf: leaf for leaf in "abcdefg"},
}


@pytest.fixture
def random():
    return np.random.default_rng(0)


def trials_of(random):
    rows = [
        (KINDS.index(kind), draw, node, size)
        for kind, node, size in product(KINDS, range(len(TREE.internal)), (1, 2))
        for draw in ((1, 2) if kind in REARRANGED else (0,))
    ]
    kind, draw, node, size = np.array(rows).T
    sources = np.full((len(rows), 5), NONE)
    for t, n in enumerate(size):
        sources[t, :n] = random.permutation(WIDTH)[:n]
    directions = np.where(sources == NONE, NONE, random.permutation(WIDTH)[sources])
    adding = np.isin(kind, [KINDS.index(kind) for kind in ADDING])
    amounts = np.where(adding[:, None], random.random(sources.shape), np.nan)
    return Trials(kind, draw, node, size, sources, directions, amounts)


def outputs(questions, random):
    return random.dirichlet(np.ones(7), len(questions.image))


def taken_in(trials, fires, p_of, batch=7):
    inside = TREE.covers[LABELS][:, TREE.internal]
    questions = ask(trials, fires, inside, seed=0)
    totals = Totals(trials, questions, TREE, LABELS, PLACES[1:])
    p = p_of(questions)
    for start in range(0, len(p), batch):
        runs = np.arange(start, min(start + batch, len(p)))
        totals.add(runs, torch.from_numpy(p[runs]), np.full(len(runs), 0.25))
    return questions, totals, p


def counterpart(node, label):
    """Node of about the node's size, above the class, with no class in common."""
    mine = set(UNDER[node])
    if label in mine:
        return node
    above = [n for n, classes in UNDER.items() if label in classes and not mine & set(classes)]
    return min(above, key=lambda n: (abs(len(UNDER[n]) - len(mine)), len(UNDER[n])))


def beside(node, label):
    parent = {"p": "big", "q": "big"}.get(node)
    outside = label not in UNDER[node]
    return outside and (parent is None or label in UNDER[parent])


def plain(trials, t, questions, p):
    """All measures of one trial, image by image."""
    node = TAXONOMY.nodes[TREE.node[TREE.internal[trials.node[t]]]]
    place = PLACES[trials.draw[t]]
    names = [TAXONOMY.leaves[place[c]] for c in range(7)]

    def total(q, n):
        return sum(q[c] for c in range(7) if names[c] in UNDER[n])

    asked = {
        questions.image[r]: r for q, r in zip(questions.trial, questions.run, strict=True) if q == t
    }
    before = {i: p[r] for r, i in enumerate(questions.image) if questions.set[r] == 0}
    drops, within, p_in, by_class, fired = {}, [], [], {}, {"in": [], "out": []}
    for image, label in enumerate(LABELS):
        name = names[label]
        old = before[image]
        new = p[asked[image]] if image in asked else old
        own = counterpart(node, name)
        kind = "in" if own == node else "siblings" if beside(node, name) else "elsewhere"
        drops.setdefault(kind, []).append(total(old, own) - total(new, own))
        fired["in" if own == node else "out"].append(image in asked)
        if own == node:
            by_class.setdefault(name, []).append(drops[kind][-1])
            p_in.append(total(old, node))
            members = [c for c in range(7) if names[c] in UNDER[node]]
            a, b = (q[members] / q[members].sum() for q in (old, new))
            within.append((a * np.log(a / b)).sum())
    means = {kind: np.mean(values) for kind, values in drops.items()}
    losses = np.array([max(np.mean(values), 0) for values in by_class.values()])
    shares = losses / losses.sum() if losses.any() else np.array([])
    others = [means[kind] for kind in ("siblings", "elsewhere") if kind in means]
    return {
        "delta_in": means["in"],
        "delta_siblings": means["siblings"],
        "delta_elsewhere": means.get("elsewhere"),
        "selectivity": means["in"] - max(others),
        "within": np.mean(within),
        "evenness": 1 / np.square(shares).sum() / len(shares) if len(shares) else None,
        "p_in": np.mean(p_in),
        "removed": 0.25 if any(map(any, fired.values())) else None,
        "fires_in": np.mean(fired["in"]),
        "fires_outside": np.mean(fired["out"]),
    }


def test_measures_are_those_of_the_definitions(random):
    trials = trials_of(random)
    fires = random.random((len(LABELS), WIDTH)) < 0.4
    questions, totals, p = taken_in(trials, fires, lambda q: outputs(q, random))
    rows = measure(totals, TAXONOMY, np.ones(7, bool)).to_pylist()
    taking = np.flatnonzero(trials.is_kind(*TAKING))
    assert len(rows) == len(taking)
    for t, row in zip(taking, rows, strict=True):
        expected = plain(trials, t, questions, p)
        assert row["kind"] == KINDS[trials.kind[t]]
        assert row["draw"] == (trials.draw[t] or None)
        for name, value in expected.items():
            assert row[name] == (None if value is None else pytest.approx(value, abs=1e-12)), name


def test_adding_is_measured_on_images_outside_on_which_nothing_fires(random):
    trials = trials_of(random)
    fires = random.random((len(LABELS), WIDTH)) < 0.2
    questions, totals, p = taken_in(trials, fires, lambda q: outputs(q, random))
    rows = measure(totals, TAXONOMY, np.ones(7, bool)).to_pylist()
    for row in (row for row in rows if row["kind"] == CHOSEN):
        (t,) = np.flatnonzero(
            trials.is_kind(ADDED)
            & (trials.size == row["n_latents"])
            & (TREE.node[TREE.internal][trials.node] == TAXONOMY.nodes.index(row["wnid"]))
        )
        mine = [c for c, name in enumerate(TAXONOMY.leaves) if name in UNDER[row["name"]]]
        runs = questions.run[questions.trial == t]
        images = questions.image[runs]
        assert not np.isin(LABELS[images], mine).any() and len(images)
        sources = trials.sources[t][trials.sources[t] != NONE]
        assert not fires[images][:, sources].any()
        first = np.searchsorted(questions.image, images)
        rises = p[runs][:, mine].sum(1) - p[first][:, mine].sum(1)
        assert row["steered"] == pytest.approx(rises.mean(), abs=1e-12)


def test_what_is_the_same_is_run_once_and_what_nothing_fires_on_not_at_all(random):
    trials = trials_of(random)
    fires = random.random((len(LABELS), WIDTH)) < 0.4
    inside = TREE.covers[LABELS][:, TREE.internal]
    questions = ask(trials, fires, inside, seed=0)
    pairs = set(zip(questions.image.tolist(), questions.set.tolist(), strict=True))
    assert len(pairs) == len(questions.image) and questions.sets[0] == NOTHING
    for question, run in zip(questions.trial, questions.run, strict=True):
        what = questions.sets[questions.set[run]]
        on = {s for s in trials.sources[question] if s != NONE and fires[questions.image[run], s]}
        if not trials.is_kind(*ADDING)[question]:
            assert {source for source, _, _ in what.members} == on and on
    nothing = ask(trials, np.zeros_like(fires), inside, seed=0)
    assert not trials.is_kind(*TAKING)[nothing.trial].any()


def test_without_latents_nothing_changes_to_the_last_bit(random):
    trials = trials_of(random)
    trials.sources[:], trials.directions[:] = NONE, NONE
    fires = np.ones((len(LABELS), WIDTH), bool)
    _, totals, _ = taken_in(trials, fires, lambda q: outputs(q, random))
    for row in measure(totals, TAXONOMY, np.ones(7, bool)).to_pylist():
        changes = ("delta_in", "delta_siblings", "selectivity", "within")
        assert [row[name] for name in changes] == [0, 0, 0, 0]
        assert row["evenness"] is None and row["fires_in"] == 0


def test_evenness_of_one_class_and_of_all():
    images = np.array([10, 10, 10, 10])
    assert evenness(np.array([5.0, 0, 0, -3]), images) == 0.25
    assert evenness(np.array([2.0, 2, 2, 2]), images) == 1
    assert np.isnan(evenness(np.zeros(4), images))


def test_a_class_without_an_output_counts_for_no_node(random):
    trials = trials_of(random)
    fires = random.random((len(LABELS), WIDTH)) < 0.4
    _, totals, _ = taken_in(trials, fires, lambda q: outputs(q, random))
    named = np.array([name not in "ab" for name in TAXONOMY.leaves])
    rows = measure(totals, TAXONOMY, named).to_pylist()
    assert {row["name"] for row in rows} == {"q", "s", "big"}
