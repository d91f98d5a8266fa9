"""Images that belong together stay together: in the halves, and when they are drawn anew."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cladescope.codes.codes import Codes
from cladescope.codes.ranking import strongest_first
from cladescope.scores.alignment import align
from cladescope.scores.halves import halve
from cladescope.scores.score import score_dictionary
from cladescope.scores.sensitivity import SensitivitySpec
from cladescope.scores.spec import ScoreSpec
from cladescope.scores.splitting import split_halves
from cladescope.taxonomy.taxonomy import taxonomy_from_parents
from cladescope.taxonomy.tree import Tree

TAXONOMY = taxonomy_from_parents(
    [*"abcdef"],
    {"r": [], "p": ["r"], "q": ["r"], "o": ["r"]}
    | {c: [p] for c, p in zip("abcdef", "ppqqoo", strict=True)},
)
SPEC = ScoreSpec(
    top_n=8,
    cutoffs=(8, 16),
    null_draws=0,
    p_draws=0,
    shuffle_draws=0,
    bootstrap_draws=3,
    sensitivity=SensitivitySpec(top_n=(8,), tau=(0.9,), rho=(0.5,), draws=0),
)


@given(st.integers(0, 99), st.integers(2, 30))
def test_no_group_is_in_both_halves(seed, n_groups):
    random = np.random.default_rng(seed)
    groups, labels = random.integers(0, n_groups, 200), random.integers(0, 5, 200)
    groups[:2] = 0, 1
    first, _ = split_halves(labels, seed, groups)
    assert not set(groups[first]) & set(groups[~first])
    assert 0 < first.sum() < 200


def test_groups_of_one_size_halve_every_class():
    # Twelve groups of one class each, four of every class: two of each in either half.
    groups = np.repeat(np.arange(12), 10)
    labels = groups % 3
    first, _ = split_halves(labels, 0, groups)
    assert [first[labels == c].sum() for c in range(3)] == [20, 20, 20]
    # Images each for itself are halved as without groups.
    alone, _ = split_halves(labels, 0, np.arange(120))
    assert [alone[labels == c].sum() for c in range(3)] == [20, 20, 20]


def test_one_group_cannot_be_split():
    with pytest.raises(ValueError, match=r"all evaluation images are of one group.*`group`"):
        split_halves(np.array([0, 1, 1]), 0, np.zeros(3, int))


def test_whole_groups_are_drawn_anew():
    # Three groups of two images; latent 0 fires on images 0, 2 and 3, latent 1 on 5.
    groups, labels = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 0, 1])
    codes = Codes(np.array([0, 2, 3, 5]), np.array([0, 0, 0, 1]), np.float32([3, 2, 1, 4]), 6, 2)
    firings = halve(strongest_first(codes, 0), labels, 2, 1, None, groups).choose
    seen = Counter()
    for seed in range(20):
        drawn = np.random.default_rng(seed).integers(3, size=3)
        times = np.bincount(drawn, minlength=3)
        new = firings.resampled(np.random.default_rng(seed))
        assert new.labels[new.image].tolist() == [0] * (times[0] + times[1]) + [1] * (
            times[1] + times[2]
        )
        assert np.bincount(new.labels).tolist() == [3, 3]
        assert Counter(new.groups.tolist()) == {g: 2 * n for g, n in enumerate(times) if n}
        # Latent 0: image 0 as often as its group, then 2 and 3.
        expected = [3.0] * times[0] + [2.0] * times[1] + [1.0] * times[1]
        assert new.activation[: new.start[1]].tolist() == expected
        assert new.activation[new.start[1] :].tolist() == [4.0] * times[2]
        assert (
            new.groups[new.image].tolist() == [0] * times[0] + [1] * 2 * times[1] + [2] * times[2]
        )
        assert len({*new.image[: new.start[1]]}) == new.start[1]
        seen[tuple(times)] += 1
    assert len(seen) > 3


def test_what_holds_in_one_group_alone_is_not_recovered():
    # Two vendors; a latent for p that only the first vendor's pictures fire, one that both do.
    labels, groups = np.tile(np.arange(6), 40), np.repeat([0, 1], 120)
    under_p = labels < 2
    dense = np.stack([under_p & (groups == 0), under_p, labels == 2, labels == 4], axis=1)
    image, latent = np.nonzero(dense)
    values = 1 + np.random.default_rng(0).random(len(image)).astype(np.float32)
    codes = Codes(image, latent, values, 240, 4)
    apart, together = (
        score_dictionary(codes, labels, TAXONOMY, SPEC, part) for part in (groups, None)
    )
    assert together.latents["status"].to_pylist()[0] == "scored"
    assert apart.latents["status"].to_pylist() == ["rare", "scored", "scored", "scored"]
    p = apart.nodes["wnid"].to_pylist().index("p")
    assert apart.nodes["n_finders"].to_pylist()[p] == 1
    assert together.nodes["n_finders"].to_pylist()[p] == 2
    # A half of one vendor has nothing to be drawn from.
    assert apart.scores["node_recovery_low"] is None
    assert together.scores["node_recovery_low"] is not None


def resamples(firings):
    random = np.random.default_rng(0)
    return [firings.resampled(random) for _ in range(100)]


def test_resamples_differ_more_where_images_belong_together():
    # A latent for p that half of the groups fire: 30 groups of eight images tell less than 240.
    labels, groups = np.tile(np.arange(6), 40), np.repeat(np.arange(30), 8)
    fires = np.random.default_rng(1).permutation(30)[groups] < 15
    image = np.flatnonzero(fires & (labels < 2))
    values = 1 + np.random.default_rng(0).random(len(image)).astype(np.float32)
    codes = Codes(image, np.zeros(len(image), int), values, 240, 1)
    ranked, tree, spread = strongest_first(codes, 0), Tree.of(TAXONOMY), []
    for part in (groups, None):
        halves = halve(ranked, labels, 6, 1, None, part)
        drawn = [replace(halves, choose=new, score=new) for new in resamples(halves.choose)]
        spread.append(np.std([align(half, tree, (8,), 0.5).best.mcc[0] for half in drawn]))
    assert spread[0] > 1.5 * spread[1]
