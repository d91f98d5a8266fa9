"""What the atlas shows of pairs of images and of ablation, against plain readings of the same."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas_study import (
    LAYERS,
    dictionary_of,
    make_atlas,
    make_taxonomy,
    study_pairs,
    write_ablation_table,
)
from cladescope.atlas.causes import PairTests, ablation_chunk, pair_examples
from cladescope.atlas.chunks import read_chunk
from cladescope.atlas.wire import (
    ABLATION_KINDS,
    ABLATION_MEASURES,
    PAIR_CHANGES,
    PAIR_COUNTS,
    PAIR_MEASURES,
    PAIRED,
)
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.names import ADDED, LEAF, REMOVED
from cladescope.scores.contrasts import Contrasts
from cladescope.taxonomy.tree import Tree

SHOWN = f"trained/cls/L{LAYERS[-1]}/topk/w20_k4_s0"
NONE = -1


@pytest.fixture(scope="module")
def atlas(tmp_path_factory) -> Path:
    return make_atlas(tmp_path_factory.mktemp("study"))


def wired(fires: dict[int, list[float]], n_images: int) -> tuple[Dictionary, list[np.ndarray]]:
    """Return a dictionary of one dimension a latent, and the activations that fire it so."""
    x = np.zeros((n_images, 1, len(fires)), np.float32)
    for latent, values in fires.items():
        x[:, 0, latent] = values
    return dictionary_of(np.eye(len(fires), dtype=np.float32)), [x[:2], x[2:]]


def examples(fires, wnids, pairs):
    """Return the examples as lists, by latent: images, activations, counts of either change."""
    n = 1 + max(pairs["image"].max(), pairs["counterpart"].max())
    dictionary, blocks = wired(fires, n)
    found = pair_examples(PairTests(Contrasts.of(pairs), blocks, n), dictionary, wnids)
    images = np.where(found["pair_images"] == n, NONE, found["pair_images"].astype(int))
    shape = (len(wnids), len(PAIRED), -1)
    return [
        [*zip(*(part[latent].tolist() for part in parts), strict=True)]
        for parts in [
            [
                values.reshape(shape)
                for values in (images, found["pair_activations"], found["pair_counts"])
            ]
        ]
        for latent in range(len(wnids))
    ]


def pairs_of(*rows: tuple[int, int, str, str]) -> pd.DataFrame:
    columns = ["image", "counterpart", "node", "change"]
    return pd.DataFrame(rows, columns=columns).assign(pixel_change=0.1)


PAIRS = pairs_of(
    # Images 0 and 3 are whole; 1 and 4 lack what is shared, 2 and 5 what is the class's own.
    (1, 0, "a", ADDED),
    (3, 4, "a", REMOVED),
    (2, 0, "a", LEAF),
    (5, 3, "a", LEAF),
    (5, 3, "b", LEAF),
)


def test_the_pair_shown_is_the_one_on_which_the_latent_falls_most():
    """Latent 0 answers on both shared pairs, by 1 and by 2; latent 1 does the opposite on one."""
    fires = {0: [1, 0, 1, 2, 0, 2], 1: [0, 3, 0, 4, 1, 4], 2: [1, 1, 0, 1, 1, 1]}
    first, second, third = examples(fires, ["a", "a", "a"], PAIRS)
    # (with, without), their activations, (pairs, answers, opposite): of what is shared, then own.
    assert first == [([3, 4], [2, 0], [2, 2, 0]), ([3, 5], [2, 2], [2, 0, 0])]
    # No pair has an answer but the one with the opposite comes last.
    assert second == [([3, 4], [4, 1], [2, 0, 1]), ([3, 5], [4, 4], [2, 0, 0])]
    # Falls nowhere: the first pair, and the own part of that image, though not the other's.
    assert third == [([0, 1], [1, 1], [2, 0, 0]), ([0, 2], [1, 0], [2, 1, 0])]


def test_a_latent_without_pairs_has_none_and_a_group_without_a_shared_part_its_own():
    fires = {0: [1] * 6, 1: [1, 0, 0, 1, 0, 0], 2: [1] * 6}
    none, own, other = examples(fires, [None, "b", "c"], PAIRS)
    for latent in (none, other):
        assert [images for images, _, _ in latent] == [[NONE, NONE]] * 2
        assert [counts for _, _, counts in latent] == [[0, 0, 0]] * 2
        assert all(np.isnan(values).all() for _, values, _ in latent)
    assert own[0][0] == [NONE, NONE] and own[1] == ([3, 5], [1, 0], [1, 1, 0])


def test_examples_agree_with_a_plain_reading_of_every_pair(atlas):
    """Of the study's dictionary, whose latents fire at random on two tokens of an image."""
    folder = atlas / "dictionaries" / SHOWN
    block, nodes = read_chunk(folder / "latents_0.js"), read_chunk(folder / "nodes.js")
    assert nodes["paired"] and nodes["ablated"]
    taxonomy, tree = make_taxonomy(), Tree.of(make_taxonomy())
    x = np.random.default_rng(5).normal(size=(16, 2, 16))
    decoder = np.random.default_rng([LAYERS[-1], 0]).normal(size=(nodes["width"], 16))
    decoder = decoder.astype(np.float32)
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    z = np.maximum(x @ decoder.T.astype(np.float64), 0).max(1)
    rows = (nodes["width"], len(PAIRED), -1)
    images, activations, counts = (
        block[name].reshape(rows) for name in ("pair_images", "pair_activations", "pair_counts")
    )
    pairs, known = study_pairs(), 0
    for latent, best in enumerate(block["best_internal"]):
        wnid = taxonomy.nodes[tree.node[best - 1]] if best else None
        for position, change in enumerate((ADDED, LEAF)):
            mine = pairs[pairs["node"].eq(wnid) & pairs["change"].eq(change)]
            having, lacking = (z[mine[end], latent] for end in ("counterpart", "image"))
            answers, opposite = (having > 0) & (lacking == 0), (having == 0) & (lacking > 0)
            assert counts[latent, position].tolist() == [len(mine), answers.sum(), opposite.sum()]
            if not len(mine):
                assert (images[latent, position] == len(z)).all()
                continue
            known += 1
            shown = images[latent, position]
            assert z[shown, latent] == pytest.approx(activations[latent, position], abs=1e-6)
            assert (mine[["counterpart", "image"]] == shown).all(axis=1).any()
            if change == LEAF and counts[latent, 0, 0]:
                assert shown[0] == images[latent, 0, 0], "the same image as before"
            elif answers.any():
                assert having[answers].max() == pytest.approx(activations[latent, position, 0])
    assert known == 3 and PAIR_COUNTS == ("pairs", "answers", "opposite")


def test_pairs_of_nodes_are_those_of_the_table(atlas):
    chunk = read_chunk(atlas / "dictionaries" / SHOWN / "pairs.js")
    table = pd.read_parquet(atlas.parent / "pair_nodes.parquet")
    table = table[table["latents"] == "best"].set_index(["wnid", "change"])
    taxonomy, tree = make_taxonomy(), Tree.of(make_taxonomy())
    values = chunk["measures"].reshape(len(chunk["node"]), len(PAIR_CHANGES), -1)
    assert {taxonomy.nodes[tree.node[node]] for node in chunk["node"]} == {"pair0", "six0"}
    seen = 0
    for row, node in enumerate(chunk["node"]):
        for column, change in enumerate(PAIR_CHANGES):
            key = (taxonomy.nodes[tree.node[node]], change)
            if key in table.index:
                seen += 1
                expected = table.loc[key, list(PAIR_MEASURES)].to_numpy(np.float32)
                np.testing.assert_array_equal(values[row, column], expected)
            else:
                assert np.isnan(values[row, column]).all()
    assert seen == len(table.query("change in @PAIR_CHANGES")) == 6


def test_ablation_is_the_table_with_permuted_draws_averaged(tmp_path):
    taxonomy, tree = make_taxonomy(), Tree.of(make_taxonomy())
    path = write_ablation_table(taxonomy, tmp_path / "ablation.parquet")
    position = {taxonomy.nodes[node]: place for place, node in enumerate(tree.node)}
    chunk = ablation_chunk(path, position, 30)
    assert (chunk["readout"], chunk["accuracy"], chunk["n_images"]) == ("head", 0.75, 96)
    assert chunk["draws"] == 2
    table = pd.read_parquet(path)
    values = chunk["measures"]
    assert values.shape == (2 * len(tree.internal), len(ABLATION_KINDS), len(ABLATION_MEASURES))
    for row, (node, n) in enumerate(zip(chunk["node"], chunk["n_latents"], strict=True)):
        wnid = taxonomy.nodes[tree.node[node]]
        mine = table[table["wnid"].eq(wnid) & table["n_latents"].eq(n)]
        for column, kind in enumerate(ABLATION_KINDS):
            rows = mine.loc[mine["kind"] == kind, list(ABLATION_MEASURES)]
            assert len(rows) == (2 if "permuted" in kind else 1)
            expected = rows.astype(float).mean().to_numpy()
            np.testing.assert_allclose(values[row, column], expected, rtol=1e-6)
        taken = slice(*chunk["taken_start"][row : row + 2])
        (latents,) = mine.loc[mine["kind"] == "chosen", "latents"]
        assert chunk["taken"][taken].tolist() == latents.tolist()


def test_a_dictionary_of_which_nothing_is_known_has_no_file_more(atlas):
    others = [path for path in atlas.glob("dictionaries/**/nodes.js") if SHOWN not in str(path)]
    assert others
    for path in others:
        nodes = read_chunk(path)
        assert not nodes["ablated"] and not nodes["paired"]
        assert {other.name for other in path.parent.iterdir()} == {"nodes.js", "latents_0.js"}
        assert not {name for name in read_chunk(path.with_name("latents_0.js")) if "pair_i" in name}
