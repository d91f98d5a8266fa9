"""The whole chain on a small planted experiment, and what reruns after each kind of edit.

One finished run in a copy of the checkout serves every test; each test edits the copy, asks
`snakemake -n` what would run, and the edit is undone.
"""

import os
import re
import shutil

import pandas as pd

from checkouts import SMALL
from cladescope.provenance import COLUMNS

# What follows when dictionaries come or go, and when those shown as images change, too.
FIGURES = {
    "plot_scores": 1,
    "plot_surface": 1,
    "plot_recovered_nodes": 1,
    "plot_sensitivity": 1,
    "plot_quality": 1,
}
COSTS = {"tabulate_costs": 1}
GATHERED = {"tabulate": 1, "compare": 1, "contrast_drawn": 1, "tabulate_probes": 1}
RECORD = {"record_provenance": 1, "tabulate_skipped": 1}
TABLES = FIGURES | GATHERED | RECORD | COSTS
SUMMARY = TABLES | {"plot_top_images": 1}
MATCHED = {"match_seeds": 2}
CURVES = {"plot_training_curves": 1}
TRAINED = {"train_sae": 4, "encode": 4, "score_dictionary": 4} | MATCHED | CURVES


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
    early, late = (topk[topk["layer"] == layer].reset_index() for layer in (2, 8))
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


def test_no_change_runs_nothing(checkout):
    assert checkout.planned() == {}


def test_added_width_trains_only_its_dictionaries(checkout, config):
    config["experiments"]["trained"]["sweep"]["variants"]["topk"]["width"] = [48, 96]
    checkout.write(config)
    assert checkout.planned() == TRAINED | SUMMARY


def test_added_seed_trains_only_its_dictionaries(checkout, config):
    config["experiments"]["trained"]["sweep"]["variants"]["topk"]["seed"] = [0, 1]
    checkout.write(config)
    assert checkout.planned() == TRAINED | TABLES


def test_added_variant_trains_only_its_dictionaries(checkout, config):
    config["experiments"]["trained"]["sweep"]["variants"]["pca"] = {}
    checkout.write(config)
    assert checkout.planned() == {
        "train_sae": 2,
        "encode": 2,
        "score_dictionary": 2,
        **TABLES,
    }


def test_layer_added_as_a_pass_extracts_only_that_layer(checkout, config):
    trained = config["experiments"]["trained"]
    trained["extraction"]["passes"] = [{"layers": [2, 8]}, {"layers": [5]}]
    trained["sweep"]["layers"] = [2, 5, 8]
    checkout.write(config)
    assert checkout.planned() == {
        "extract_activations_trained_train_1": 1,
        "extract_activations_trained_eval_1": 1,
        "train_sae": 3,
        "encode": 3,
        "score_dictionary": 3,
        "match_seeds": 1,
        "probe_layer": 1,
        "tabulate_probes": 1,
        **CURVES,
        **TABLES,
    }


def test_token_added_as_a_pass_extracts_only_that_token(checkout, config):
    trained = config["experiments"]["trained"]
    trained["extraction"]["passes"] = [{"layers": [2, 8]}, {"layers": [8], "tokens": ["patches"]}]
    trained["extraction"]["patches"] = {"per_image": 4, "seed": 0}
    checkout.write(config)
    target = "results/small/trained/activations/{}/patches/L8.json"
    targets = [target.format(split) for split in ("train", "eval")]
    assert checkout.planned("--", *targets) == {
        "extract_activations_trained_train_1": 1,
        "extract_activations_trained_eval_1": 1,
    }
    assert checkout.planned() == {}


def test_split_that_is_missing_is_extracted_alone(checkout, tmp_path):
    held_out = checkout.folder / "results/small/trained/activations/eval"
    held_out.rename(tmp_path / "eval")
    try:
        planned = checkout.planned("--", str(held_out.relative_to(checkout.folder) / "cls/L8.json"))
    finally:
        (tmp_path / "eval").rename(held_out)
    assert planned == {"extract_activations_trained_eval_0": 1}


EVERYTHING_AFTER_IMAGES = {
    "extract_activations_trained_train_0": 1,
    "extract_activations_trained_eval_0": 1,
    "train_sae": 6,
    "encode": 6,
    "score_dictionary": 6,
    "probe_layer": 2,
    "tabulate_probes": 1,
    **MATCHED,
    **CURVES,
    **SUMMARY,
}


def test_precision_extracts_again_and_leaves_images_and_taxonomy(checkout, config):
    config["experiments"]["trained"]["extraction"]["precision"] = "float32"
    checkout.write(config)
    assert checkout.planned() == EVERYTHING_AFTER_IMAGES


def test_weights_extract_again_and_leave_images_and_taxonomy(checkout, config):
    config["experiments"]["trained"]["backbone"] = {
        "model": "vit_planted",
        "weights": "random",
        "blocks": 8,
        "seed": 0,
    }
    checkout.write(config)
    assert checkout.planned() == EVERYTHING_AFTER_IMAGES


def test_threads_extract_nothing(checkout, config):
    config["experiments"]["trained"]["extraction"]["threads"] = 2
    checkout.write(config)
    assert checkout.planned() == {}


def test_protected_pass_cannot_be_edited_in_place(checkout, config, tmp_path):
    config["results"] = str(tmp_path / "results")
    trained = config["experiments"]["trained"]
    trained["extraction"]["protect"] = True
    checkout.write(config)
    datasets = checkout.folder / "results" / "small" / "datasets"
    shutil.copytree(datasets, tmp_path / "results" / "datasets")
    cls = tmp_path / "results/trained/activations/eval/cls"
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
    message = "Write-protected output files for rule extract_activations_trained_eval_0"
    assert message in result.stdout + result.stderr
    assert {path: path.read_bytes() for path in cls.rglob("*") if path.is_file()} == before
    trained["extraction"]["passes"] = [{"layers": [2, 8]}, {"layers": [5]}]
    checkout.write(config)
    assert checkout.run("--", str(cls / "L5.json")).returncode == 0


def test_regrouped_passes_run_nothing(checkout, config):
    config["experiments"]["trained"]["extraction"]["passes"] = [{"layers": [8]}, {"layers": [2]}]
    checkout.write(config)
    assert checkout.planned() == {}


def test_dropped_sparsity_remakes_tables_and_figures(checkout, config):
    config["experiments"]["trained"]["sweep"]["variants"]["topk"]["sparsity"] = [4]
    checkout.write(config)
    assert checkout.planned() == MATCHED | CURVES | TABLES


def test_figure_format_redraws_figures(checkout, config):
    config["figures"]["formats"] = ["png", "svg"]
    checkout.write(config)
    assert checkout.planned() == FIGURES | CURVES | COSTS | {"plot_top_images": 1}


def test_figure_resolution_redraws_figures(checkout, config):
    config["figures"]["dpi"] = 100
    checkout.write(config)
    assert checkout.planned() == FIGURES | CURVES | COSTS | {"plot_top_images": 1}


def test_scoring_option_rescores_without_training(checkout, config):
    config["scores"]["top_n"] = 6
    checkout.write(config)
    assert checkout.planned() == {"score_dictionary": 6} | SUMMARY


def test_comments_and_docstrings_rerun_nothing(checkout):
    checkout.edit("scores.py", '"""', '"""Some other words. ')
    checkout.edit("variants/loop.py", "def train(", "# a remark\ndef train(")
    checkout.edit("store.py", "import math\n", "import math  # for ceil\n")
    assert checkout.planned() == {}


def test_code_that_scoring_reaches_rescores_without_training(checkout):
    checkout.edit("locating.py", "    even = ", "    _ = 0\n    even = ")
    assert checkout.planned() == {"score_dictionary": 6} | SUMMARY


def test_code_that_nothing_reaches_reruns_nothing(checkout):
    checkout.edit("locating.py", "def locate(", "def unused() -> None: ...\n\n\ndef locate(")
    assert checkout.planned() == {}


def test_code_that_reads_activations_retrains_without_extraction(checkout):
    checkout.edit(
        "store.py", "    manifest = Path(manifest)\n", "    manifest = Path(str(manifest))\n"
    )
    assert checkout.planned() == {
        "train_sae": 6,
        "encode": 6,
        "score_dictionary": 6,
        "probe_layer": 2,
        "tabulate_probes": 1,
        **MATCHED,
        **CURVES,
        **SUMMARY,
    }


def test_code_that_writes_activations_extracts_again(checkout):
    checkout.edit(
        "store_writer.py",
        "        content = values.tobytes()",
        "        content = bytes(values.data)",
    )
    planned = checkout.planned()
    for split in ("train", "eval"):
        assert planned[f"extract_activations_trained_{split}_0"] == 1
    assert not planned.keys() & {"render_planted", "index_images", "build_taxonomy"}


def test_code_that_training_reaches_retrains_without_extraction(checkout):
    checkout.edit("variants/loop.py", "LOGGED_STEPS = 100", "LOGGED_STEPS = 50")
    assert checkout.planned() == TRAINED | SUMMARY


def test_code_of_one_figure_redraws_that_figure(checkout):
    checkout.edit("figures/top_images.py", "SHOWN_LATENTS = 10", "SHOWN_LATENTS = 5")
    assert checkout.planned() == {"plot_top_images": 1} | COSTS


def test_code_of_all_figures_redraws_them(checkout):
    checkout.edit("figures/base.py", 'context="paper"', 'context="talk"')
    assert checkout.planned() == FIGURES | CURVES | COSTS | {"plot_top_images": 1}


def test_command_line_overrides_the_configuration(checkout):
    assert checkout.planned("--config", "scores={top_n: 6}") == {"score_dictionary": 6} | SUMMARY


def test_touched_files_with_the_same_content_rerun_nothing(checkout):
    for name in ("datasets/planted/images/train.parquet", "trained/activations/train/cls/L8.json"):
        (checkout.folder / "results" / "small" / name).touch()
    assert checkout.planned() == {}
