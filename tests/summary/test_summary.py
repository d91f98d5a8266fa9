"""Tables and figures from small results made by hand."""

import re

import numpy as np
import pandas as pd
import pytest

from cladescope.codes.codes import Codes
from cladescope.files import write_json
from cladescope.provenance.record import COLUMNS
from cladescope.relevancy.choose import (
    best_latents,
    named_latents,
    random_latents,
    strongest_images,
)
from cladescope.summary.figures.base import (
    PERMUTED,
    PROBE,
    RANDOM,
    SHOWN,
    TRAINED,
    save,
    titles,
)
from cladescope.summary.figures.by_size import SHOWN as BY_SIZE
from cladescope.summary.figures.by_size import plot_by_size
from cladescope.summary.figures.frontier import plot_frontier
from cladescope.summary.figures.quality import plot_quality
from cladescope.summary.figures.recovered_nodes import plot_recovered_nodes
from cladescope.summary.figures.scores import plot_scores, scores_by_layer
from cladescope.summary.figures.surface import plot_surface
from cladescope.summary.tables import tabulate
from cladescope.taxonomy.taxonomy import taxonomy_from_parents


@pytest.fixture
def metrics():
    """Two seeds, two widths, two layers, with and without random weights."""
    rows = []
    for weights in ("file", "random"):
        for layer in (1, 2):
            for width in (8, 16):
                for seed in (0, 1):
                    value = 10 * layer + seed + (width == 16) + 100 * (weights == "random")
                    scores = {
                        f"{score}{null}": value + offset
                        for score in SHOWN
                        for null, offset in (
                            ("", 0),
                            ("_null_permuted", 1000),
                            ("_null_shuffled", 2000),
                        )
                    }
                    identity = {"experiment": weights, "weights": weights, "variant": "topk"}
                    identity |= {"dataset": "planted", "model": "vit", "token": "cls"}
                    rows.append({**identity, "layer": layer, "seed": seed, **scores})
    return pd.DataFrame(rows)


def probes(metrics):
    """Two nodes a layer."""
    rows = metrics[["experiment", "token", "layer"]].drop_duplicates()
    return pd.concat([rows.assign(probe_held_out=value) for value in (0.2, 0.4)])


def test_lines_are_means_over_widths_for_each_seed(metrics):
    table = scores_by_layer(metrics)
    score = titles(*SHOWN)[SHOWN[0]]

    def values(series: str, layer: int) -> list[float]:
        rows = table[(table["series"] == series) & (table["score"] == score)]
        return rows[rows["layer"] == layer].sort_values("seed")["value"].tolist()

    # Layer 2, seed s: widths give 20 + s and 21 + s, so 20.5 + s.
    assert values(TRAINED, 2) == [20.5, 21.5]
    assert values(PERMUTED, 2) == [1020.5, 1021.5]
    assert values(RANDOM, 1) == [110.5, 111.5]


def test_models_have_panels_of_their_own(metrics):
    both = pd.concat([metrics, metrics.assign(model="other")])
    scores = set(scores_by_layer(both)["score"])
    assert len(scores) == 2 * len(SHOWN)
    assert any(score.startswith("other\n") for score in scores)


def test_tokens_have_panels_of_their_own(metrics):
    both = pd.concat([metrics, metrics.assign(token="patches")])
    scores = set(scores_by_layer(both)["score"])
    assert len(scores) == 2 * len(SHOWN)
    assert any(score.startswith("patches\n") for score in scores)


def test_frontier_shows_means_over_seeds_and_their_range():
    """Of k 8 and 16; another variant; random weights are left out."""
    here = {"weights": "file", "experiment": "a", "token": "cls", "layer": 3, "width": 4}
    rows = [
        {"variant": variant, "sparsity": k, "seed": seed, "l0": k, "fve": fve, "held_out": score}
        for variant, k, seed, fve, score in (
            ("topk", 8, 0, 0.9, 0.1),
            ("topk", 8, 1, 0.8, 0.3),
            ("topk", 16, 0, 0.95, 0.2),
            ("tree", 16, 0, -0.5, 0.4),
        )
    ]
    table = pd.DataFrame([{**here, **row, "own_best_recovery": row["held_out"]} for row in rows])
    table = pd.concat([table, table.assign(weights="random", held_out=9)], ignore_index=True)
    figure = plot_frontier(table)
    points = [bars[0].get_xydata()[0] for bars in figure.axes[0].containers]
    np.testing.assert_allclose(points, [(0.85, 0.2), (0.95, 0.2), (0, 0.4)])
    wide, high = (bar.get_segments()[0] for bar in figure.axes[0].containers[0][2])
    assert np.ptp(wide[:, 0]) == pytest.approx(0.1)
    assert np.ptp(high[:, 1]) == pytest.approx(0.2)
    assert [text.get_text() for text in figure.axes[0].texts] == ["8", "16", "16"]
    nothing = plot_frontier(table[table["weights"] == "random"])
    assert "no dictionary on a trained backbone" in nothing.texts[0].get_text()


def test_quality_without_a_trained_dictionary_says_so(metrics, tmp_path):
    figure = plot_quality(metrics[metrics["weights"] == "random"])
    save(figure, [str(tmp_path / "quality.svg")], dpi=50)
    assert "no trained dictionary" in (tmp_path / "quality.svg").read_text()


def test_figures_are_the_same_bytes_twice(metrics, tmp_path):
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        paths = [str(tmp_path / run / f"scores.{suffix}") for suffix in ("svg", "png", "pdf")]
        save(plot_scores(metrics, probes(metrics)), paths, dpi=50)
    for suffix in ("svg", "png", "pdf"):
        first, second = (tmp_path / run / f"scores.{suffix}" for run in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()


def test_the_probe_is_a_line_of_its_own(metrics, tmp_path):
    save(plot_scores(metrics, probes(metrics)), [str(tmp_path / "scores.svg")], dpi=50)
    assert f">{PROBE}<" in (tmp_path / "scores.svg").read_text()


def of_library(metrics, library):
    """What stands for dictionaries of a library, under names of their own, in place of TopK."""
    names = [f"theirs_{number}" for number in range(len(metrics))]
    return metrics.assign(variant=names, library=library, seed=None)


def test_dictionaries_of_a_library_are_a_line_with_its_null(metrics, tmp_path):
    theirs = of_library(metrics[metrics["weights"] == "file"], "prisma")
    both = pd.concat([metrics, theirs], ignore_index=True)
    table = scores_by_layer(both)
    score = titles(*SHOWN)[SHOWN[0]]
    lines = table[table["score"] == score].groupby(["series", "layer"])["value"].mean()
    # Widths and seeds of layer 2: 20, 21, 21 and 22.
    assert lines["prisma (imported)", 2] == 21
    assert lines["prisma (imported), leaves permuted (null)", 2] == 1021
    without = table[~table["series"].str.contains("prisma")].reset_index(drop=True)
    assert without.equals(scores_by_layer(metrics))
    save(plot_scores(both, probes(metrics)), [str(tmp_path / "lines.svg")], dpi=50)
    assert "prisma (imported)" in (tmp_path / "lines.svg").read_text()


def test_bars_are_of_the_deepest_layer(metrics, tmp_path):
    metrics = metrics.assign(dictionary=[f"d{number}" for number in range(len(metrics))])
    row = {f"{score}{end}": 0.5 for score in BY_SIZE for end in ("", "_null_permuted")}
    sizes = pd.DataFrame(
        {"dictionary": name, "size": size, "n_nodes": n} | row
        for name in metrics["dictionary"]
        for size, n in (("all", 9), ("2", 5), ("4-15", 4), ("16+", 0))
    )
    save(plot_by_size(metrics, sizes), [str(tmp_path / "sizes.svg")], dpi=50)
    drawn = re.findall(r">([^<>]+)</text>", (tmp_path / "sizes.svg").read_text())
    assert {"4–15", "(4)", TRAINED, PERMUTED} <= set(drawn) and "16+" not in drawn
    # A study of nothing but imported dictionaries has bars, too.
    save(plot_by_size(of_library(metrics, "saev"), sizes), [str(tmp_path / "saev.svg")], dpi=50)
    drawn = re.findall(r">([^<>]+)</text>", (tmp_path / "saev.svg").read_text())
    assert {"saev (imported)", "saev (imported), leaves permuted (null)"} <= set(drawn)
    random = metrics[metrics["weights"] == "random"]
    save(plot_by_size(random, sizes), [str(tmp_path / "none.svg")], dpi=50)
    assert "no trained dictionary" in (tmp_path / "none.svg").read_text()


def test_surface_has_a_cell_for_each_layer_width_and_sparsity(metrics, tmp_path):
    swept = metrics.assign(
        sparsity=4.0, width=np.tile([8, 8, 16, 16], 4), fve=0.25, node_recovery=0.5
    )
    save(plot_surface(swept), [str(tmp_path / "surface.svg")], dpi=50)
    drawn = (tmp_path / "surface.svg").read_text()
    # Two arms of two layers and two widths: cells of means over seeds.
    assert drawn.count(">0.25<") == 8
    assert ">random, topk, 16 latents, 4<" in drawn
    save(plot_surface(metrics.assign(sparsity=np.nan)), [str(tmp_path / "none.svg")], dpi=50)
    assert "no trained dictionary" in (tmp_path / "none.svg").read_text()


def test_recovered_nodes_stand_below_their_parents(metrics, tmp_path):
    dog, wolf, cat, carp = "n02084071", "n02114367", "n02121620", "n02512053"
    leaves = [dog, wolf, cat, carp]
    taxonomy = taxonomy_from_parents(
        leaves,
        {dog: ["canine"], wolf: ["canine"], "canine": ["animal"], cat: ["animal"]}
        | {"animal": ["thing"], carp: ["thing"], "thing": []},
        {name: f"{name}.n.01" for name in (*leaves, "canine", "animal", "thing")},
    )
    metrics = metrics.assign(dictionary=[f"d{number}" for number in range(len(metrics))])
    nodes = pd.DataFrame(
        [
            {"dictionary": name, "wnid": wnid, "recovered": True, "recovered_null_permuted": 0.5}
            for name in metrics["dictionary"]
            for wnid in ("canine", "animal")
        ]
    )
    path = str(tmp_path / "nodes.svg")
    save(plot_recovered_nodes(nodes, metrics, taxonomy, "planted", ["animal"]), [path], dpi=50)
    drawn = re.findall(r">([^<>]+)</text>", (tmp_path / "nodes.svg").read_text())
    animal, canine = drawn.index("animal (3)  undrawn"), drawn.index("   canine (2)")
    assert animal < canine
    assert {"recovered", "leaves permuted (null)", "random backbone"} < set(drawn)


def test_best_latents_are_one_for_each_node():
    latents = pd.DataFrame(
        {
            "latent": [0, 1, 2, 3, 4],
            "status": ["scored", "scored", "rare", "scored", "scored"],
            "best_internal_wnid": ["n1", "n1", "n2", "n3", None],
            "best_internal_mcc": [0.5, 0.7, 0.9, 0.6, np.nan],
        }
    )
    assert best_latents(latents, 10)["latent"].tolist() == [1, 3]
    assert best_latents(latents, 1)["latent"].tolist() == [1]
    others = random_latents(latents, 10, seed=0, without=np.array([1]))
    assert sorted(others.tolist()) == [0, 3, 4], "scored, but for the one named"


def test_named_latents_are_those_of_the_nodes_whatever_their_scores():
    nodes = pd.DataFrame({"wnid": ["n1", "n2", "n3", "n4"], "best_latent": [5, 5, np.nan, 2]})
    assert named_latents(nodes, ["n4", "n1", "n2", "n3"]).tolist() == [2, 5]
    assert named_latents(nodes, []).tolist() == []
    with pytest.raises(ValueError, match=r"relevancy\.nodes: n8, n9 are not internal nodes"):
        named_latents(nodes, ["n8", "n1", "n9"])


def test_strongest_images_break_ties_by_id():
    codes = Codes(
        image=np.array([0, 1, 2, 3, 4], np.int32),
        latent=np.array([7, 7, 3, 7, 7], np.int32),
        activation=np.array([1, 2, 9, 2, 3], np.float32),
        n_images=5,
        width=8,
    )
    assert strongest_images(codes, 7, 3).tolist() == [4, 1, 3]


def test_tables_name_the_dictionary_of_every_row(tmp_path, capsys):
    identities = [
        {"dictionary": name, "library": library, "width": width, "sparsity": None, "seed": None}
        for name, library, width in (("a", "saelens", None), ("b", None, 4))
    ]
    kinds = ("about", "quality", "scores", "training", "latents", "nodes")
    files: dict[str, list[str]] = {kind: [] for kind in kinds}
    scored = {"status": ["scored", "rare"], "hierarchical": [True, None]}
    contents = {
        "latents": pd.DataFrame({"latent": [0, 1], **scored}),
        "nodes": pd.DataFrame({"best_latent": [1.0, np.nan]}),
    }
    for identity in identities:
        name = identity["dictionary"]
        for kind, value in (
            ("about", {"k": 3}),
            ("quality", {"fve": 0.5, "width": 4, "machine": "m"}),
            ("scores", {"n_live": 3, "machine": "m"}),
        ):
            write_json(tmp_path / f"{name}_{kind}.json", value)
            files[kind].append(str(tmp_path / f"{name}_{kind}.json"))
        # The first was not trained here.
        log = pd.DataFrame({"fve": [0.2, 0.8]} if name == "b" else {})
        for kind, content in {**contents, "training": log}.items():
            path = tmp_path / f"{name}_{kind}.parquet"
            content.to_parquet(path)
            files[kind].append(str(path))
    # The second dictionary has another seed; the first is without any.
    seeds = {"seed_similarity": [0.8, 0.2], "seed_similarity_null": 0.1, "recurrence": [1.0, 0.5]}
    seeds["seed_similarity_assigned"] = [0.7, 0.2]
    frame = pd.DataFrame({"dictionary": "b", "latent": [0, 1], "n_other_seeds": 2, **seeds})
    frame.to_parquet(tmp_path / "recurrence.parquet")
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        tabulate(
            identities,
            files,
            [str(tmp_path / "recurrence.parquet")],
            pd.DataFrame({column: ["x", "y"] for column in COLUMNS}, index=["a", "b"]),
            {
                name: str(tmp_path / run / f"{name}.csv{'' if name == 'metrics' else '.gz'}")
                for name in ("metrics", *contents)
            },
        )
    metrics = pd.read_csv(tmp_path / "first" / "metrics.csv")
    assert metrics["dictionary"].tolist() == ["a", "b"]
    assert metrics["width"].tolist() == [4, 4]
    # Of the imported one from its files; of others it is in the sweep, or nowhere.
    assert metrics["library"].tolist()[0] == "saelens"
    assert metrics["sparsity"].tolist()[0] == 3
    assert metrics[["library", "sparsity"]].isna().to_numpy().tolist() == [[False] * 2, [True] * 2]
    assert metrics["git_commit"].tolist() == ["x", "y"]
    assert "machine" not in metrics
    assert metrics["train_fve"].tolist()[1] == 0.8
    assert metrics["train_fve"].isna().tolist() == [True, False]
    told = capsys.readouterr().err
    assert "1 of 2 dictionaries explain their training images far better" in told
    assert "most of all b: FVE 0.80 and 0.50. Lower training.images" in told
    # Only the first latent is scored, and it is hierarchical.
    assert metrics["recurrence"].tolist()[1] == metrics["recurrence_hierarchical"].tolist()[1] == 1
    assert metrics["recurrence"].isna().tolist() == [True, False]
    latents, nodes = (pd.read_csv(tmp_path / "first" / f"{n}.csv.gz") for n in contents)
    assert latents["dictionary"].tolist() == ["a", "a", "b", "b"]
    assert latents["recurrence"].tolist()[2:] == [1.0, 0.5]
    assert latents["git_commit"].tolist() == ["x", "x", "y", "y"]
    assert nodes["best_recurrence"].tolist()[2] == 0.5
    assert nodes["best_recurrence"].isna().tolist() == [True, True, False, True]
    for name in contents:
        first, second = (
            (tmp_path / r / f"{name}.csv.gz").read_bytes() for r in ("first", "second")
        )
        assert first == second
