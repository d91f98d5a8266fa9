"""Several networks in one table: relative depth, random twins, where nodes exceed their null."""

import numpy as np
import pandas as pd
import pytest

from cladescope.summary.architectures import (
    PROBE,
    architectures_page,
    by_depth,
    first_depths,
)
from cladescope.summary.figures.architectures import plot_architectures
from cladescope.sweep import has_several_backbones

N_LAYERS = {"small": 2, "large": 4, "random": 4}
MODELS = {"small": "cnn", "large": "vit.labelled", "random": "vit"}


@pytest.fixture
def metrics():
    """A row for each seed of TopK at both layers of `small` and at layers 2 and 4 of the others.

    Held-out scores: layer / 10 of `small`, layer / 20 of `large` and .01 at random, plus .02 for
    the second seed.
    """
    rows = []
    for experiment, layers in (("small", (1, 2)), ("large", (2, 4)), ("random", (2, 4))):
        for layer in layers:
            for seed in (0, 1):
                held_out = {"small": layer / 10, "large": layer / 20, "random": 0.01}[experiment]
                rows.append(
                    {
                        "dictionary": f"{experiment}/mean/L{layer}/s{seed}",
                        "experiment": experiment,
                        "dataset": "planted",
                        "model": MODELS[experiment],
                        "weights": "random" if experiment == "random" else "file",
                        "token": "mean",
                        "layer": layer,
                        "variant": "topk",
                        "width": 8,
                        "sparsity": 2,
                        "seed": seed,
                        "held_out": held_out + 0.02 * seed,
                        "held_out_null_permuted": 0.0,
                        "own_best_recovery": 0.5,
                        "node_recovery": 0.5,
                        "fve": 0.9,
                    }
                )
    return pd.DataFrame(rows)


@pytest.fixture
def probes(metrics):
    """Two nodes at each place, .2 and .4; half of that with random weights."""
    places = metrics[["experiment", "token", "layer"]].drop_duplicates()
    parts = []
    for value in (0.2, 0.4):
        at_random = places["experiment"].eq("random")
        parts.append(
            places.assign(
                probe_held_out=np.where(at_random, value / 2, value),
                probe_held_out_null_permuted=0.0,
            )
        )
    return pd.concat(parts)


@pytest.fixture
def nodes(metrics):
    """Three nodes of height 1 and one of height 2, with a null's end at .3.

    Of height 1 two of three exceed it at every layer of `small`; in `large` with both seeds only
    at layer 4. The node of height 2 exceeds it with one seed alone.
    """
    rows = []
    for row in metrics.itertuples():
        found = row.experiment == "small" or (
            row.experiment == "large" and (row.layer == 4 or row.seed == 0)
        )
        scores = [(1, 0.4 if found else 0.3), (1, 0.4 if found else 0.1), (1, 0.1)]
        scores.append((2, 0.4 if row.experiment == "small" and row.seed == 0 else np.nan))
        for number, (height, mcc) in enumerate(scores):
            rows.append(
                {
                    "dictionary": row.dictionary,
                    "wnid": f"n{number}",
                    "height_contracted": height,
                    "best_mcc": mcc,
                    "best_mcc_null_permuted_high": 0.3,
                }
            )
    return pd.DataFrame(rows)


def test_depth_is_relative_and_the_twin_has_the_architecture(metrics, probes):
    table = by_depth(metrics, probes, N_LAYERS)
    held_out = table[(table["measure"] == "held_out") & (table["variant"] == "topk")]
    held_out = held_out.set_index(["experiment", "layer"])
    assert held_out.loc[("small", 1), "depth"] == 0.5
    assert held_out.loc[("large", 4), "depth"] == 1
    # Seeds .2 and .22.
    assert held_out.loc[("large", 4), "value"] == pytest.approx(0.21)
    assert held_out.loc[("large", 4), ["min", "max"]].tolist() == pytest.approx([0.2, 0.22])
    assert held_out.loc[("large", 4), "n_seeds"] == 2
    # vit's random weights are .01 and .03; nobody has cnn's.
    assert held_out.loc[("large", 4), "twin"] == pytest.approx(0.02)
    assert held_out.loc[["small", "random"], "twin"].isna().all()
    of_probe = table[table["variant"] == PROBE].set_index(["experiment", "layer"])
    assert of_probe.loc[("large", 2), ["value", "twin"]].tolist() == pytest.approx([0.3, 0.15])
    assert len(table) == 6 * (4 + 1)


def test_nodes_exceed_their_null_from_where_most_do_with_every_seed(metrics, nodes):
    table = first_depths(nodes, metrics, N_LAYERS).set_index(["experiment", "height_contracted"])
    assert table["n_nodes"].tolist() == [3, 1] * 3
    assert table.loc[("small", 1), ["first_depth", "least_depth"]].tolist() == [0.5, 0.5]
    assert table.loc[("large", 1), ["first_depth", "least_depth"]].tolist() == [1, 0.5]
    assert table.loc[("large", 1), "share"] == pytest.approx(2 / 3)
    # One of two seeds is not every seed; equal to the null's end is not above it.
    assert np.isnan(table.loc[("small", 2), "first_depth"])
    assert np.isnan(table.loc[("random", 1), "first_depth"])


def test_page_and_figure_show_every_network(metrics, probes, nodes):
    depths, firsts = by_depth(metrics, probes, N_LAYERS), first_depths(nodes, metrics, N_LAYERS)
    page = architectures_page(depths, firsts)
    assert "| large | mean | 1.00 | .30 null .00 random .15 | .21 (.20 to .22) null .00" in page
    assert "| small | mean | topk | ≤ .50 | – |" in page
    assert "| large | mean | topk | 1.00 | – |" in page
    figure = plot_architectures(depths, firsts)
    probe = figure.axes[0]
    assert [line.get_linestyle() for line in probe.lines] == ["-", "-", ":"]
    # The random twin has the colour of its architecture.
    assert probe.lines[2].get_color() == probe.lines[1].get_color()
    assert probe.lines[0].get_xdata().tolist() == [0.5, 1]
    # Other weights of the same model have its colour and hollow points.
    again = depths[depths["experiment"] == "large"].assign(experiment="large_again", value=0.5)
    probe = plot_architectures(pd.concat([depths, again]), firsts).axes[0]
    (line,) = (line for line in probe.lines if line.get_ydata()[-1] == 0.5)
    assert line.get_color() in [other.get_color() for other in probe.lines if other is not line]
    assert line.get_markerfacecolor() == "white"


def test_networks_are_compared_if_there_are_several_trained_ones():
    def study(*backbones):
        experiments = {str(number): {"backbone": one} for number, one in enumerate(backbones)}
        return {"experiments": experiments}

    one = {"model": "vit_planted", "weights": "a.safetensors"}
    random = {"model": "vit_planted", "weights": "random"}
    assert not has_several_backbones(study(one, one, random))
    assert has_several_backbones(study(one, random, {**one, "weights": "b.safetensors"}))
    pretrained = [{"model": name, "weights": "pretrained"} for name in ("vit.a", "vit.b")]
    assert has_several_backbones(study(*pretrained))
