"""What reruns after each kind of edit: docs/incremental.md, row by row.

On the small experiment, which has run once (`finished`). Each test edits the configuration or the
code, asks `snakemake -n` what would run, and the edit is undone.
"""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from checkouts import ALL_FIGURES, COSTS, CURVES, SMALL, SUMMARY, TABLES, dictionaries, edit

MATCHED = {"match_seeds": 2}
PROBED = {"probe_layer": 2}
EXTRACTED = {f"extract_activations_trained_{split}_0": 1 for split in ("train", "eval")}
FROM_ACTIVATIONS = dictionaries(6) | PROBED | MATCHED | CURVES | SUMMARY
FROM_IMAGES = EXTRACTED | FROM_ACTIVATIONS
INDEXED = {"index_images": 2, "build_taxonomy": 1}
TRAINED = dictionaries(4) | MATCHED | CURVES

TOPK = "experiments.trained.sweep.variants.topk"
LAYERS = "experiments.trained.sweep.layers"
PASSES = "experiments.trained.extraction.passes"
VARIANTS = "experiments.trained.sweep.variants"
NEUTRAL = {
    "nothing": {},
    "passes regrouped": {PASSES: [{"layers": [8]}, {"layers": [2]}]},
    "threads": {"experiments.trained.extraction.threads": 2},
    "extraction by several jobs": {"experiments.trained.extraction.jobs": {"train": 2}},
    "passes regrouped, by several jobs": {
        PASSES: [{"layers": [8]}, {"layers": [2]}],
        "experiments.trained.extraction.jobs": {"train": 2},
    },
    "token extracted that no dictionary uses": {
        PASSES: [{"layers": [2, 8]}, {"layers": [8], "tokens": ["patches"]}],
        "experiments.trained.extraction.patches": {"per_image": 4, "seed": 0},
    },
    "sites left out written out": {
        PASSES: [{"layers": [2, 8], "sites": ["residual"]}],
        "experiments.trained.sweep.sites": ["residual"],
    },
}
EDITS = {
    "layer added as a pass": (
        {PASSES: [{"layers": [2, 8]}, {"layers": [5]}], LAYERS: [2, 5, 8]},
        {f"extract_activations_trained_{split}_1": 1 for split in ("train", "eval")}
        | dictionaries(3)
        | {"match_seeds": 1, "probe_layer": 1}
        | CURVES
        | TABLES,
    ),
    "site added as a pass": (
        {
            PASSES: [{"layers": [2, 8]}, {"layers": [2, 8], "sites": ["mlp"]}],
            "experiments.trained.sweep.sites": ["residual", "mlp"],
        },
        {f"extract_activations_trained_{split}_1": 1 for split in ("train", "eval")}
        | dictionaries(6)
        | MATCHED
        | PROBED
        | CURVES
        | TABLES,
    ),
    "layer added to a finished pass": (
        {PASSES: [{"layers": [2, 5, 8]}], LAYERS: [2, 5, 8]},
        EXTRACTED | dictionaries(9) | {"match_seeds": 3, "probe_layer": 3} | CURVES | SUMMARY,
    ),
    "layer dropped": ({LAYERS: [8]}, CURVES | TABLES),
    "width added": ({f"{TOPK}.width": [48, 96]}, TRAINED | SUMMARY),
    "width changed": ({f"{TOPK}.width": [96]}, TRAINED | SUMMARY),
    "sparsity added": (
        {f"{TOPK}.sparsity": [2, 4, 8]},
        dictionaries(2) | MATCHED | CURVES | SUMMARY,
    ),
    "sparsity dropped": ({f"{TOPK}.sparsity": [4]}, MATCHED | CURVES | TABLES),
    "variant added": ({f"{VARIANTS}.pca": {}}, dictionaries(2) | TABLES),
    "supervised variant added": (
        {f"{VARIANTS}.node_means": {"sparsity": [2]}},
        dictionaries(2) | TABLES,
    ),
    "variant dropped": (
        {VARIANTS: {"topk": SMALL["experiments"]["trained"]["sweep"]["variants"]["topk"]}},
        TABLES,
    ),
    "seed added": ({f"{TOPK}.seed": [0, 1]}, TRAINED | TABLES),
    "precision": ({"experiments.trained.extraction.precision": "float32"}, FROM_IMAGES),
    "weights": (
        {
            "experiments.trained.backbone": {
                "model": "vit_planted",
                "weights": "random",
                "blocks": 8,
                "seed": 0,
            }
        },
        FROM_IMAGES,
    ),
    "training": ({"training.batch_size": 128}, TRAINED | SUMMARY),
    "top-N": ({"scores.top_n": 6}, {"score_dictionary": 6} | SUMMARY),
    "null draws": ({"scores.null_draws": 6}, {"score_dictionary": 6} | SUMMARY),
    "probes": ({"probes.neighbours": 5}, PROBED | TABLES),
    "figure format": ({"figures.formats": ["png", "svg"]}, ALL_FIGURES),
    "figure resolution": ({"figures.dpi": 100}, ALL_FIGURES),
    "pairs added": (
        {"datasets.planted.pair_scenes": 1},
        {"render_pairs": 1, "index_pairs": 1, "extract_activations_trained_pairs_0": 1}
        | {"score_pairs": 6, "tabulate_pairs": 1, "plot_pairs": 1, "write_evidence": 1}
        | COSTS,
    ),
    "images of one split": (
        {"datasets.planted.images_per_class": {"train": 16, "eval": 17}},
        {"render_planted": 1, "index_images": 1, "build_taxonomy": 1}
        | {"extract_activations_trained_eval_0": 1, "encode": 6, "score_dictionary": 6}
        | PROBED
        | SUMMARY,
    ),
}


@pytest.mark.parametrize("name", NEUTRAL)
def test_edits_that_rerun_nothing(checkout, name):
    checkout.write(edit(SMALL, NEUTRAL[name]))
    assert checkout.planned() == {}


@pytest.mark.parametrize("name", EDITS)
def test_edit_of_the_configuration(checkout, name):
    changes, expected = EDITS[name]
    checkout.write(edit(SMALL, changes))
    assert checkout.planned() == expected


EXTRACTION_JOBS = "experiments.trained.extraction.jobs"


def by_two_jobs(expected):
    """The same with the training images' extraction spread over two jobs and a join."""
    counts = {}
    for rule, count in expected.items():
        if rule.startswith("extract_activations_trained_train"):
            job = rule.removeprefix("extract_activations")
            counts |= {f"extract_shards{job}": 2, f"join_shards{job}": 1}
        else:
            counts[rule] = count
    return counts


@pytest.mark.parametrize("name", EDITS)
def test_edit_of_the_configuration_with_several_extraction_jobs(checkout, name):
    changes, expected = EDITS[name]
    checkout.write(edit(SMALL, {EXTRACTION_JOBS: {"train": 2}} | changes))
    assert checkout.planned() == by_two_jobs(expected)


def test_number_of_extraction_jobs_recomputes_nothing_whatever_came_before(
    checkout, config, tmp_path
):
    """Not even if an earlier run with that number of jobs was made from something else."""
    config["results"] = str(tmp_path / "results")
    extraction = config["experiments"]["trained"]["extraction"]
    extraction["shards"]["train"] = 4
    datasets = checkout.folder / "results" / "small" / "datasets"
    shutil.copytree(datasets, tmp_path / "results" / "datasets")
    manifest = str(tmp_path / "results/trained/activations/train/cls/L8.json")

    def planned(jobs):
        extraction["jobs"] = {"train": jobs}
        checkout.write(config)
        return checkout.planned("--", manifest)

    def run(jobs):
        assert planned(jobs), "there is something to do"
        result = checkout.run("--", manifest)
        assert result.returncode == 0, result.stdout + result.stderr

    run(3)
    assert [planned(jobs) for jobs in (1, 2, 3, 4)] == [{}] * 4
    extraction["precision"] = "float32"
    again = {"extract_shards_trained_train_0": 2, "join_shards_trained_train_0": 1}
    assert planned(2) == again
    run(1)
    (tmp_path / "results/datasets/planted/images/train.parquet").touch()
    assert [planned(jobs) for jobs in (1, 2, 3, 4)] == [{}] * 4
    checkout.change("activations/extract.py", "join_shards")
    assert planned(1) == {"extract_activations_trained_train_0": 1}
    assert planned(2) == again
    touched = checkout.run("--touch", "--forceall", "--", manifest)
    assert touched.returncode == 0, touched.stdout + touched.stderr
    assert [planned(jobs) for jobs in (1, 2, 3, 4)] == [{}] * 4
    Path(manifest).unlink()
    run(4)
    assert [planned(jobs) for jobs in (1, 2, 3, 4)] == [{}] * 4


CODE = {
    ("planted/rendering.py", "render_split"): {"render_planted": 2} | INDEXED | FROM_IMAGES,
    ("images/indexing.py", "index_images"): INDEXED | FROM_IMAGES,
    ("taxonomy/wordnet.py", "build_taxonomy"): (
        {"build_taxonomy": 1, "score_dictionary": 6} | PROBED | SUMMARY
    ),
    ("activations/writer.py", "finish"): FROM_IMAGES,
    ("activations/store.py", "gather"): FROM_ACTIVATIONS,
    ("dictionaries/training/loop.py", "train"): TRAINED | SUMMARY,
    ("codes/encode.py", "encode"): {"encode": 6, "score_dictionary": 6} | SUMMARY,
    ("scores/lch.py", "lowest_common"): {"score_dictionary": 6} | SUMMARY,
    ("scores/recurrence.py", "match_seeds"): MATCHED | TABLES,
    ("scores/probes.py", "probe_layer"): PROBED | TABLES,
    ("summary/trends.py", "over_depth"): TABLES,
    ("summary/figures/top_images.py", "plot_top_images"): {"plot_top_images": 1} | COSTS,
    ("summary/figures/base.py", "set_style"): ALL_FIGURES,
}


@pytest.mark.parametrize(("module", "function"), CODE)
def test_edit_of_the_code_of_a_stage(checkout, module, function):
    checkout.change(module, function)
    assert checkout.planned() == CODE[module, function]


@pytest.mark.parametrize("sharing", [1, 2])
def test_only_what_reads_the_taxonomy_follows_it(checkout, sharing):
    """Of the variants node means alone; class means read the images' index, all others neither."""
    means = {"sparsity": [2]}
    changes = {f"{VARIANTS}.class_means": means, f"{VARIANTS}.node_means": means, LAYERS: [8]}
    changes |= {"experiments.trained.sweep.dictionaries_per_job": sharing}
    checkout.write(edit(SMALL, changes))
    folder = "results/small/trained/dictionaries/cls/L8"
    names = ("topk/w48_k2_s0", "neurons/full", "class_means/k2", "node_means/k2")
    weights = [f"{folder}/{name}/sae.safetensors" for name in names]
    result = checkout.run("--", *weights)
    assert result.returncode == 0, result.stdout + result.stderr
    assert checkout.planned("--", *weights) == {}
    taxonomy = checkout.folder / "results/small/datasets/planted/taxonomy.parquet"
    table = pq.read_table(taxonomy)
    renamed = pa.array([f"{name} renamed" for name in table["name"].to_pylist()])
    place = table.column_names.index("name")
    pq.write_table(table.set_column(place, "name", renamed), taxonomy)
    assert checkout.planned("--", *weights) == {"train_sae": 1}


def test_comments_docstrings_and_code_that_nothing_reaches(checkout):
    checkout.edit("scores/score.py", '"""', '"""Some other words. ')
    checkout.edit("dictionaries/training/loop.py", "def train(", "# a remark\ndef train(")
    checkout.edit("activations/store.py", "import math\n", "import math  # for ceil\n")
    checkout.edit("scores/lch.py", "def locate(", "def unused() -> None: ...\n\n\ndef locate(")
    assert checkout.planned() == {}


def test_other_locked_packages_are_recorded_and_nothing_computed(checkout):
    lock = checkout.folder / "envs" / "requirements.txt"
    before = lock.read_bytes()
    lock.write_bytes(before + b"# upgraded\n")
    try:
        assert checkout.planned() == TABLES
    finally:
        lock.write_bytes(before)


def test_command_line_overrides_the_configuration(checkout):
    assert checkout.planned("--config", "scores={top_n: 6}") == {"score_dictionary": 6} | SUMMARY


def test_touched_files_with_the_same_content_rerun_nothing(checkout):
    for name in ("datasets/planted/images/train.parquet", "trained/activations/train/cls/L8.json"):
        (checkout.folder / "results" / "small" / name).touch()
    assert checkout.planned() == {}


def test_touch_accepts_a_change_of_code(checkout):
    checkout.change("codes/encode.py", "encode")
    assert checkout.planned()["encode"] == 6
    touched = checkout.run("--touch", "--forceall")
    assert touched.returncode == 0, touched.stdout + touched.stderr
    assert checkout.planned() == {}


def test_split_that_is_missing_is_extracted_alone(checkout, tmp_path):
    held_out = checkout.folder / "results/small/trained/activations/eval"
    held_out.rename(tmp_path / "eval")
    try:
        planned = checkout.planned("--", str(held_out.relative_to(checkout.folder) / "cls/L8.json"))
    finally:
        (tmp_path / "eval").rename(held_out)
    assert planned == {"extract_activations_trained_eval_0": 1}


# Several dictionaries in a job.

SHARING = {"experiments.trained.sweep.dictionaries_per_job": 4}


def test_sharing_jobs_trains_nothing(checkout):
    """Jobs that share have other inputs: they run, and take what is kept."""
    checkout.write(edit(SMALL, SHARING))
    planned = checkout.planned()
    assert planned == {"encode": 2, "score_dictionary": 2} | SUMMARY
    checkout.write(edit(SMALL, SHARING | {"training.batch_size": 128}))
    assert checkout.planned()["train_sae"] == 2


@pytest.mark.parametrize("name", EDITS)
def test_edit_of_the_configuration_with_shared_jobs(checkout, name):
    """The same rules run, for fewer jobs, beside those that sharing itself runs again."""
    changes, expected = EDITS[name]
    checkout.write(edit(SMALL, SHARING | changes))
    planned = checkout.planned()
    again = {"encode", "score_dictionary"} | SUMMARY.keys()
    assert expected.keys() <= planned.keys() <= expected.keys() | again
    for rule in planned.keys() - {"encode", "score_dictionary"}:
        assert planned[rule] <= expected.get(rule, 1)


def test_shared_jobs_make_only_what_is_new(checkout):
    """And leave the other dictionaries as they are, though Snakemake has deleted them."""
    folder = checkout.folder / "results/small/trained/dictionaries"
    grid = {f"{TOPK}.sparsity": [2, 4, 8], f"{VARIANTS}.pca": {}}
    # From a first shared run on: what it keeps has second names in this folder.
    checkout.write(edit(SMALL, SHARING | {"training.batch_size": 128}))
    result = checkout.run("--", "scores")
    assert result.returncode == 0, result.stdout + result.stderr

    def files():
        found = (path for path in folder.rglob("[!.]*") if path.is_file())
        return {path: path.stat().st_ino for path in found}

    before = files()
    contents = {path: path.read_bytes() for path in before}
    checkout.write(edit(SMALL, SHARING | {"training.batch_size": 128} | grid))
    result = checkout.run("--", "scores")
    assert result.returncode == 0, result.stdout + result.stderr
    after = files()
    assert {path: after[path] for path in before} == before
    assert all(path.read_bytes() == content for path, content in contents.items())
    new = {path.relative_to(folder).parts[1:4:2] for path in after.keys() - before.keys()}
    assert new == {(layer, name) for layer in ("L2", "L8") for name in ("w48_k8_s0", "full")}
    assert checkout.planned("--", "scores") == {}
