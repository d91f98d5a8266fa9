"""The whole chain on a small planted experiment, run once in a copy of the checkout."""

import copy
import os
import re
import shutil
from collections import defaultdict
from graphlib import TopologicalSorter

import pandas as pd
import pytest
import yaml

from checkouts import SMALL
from cladescope.provenance.record import COLUMNS


def test_tables_hold_every_dictionary_latent_and_null(finished):
    tables = finished.folder / "results" / "small" / "tables"
    metrics = pd.read_csv(tables / "metrics.csv")
    assert len(metrics) == 2 * 3
    assert metrics["dictionary"].is_unique
    assert set(metrics["variant"]) == {"topk", "neurons"}
    assert metrics.loc[metrics["variant"] == "neurons", "width"].eq(192).all()
    assert metrics["fve"].between(0, 1).all()
    for score in ("coherent_share", "node_recovery", "pair_lch"):
        for null in ("null_permuted", "null_shuffled"):
            assert f"{score}_{null}" in metrics
    latents = pd.read_csv(tables / "latents.csv.gz")
    assert len(latents) == 2 * (48 + 48 + 192)
    assert set(latents["dictionary"]) == set(metrics["dictionary"])


def test_docs_define_every_column_of_every_table(finished, root):
    tables = finished.folder / "results" / "small" / "tables"
    text = (root / "docs" / "scores.md").read_text()
    for section in text.split("\n### ")[1:]:
        name = re.fullmatch(r"`tables/(.+)`", section.splitlines()[0])[1]
        rows = re.findall(r"^\| `([^|]*)` \|", section.split("\n## ")[0], flags=re.MULTILINE)
        documented = [column for row in rows for column in row.split("`, `")]
        # Provenance, defined in docs/reproducibility.md, ends every table.
        found = [name for name in pd.read_csv(tables / name).columns if name not in COLUMNS]
        if name.removesuffix(".csv.gz") in ("latents", "nodes"):
            # What follows the dictionary's name is in the section of the parquet file.
            found = [column for column in found if column in documented]
        assert found == documented, name
    listed = re.findall(r"`tables/(\S+)`", text)
    assert {"seeds.csv", "trends.csv", "comparisons.csv", "probes.csv"} <= set(listed)


def test_probes_read_more_than_chance_in_the_last_block(finished):
    probes = pd.read_csv(finished.folder / "results" / "small" / "tables" / "probes.csv")
    late = probes[probes["layer"] == 8].set_index(["level", "probe"])
    assert (late["accuracy"] > 2 * late["chance"])["leaf"].all()
    accuracy = late["accuracy"].xs("linear", level="probe")
    assert accuracy["leaf"] < accuracy["family"] < accuracy["domain"]


def test_last_block_holds_hierarchy_beyond_its_nulls_and_beyond_the_second(finished):
    metrics = pd.read_csv(finished.folder / "results" / "small" / "tables" / "metrics.csv")
    topk = metrics[metrics["variant"] == "topk"]
    early, late = (topk[topk["layer"] == layer].reset_index(drop=True) for layer in (2, 8))
    assert len(early) == len(late) == 2
    for score in ("node_recovery", "best_internal_mcc"):
        assert (late[score] > late[f"{score}_null_permuted_high"]).all()
        assert (late[score] > late[f"{score}_null_shuffled"]).all()
        assert (late[score] > early[score]).all()
    height = "pair_lch_contracted"
    assert (late[height] < late[f"{height}_null_permuted_low"]).all()
    assert (late[height] < early[height]).all()


def test_figures_are_images(finished):
    figures = finished.folder / "results" / "small" / "figures"
    for name in ("scores", "sensitivity", "quality", "training_curves", "top_images"):
        assert (figures / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_second_run_elsewhere_makes_the_same_bytes(finished, tmp_path, config):
    config["results"] = str(tmp_path / "again")
    finished.write(config)
    try:
        result = finished.run("--", f"{tmp_path}/again/tables/metrics.csv")
    finally:
        finished.write(SMALL)
    assert result.returncode == 0, result.stdout + result.stderr
    for name in ("metrics.csv", "latents.csv.gz", "nodes.csv.gz", "sensitivity.csv.gz"):
        first = finished.folder / "results" / "small" / "tables" / name
        assert first.read_bytes() == (tmp_path / "again" / "tables" / name).read_bytes()


@pytest.mark.parametrize(
    ("split", "rule"),
    [("eval", "extract_activations_trained_eval_0"), ("train", "join_shards_trained_train_0")],
)
def test_protected_pass_cannot_be_edited_in_place(checkout, config, tmp_path, split, rule):
    """By one job or several: of those, none begins."""
    config["results"] = str(tmp_path / "results")
    trained = config["experiments"]["trained"]
    trained["extraction"] |= {"protect": True, "jobs": {"train": 2}}
    checkout.write(config)
    datasets = checkout.folder / "results" / "small" / "datasets"
    shutil.copytree(datasets, tmp_path / "results" / "datasets")
    cls = tmp_path / "results/trained/activations" / split / "cls"
    result = checkout.run("--", str(cls / "L8.json"))
    assert result.returncode == 0, result.stderr
    before = {path: path.read_bytes() for path in cls.rglob("*") if path.is_file()}
    trained["extraction"]["passes"] = [{"layers": [2, 5, 8]}]
    checkout.write(config)
    # Permissions mean nothing to root, unless it gives that up.
    mortal = ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override")
    prefix = mortal if os.geteuid() == 0 else ()
    result = checkout.run("--", str(cls / "L5.json"), prefix=prefix)
    assert result.returncode != 0
    assert f"Write-protected output files for rule {rule}" in result.stdout + result.stderr
    assert {path: path.read_bytes() for path in cls.rglob("*") if path.is_file()} == before
    trained["extraction"]["passes"] = [{"layers": [2, 8]}, {"layers": [5]}]
    checkout.write(config)
    assert checkout.run("--", str(cls / "L5.json")).returncode == 0


def test_workflow_proper_and_entry_point_make_the_same(finished):
    """`Snakefile` only names `workflow/Snakefile`, with its default target."""
    plans = [
        finished.planned("--forceall", *arguments)
        for arguments in ((), ("--snakefile", "workflow/Snakefile"))
    ]
    assert plans[0] == plans[1]
    assert plans[0]["tabulate_costs"] == 1


def test_report_shows_figures_and_tables_with_their_captions(finished):
    result = finished.run("--report", "report.html")
    assert result.returncode == 0, result.stdout + result.stderr
    text = (finished.folder / "report.html").read_text()
    for shown in ("scores.png", "metrics.csv", "provenance.json", "how strongly, a vision model"):
        assert shown in text, shown


def test_groups_of_the_slurm_profile_do_not_wait_for_each_other(checkout, config, root):
    """Jobs of a group start together: two groups that need each other never do."""
    config["datasets"]["planted"]["pair_scenes"] = 1
    experiment, tokens = config["experiments"]["trained"], ["cls", "patches"]
    experiment["extraction"]["passes"] = [{"layers": [2, 8], "tokens": tokens}]
    experiment["sweep"]["tokens"] = tokens
    # Networks are compared where there are two.
    other = copy.deepcopy(experiment)
    other["backbone"]["weights"] = "resources/planted_vit_unlabelled/s0.safetensors"
    config["experiments"]["unlabelled"] = other
    sections = ("ablation", "uses", "segmentation", "relevancy", "atlas")
    checkout.write(config | {section: {} for section in sections})
    profile = yaml.safe_load((root / "profiles" / "slurm" / "config.yaml").read_text())
    group = dict(entry.split("=") for entry in profile["groups"])
    result = checkout.run("--rulegraph")
    assert result.returncode == 0, result.stderr
    rule = dict(re.findall(r'(\d+)\[label = "(\w+)"', result.stdout))
    edges = [(rule[a], rule[b]) for a, b in re.findall(r"(\d+) -> (\d+)", result.stdout)]
    assert set(group) <= set(rule.values())
    needs = defaultdict(set)
    for before, after in edges:
        if group.get(before, before) != group.get(after, after):
            needs[group.get(after, after)].add(group.get(before, before))
    assert needs["closing"] >= {"summary"}
    TopologicalSorter(needs).prepare()
