"""The page of evidence, from tables made by hand."""

import numpy as np
import pandas as pd
import pytest

from cladescope.scores.by_size import BY_SIZE
from cladescope.summary.cells import between, number
from cladescope.summary.evidence import SCORES, Evidence, evidence_page
from cladescope.summary.trends import ARM, DIRECTED, over_start


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """A trained arm of two layers, with a start and class means, and a random backbone."""
    rows = []
    for experiment, weights in (("mine", "file"), ("twin", "random")):
        for layer in (1, 2):
            for variant, width, sparsity, seeds in (
                ("topk", 8, 2, (0, 1)),
                ("start", 8, 2, (0, 1)),
                ("class_means", 5, 2, (np.nan,)),
            ):
                for seed in seeds:
                    arm = {"experiment": experiment, "dataset": "d", "model": "m"}
                    arm |= {"weights": weights, "token": "cls", "layer": layer}
                    kind = {"variant": variant, "width": width, "sparsity": sparsity, "seed": seed}
                    value = 0.1 * layer + 0.2 * (variant == "topk") + np.nan_to_num(seed) / 100
                    scores = dict.fromkeys((*SCORES, *DIRECTED, "n_scored"), value)
                    scores["held_out_null_permuted"] = -0.001
                    rows.append({"dictionary": f"d{len(rows)}", **arm, **kind, **scores})
    metrics = pd.DataFrame(rows)
    sizes = pd.DataFrame(
        {"dictionary": name, "size": size, "n_nodes": n, **dict.fromkeys(BY_SIZE, 0.75)}
        for name in metrics["dictionary"]
        for size, n in (("all", 3), ("2", 3), ("16+", 0))
    )
    probes = metrics[["experiment", "token", "layer"]].drop_duplicates()
    probes = probes.assign(probe_held_out=0.5, probe_held_out_null_permuted=0.0)
    gains = pd.DataFrame(
        {"experiment": "mine", "dataset": "d", "model": "m", "weights": "file", "token": "cls"}
        | {"layer": layer, "variant": "topk", "width": 8, "sparsity": 2, "score": "held_out"}
        | {"gain": 0.2, "min": 0.1, "max": 0.3, "low": np.nan}
        for layer in (1, 2)
    )
    return {"metrics": metrics, "sizes": sizes, "probes": probes, "gains": gains}


def cells(page: str, start: str) -> list[list[str]]:
    """Return the rows that begin with a cell, in the order of the page."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in page.splitlines()
        if line.startswith(f"| {start} |")
    ]


def test_page_holds_the_deepest_layer_and_what_it_is_compared_with(tables) -> None:
    page = evidence_page(Evidence(**tables))
    short = cells(page, "TopK SAE")[0]
    # .1 · 2 + .2 and, of the second seed, .01 more.
    assert short[1:4] == ["2", ".41 (.40 to .41) null .00", ".41 (.40 to .41)"]
    assert cells(page, "class means (supervised)")[0][1:3] == ["1", ".20 null .00"]
    assert cells(page, "TopK SAE, random backbone")
    assert cells(page, "linear probe")[0][2] == ".50 null .00"
    assert "| 2 (3 nodes) |" in page and "16+" not in page
    added = page[page.index("What training adds") :]
    assert cells(added, "topk w8 k2")[0][1] == ".20 (.10 to .30)"
    assert page.count("What training adds") == 1


def test_page_says_what_the_model_loses_where_latents_are_ablated(tables) -> None:
    metrics = tables["metrics"]
    kept = metrics[metrics["layer"].eq(2) & metrics["variant"].eq("topk")]
    ablation = kept[["dictionary", *ARM, "layer", "variant", "width", "sparsity", "seed"]]
    parts = [
        ablation.assign(n_latents=n, size=size, selectivity=0.1 * n + 0.01 * (size == "2"))
        for n in (1, 5)
        for size in ("all", "2")
    ]
    ablation = pd.concat(parts).assign(
        readout="head", accuracy=0.75, selectivity_null_permuted=0.04
    )
    rest = (
        *("selectivity_null_directions", "selectivity_null_shrunk", "projected"),
        *("projected_null_permuted", "removed", "evenness", "within", "tpp"),
    )
    ablation = ablation.assign(**dict.fromkeys(rest, 0.5))
    assert "Does the model use it?" not in evidence_page(Evidence(**tables))
    page = evidence_page(Evidence(**tables, ablation=ablation))
    # In the headline the smallest number of latents, over all nodes.
    assert cells(page, "TopK SAE")[0][-2:] == [".10 null .04", ".50 null .50"]
    assert cells(page, "start of topk SAE")[0][-2:] == ["", ""]
    section = page[page.index("## Does the model use it?") :]
    assert [row[1:4] for row in cells(section, "topk w8 k2")][:2] == [
        ["1", ".100", ".040"],
        ["5", ".500", ".040"],
    ]
    assert "mine, cls, layer 2, read out by the head (right: .75):" in section


def test_three_seeds_have_an_interval_and_three_widths_a_range(tables) -> None:
    metrics = tables["metrics"]
    third = metrics[metrics["seed"] == 1].assign(seed=2)
    third["dictionary"] += "'"
    third["held_out"] += 0.01
    sizes = tables["sizes"]
    more = sizes[sizes["dictionary"].isin(metrics.loc[metrics["seed"] == 1, "dictionary"])]
    gains = tables["gains"].assign(low=0.15)
    tables |= {"metrics": pd.concat([metrics, third], ignore_index=True), "gains": gains}
    tables |= {"sizes": pd.concat([sizes, more.assign(dictionary=more["dictionary"] + "'")])}
    page = evidence_page(Evidence(**tables))
    # .40, .41 and .42: 4.303 · .01 / √3. By size all have .75.
    assert cells(page, "TopK SAE")[0][1:3] == ["3", ".41 ± .02 null .00"]
    assert cells(page, "topk w8 k2")[0][2] == ".41 ± .02 null .00"
    assert cells(page[page.index("By the classes") :], "topk w8 k2")[0][2] == ".75 ± .00"
    assert cells(page[page.index("What training adds") :], "topk w8 k2")[0][1] == ".20 ± .05"
    wider = metrics[metrics["seed"] == 1].assign(width=16, seed=2, held_out=0.43)
    wider["dictionary"] += "w"
    page = evidence_page(
        Evidence(**{**tables, "metrics": pd.concat([metrics, wider], ignore_index=True)})
    )
    assert cells(page, "TopK SAE")[0][2] == ".41 (.40 to .43) null .00"


def test_page_without_a_start_says_nothing_of_gains(tables) -> None:
    metrics = tables["metrics"][tables["metrics"]["variant"] != "start"]
    page = evidence_page(Evidence(**{**tables, "metrics": metrics, "gains": over_start(metrics)}))
    assert "What training adds" not in page


def test_numbers_as_they_are_written() -> None:
    assert [number(v) for v in (0.123, -0.004, -0.126, 1.5, np.nan)] == [
        ".12", ".00", "−.13", "1.50", "",
    ]  # fmt: skip
    assert number(12.4, 0) == "12" and between(0.1, 0.101, 0.099) == ".10"


def test_latents_on_pairs_have_a_section_where_there_are_pairs(tables) -> None:
    assert "Does a latent follow" not in evidence_page(Evidence(**tables))
    identity = [*tables["metrics"].columns[:11]]
    pairs = pd.concat(
        tables["metrics"][identity].assign(
            nodes="shared",
            latents=latents,
            change=change,
            fires=0.5,
            answer=answer + 0.02 * tables["metrics"]["seed"].fillna(0),
            answer_random=0.0,
            flips=0.25,
        )
        for latents, change, answer in (
            ("best", "shared", 0.4),
            ("best", "leaf", 0.1),
            ("coalition", "shared", 0.9),
        )
    )
    page = evidence_page(Evidence(**tables, pairs=pairs))
    section = page[page.index("## Does a latent follow the concept? mine, cls") :]
    row = cells(section, "topk w8 k2")[0]
    assert row[1:4] == [".50", ".41 (.40 to .42) null .00", ".11 (.10 to .12) null .00"]
    assert row[4:] == [""] * 4
    assert cells(section, "class_means k2 (supervised)")[0][2] == ".40 null .00"
    assert page.count("Does a latent follow") == 2
