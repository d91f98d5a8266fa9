"""Where numbers come from: the record of an experiment and the columns in every table."""

import copy
import json
import re
import shutil
import subprocess

import pandas as pd
import pytest

from checkouts import SMALL
from cladescope.config import complete_config
from cladescope.provenance.identity import plan_record
from cladescope.provenance.record import (
    COLUMNS,
    combine,
    describe_checkout,
    describe_environment,
    read_records,
    stamp,
)

TABLES = (
    "metrics.csv",
    "latents.csv.gz",
    "nodes.csv.gz",
    "relations.csv.gz",
    "edges.csv.gz",
    "sensitivity.csv.gz",
    "seeds.csv",
    "trends.csv",
    "comparisons.csv",
    "gains.csv",
    "sizes.csv.gz",
    "probes.csv",
    "probe_nodes.csv",
    "drawn.csv",
)


@pytest.mark.parametrize("name", TABLES)
def test_every_row_of_every_table_says_what_made_it(finished, name):
    results = finished.folder / "results" / "small"
    table = pd.read_csv(results / "tables" / name, dtype=str)
    assert [*table.columns[-len(COLUMNS) :]] == [*COLUMNS]
    # The copy is no git repository; probes have no dictionary.
    empty = {"git_commit", "git_dirty"}
    if name.startswith("probe"):
        empty |= {"trained_on", "encoded_on", "scored_on"}
    assert {column for column in COLUMNS if table[column].isna().any()} <= empty
    assert table["extracted_on"].str.endswith(("thread", "threads")).all()


def test_columns_lead_to_the_record(finished):
    results = finished.folder / "results" / "small"
    about = json.loads((results / "trained" / "provenance.json").read_text())
    # A hash of digits and an e would be read as a number.
    texts = {column: str for column in COLUMNS if column.endswith("sha256")}
    metrics = pd.read_csv(results / "tables" / "metrics.csv", dtype=texts).set_index("dictionary")
    for folder, row in about["dictionaries"].items():
        shown = metrics.loc[folder, [*COLUMNS]]
        assert shown.where(shown.notna(), None).to_dict() == row
    manifest = results / "trained" / "activations" / "train" / "cls" / "L8.json"
    weights = json.loads(manifest.read_text())["made_from"]["weights_sha256"]
    assert set(metrics["weights_sha256"]) == {weights}
    assert about["environment"]["not_as_locked"] == {}
    assert about["stores"].keys() == {
        f"{split}/cls/L{layer}" for split in ("train", "eval") for layer in (2, 8)
    }


def test_docs_define_the_columns_and_those_of_the_costs(finished, root):
    text = (root / "docs" / "reproducibility.md").read_text()
    sections = {part.splitlines()[0]: part for part in text.split("\n## ")}
    documented = {
        title: re.findall(r"^\| `([^`]*)` \|", part, flags=re.MULTILINE)
        for title, part in sections.items()
    }
    assert documented["Columns"] == [*COLUMNS]
    costs = pd.read_csv(finished.folder / "results" / "small" / "tables" / "costs.csv")
    assert [*costs.columns] == documented["Costs"] + documented["Columns"]


def test_all_tables_are_tested(finished):
    tables = {path.name for path in (finished.folder / "results/small/tables").glob("[!.]*")}
    assert tables - {"skipped_images.csv", "costs.csv", "evidence.md"} == {*TABLES}


# Identity of a dictionary's configuration.


def identities(change=lambda config: None) -> dict[str, str]:
    config = copy.deepcopy(SMALL)
    change(config)
    return plan_record(complete_config(config), "trained")["dictionaries"]


def test_identity_changes_with_what_a_dictionary_depends_on_alone():
    before = identities()
    neurons = "trained/dictionaries/cls/L8/neurons/full"
    assert len(set(before.values())) == len(before)

    def retrain(config):
        config["training"]["images"] *= 2

    after = identities(retrain)
    assert {folder for folder in before if before[folder] != after[folder]} == {
        folder for folder in before if "/topk/" in folder
    }

    def rescore(config):
        config["scores"]["null_draws"] += 1

    after = identities(rescore)
    assert not {*before.values()} & {*after.values()}

    def add(config):
        config["experiments"]["trained"]["sweep"]["variants"]["topk"]["seed"].append(1)

    after = identities(add)
    assert after.items() >= before.items()

    def prefixes(config):
        grid = {"width": [48], "sparsity": [2], "seed": [0], "prefixes": [0.5]}
        config["experiments"]["trained"]["sweep"]["variants"]["matryoshka"] = grid

    def defaults(config):
        prefixes(config)
        del config["experiments"]["trained"]["sweep"]["variants"]["matryoshka"]["prefixes"]

    told, untold = identities(prefixes), identities(defaults)
    assert {folder for folder in told if told[folder] != untold[folder]} == {
        folder for folder in told if "/matryoshka/" in folder
    }
    assert untold.items() >= before.items()

    def move(config):
        config["experiments"]["trained"]["backbone"]["weights"] = "elsewhere.safetensors"
        config["results"] = "elsewhere"

    assert identities(move) == before
    assert neurons in before


# Rows that were made from several.


def rows(**columns) -> pd.DataFrame:
    filled = {column: ["x", "x"] for column in COLUMNS} | columns
    return pd.DataFrame(filled)


def test_combining_keeps_what_is_the_same_and_hashes_what_differs():
    both = combine(
        rows(
            config_sha256=["a", "b"],
            git_dirty=[True, False],
            trained_on=["B, 1 thread", "A, 1 thread"],
            scored_on=[None, "A, 1 thread"],
        )
    )
    assert both["code_sha256"] == "x"
    assert both["git_dirty"] is True
    assert both["trained_on"] == "A, 1 thread / B, 1 thread"
    assert both["scored_on"] == "A, 1 thread"
    swapped = combine(rows(config_sha256=["b", "a"]))
    assert both["config_sha256"] == swapped["config_sha256"] not in ("a", "b")


def test_stamping_matches_missing_values():
    made = rows(config_sha256=["a", "b"]).assign(width=[32, 64], sparsity=[None, 4.0])
    table = pd.DataFrame({"width": [64.0, 32.0], "sparsity": [4.0, float("nan")]})
    assert stamp(table, made, ["width", "sparsity"])["config_sha256"].tolist() == ["b", "a"]


# Checkout and environment.


def test_a_checkout_says_its_commit_and_whether_it_was_changed(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", "-C", tmp_path, *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert describe_checkout(tmp_path) == {"git_commit": None, "git_dirty": None}
    git("init", "--quiet")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "--quiet", "-m", "a")
    commit = git("rev-parse", "HEAD")
    assert describe_checkout(tmp_path) == {"git_commit": commit, "git_dirty": False}
    (tmp_path / "a").write_text("2")
    assert describe_checkout(tmp_path) == {"git_commit": commit, "git_dirty": True}
    (tmp_path / "copy").mkdir()
    assert describe_checkout(tmp_path / "copy")["git_commit"] is None


def test_configurations_of_ones_own_do_not_change_a_checkout(root, tmp_path):
    for ignored in (".gitignore", "config/own/.gitignore"):
        (tmp_path / ignored).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / ignored, tmp_path / ignored)
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "a"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", tmp_path, *identity, *command], check=True)
    (tmp_path / "config/own/my.yaml").write_text("results: results/mine")
    (tmp_path / "elsewhere").mkdir()
    # Results on another disk.
    (tmp_path / "results").symlink_to(tmp_path / "elsewhere")
    assert describe_checkout(tmp_path)["git_dirty"] is False
    (tmp_path / "my.yaml").write_text("results: results/mine")
    assert describe_checkout(tmp_path)["git_dirty"] is True


def test_an_environment_that_is_not_the_lock_is_told(tmp_path):
    lock = tmp_path / "requirements.txt"
    lock.write_text("numpy==0.1 \\\n    --hash=sha256:00\nno-such-package==1 ; os_name == 'x'\n")
    found = describe_environment(lock)
    pinned, installed = found["not_as_locked"]["numpy"]
    assert pinned == "0.1"
    assert installed == found["packages"]["numpy"]
    assert found["not_as_locked"].keys() == {"numpy"}


def test_records_hold_dictionaries_and_places(finished):
    record = finished.folder / "results" / "small" / "trained" / "provenance.json"
    made = read_records([record])
    assert {"trained/cls/L2", "trained/cls/L8"} < {*made.index}
    assert pd.isna(made.loc["trained/cls/L2", "scored_on"])
