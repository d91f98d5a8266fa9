import copy
import re
import subprocess
import sys
from collections import Counter

import pytest
import timm
import yaml

from cladescope.config import ConfigError, complete_config, index_spec
from cladescope.images.sources import make_source
from cladescope.images.sources.huggingface import HuggingFace
from cladescope.images.sources.webdataset import WebDataset
from cladescope.provenance.identity import plan_record
from cladescope.schema import load_schema
from cladescope.sections import (
    ablated_dictionaries,
    positioned_dictionaries,
    segmented_dictionaries,
    shown_dictionary,
    used_dictionaries,
)
from cladescope.sweep import (
    TRAINED,
    expand_packs,
    expand_passes,
    expand_sweep,
    variant_options,
)

SPLITS = {"train": "a", "eval": "b"}


def faults_of(config: dict) -> str:
    with pytest.raises(ConfigError) as error:
        complete_config(config)
    return str(error.value)


def test_shipped_configurations_are_valid(root):
    paths = [*(root / "config").glob("*.yaml")]
    assert len(paths) > 10
    for path in paths:
        assert expand_sweep(complete_config(yaml.safe_load(path.read_text()))), path.name


@pytest.mark.parametrize("name", ["planted", "imagenet", "real"])
def test_every_compared_network_has_a_random_twin_at_its_deepest_layer(root, name):
    path = root / "config" / f"architectures_{name}.yaml"
    config = complete_config(yaml.safe_load(path.read_text()))
    places = {}
    for entry in expand_sweep(config):
        backbone = config["experiments"][entry.experiment]["backbone"]
        kind = "random" if backbone["weights"] == "random" else "trained"
        architecture = backbone["model"].partition(".")[0]
        places.setdefault(kind, set()).add((architecture, entry.token, entry.layer))
        if backbone["weights"] == "pretrained":
            assert timm.is_model_pretrained(backbone["model"])
    assert places["random"] <= places["trained"]
    deepest = {max(p for p in places["trained"] if p[0] == name) for name, *_ in places["trained"]}
    assert deepest <= places["random"]


def test_the_evidence_has_five_seeds_of_every_control_in_few_jobs(root, default_config):
    config = yaml.safe_load((root / "config" / "evidence_planted.yaml").read_text())
    config = complete_config(config)
    kinds = Counter((d.experiment, d.layer, d.variant, d.sparsity) for d in expand_sweep(config))
    told = {("class_means", 8): 1, ("node_means", 8): 1, ("neurons", None): 1, ("pca", None): 1}
    once = ("likeness", "start", "random", "frozen_decoder", "frozen_encoder", "soft_frozen")
    seeded = {(variant, 8): 5 for variant in (*once, "topk", "tree", "kmeans")}
    denser = {(variant, 16): 5 for variant in ("topk", "tree", "kmeans")}
    assert kinds == {
        ("trained", layer, *kind): seeds
        for layer in (1, 2, 4, 6, 8)
        for kind, seeds in {**told, **seeded, **denser}.items()
    } | {("random", layer, kind, 8): 5 for layer in (1, 4, 8) for kind in ("topk", "kmeans")}
    assert len(expand_packs(config, by_variant=False)) == 8
    # The demo's seeds are among these, trained and scored in the same way.
    default = complete_config(default_config)
    assert config["training"] == default["training"] and config["scores"] == default["scores"]


def test_the_comparison_of_methods_has_every_variant_at_one_width(root):
    for name in ("methods_planted.yaml", "methods_real.yaml"):
        config = complete_config(yaml.safe_load((root / "config" / name).read_text()))
        kinds = Counter((d.layer, d.variant, d.width, d.sparsity) for d in expand_sweep(config))
        layers = config["experiments"]["trained"]["sweep"]["layers"]
        for variant in {*TRAINED, "start", "random", "kmeans"} - {"relu"}:
            assert {kinds[layer, variant, 256, k] for layer in layers for k in (8, 16)} == {5}


def test_unknown_key_names_the_nearest(default_config):
    default_config["scores"]["top_m"] = 3
    message = faults_of(default_config)
    assert "scores: unknown key 'top_m'; did you mean 'top_n'?" in message


def test_prefixes_are_shares_below_one_and_of_matryoshka_alone(default_config):
    variants = default_config["experiments"]["trained"]["sweep"]["variants"]
    grid = {"width": [48], "sparsity": [2], "seed": [0]}
    variants["matryoshka"] = {**grid, "prefixes": [0.5, 1]}
    variants["batchtopk"] = {**grid, "prefixes": [0.5]}
    message = faults_of(default_config)
    assert "variants.matryoshka.prefixes" in message
    assert "variants.batchtopk: unknown key 'prefixes'" in message
    del variants["batchtopk"]
    variants["matryoshka"]["prefixes"] = [0.5, 0.1]
    config = complete_config(default_config)
    assert variant_options(config, "trained", "matryoshka") == {"prefixes": [0.5, 0.1]}
    assert variant_options(config, "trained", "topk") == {}


def test_variants_with_a_bound_of_their_own_say_it(default_config):
    variants = default_config["experiments"]["trained"]["sweep"]["variants"]
    grid = {"width": [64], "sparsity": [4, 16], "seed": [0]}
    variants["hsae"] = {**grid, "sparsity": [17]}
    variants["hierarchical_topk"] = {**grid, "k_max": 8}
    message = faults_of(default_config)
    assert "hsae.sparsity: 17 exceeds the quarter of the width 64; the largest valid k is 16" in (
        message
    )
    assert "hierarchical_topk.k_max: 8 must be the largest sparsity, 16, or more" in message
    variants["hsae"] = {**grid, "width": [60]}
    assert "variants.hsae.width" in faults_of(default_config)
    variants["hsae"], variants["hierarchical_topk"] = grid, {**grid, "k_max": 64}
    assert complete_config(default_config)
    variants["hierarchical_topk"]["k_max"] = 65
    assert "and at most the width 64" in faults_of(default_config)


def test_unknown_key_below_a_named_experiment(default_config):
    default_config["experiments"]["trained"]["backbone"]["wieghts"] = "random"
    message = faults_of(default_config)
    assert "experiments.trained.backbone: unknown key 'wieghts'; did you mean 'weights'?" in message


def test_wrong_type_names_key_and_value(default_config):
    default_config["scores"]["top_n"] = "many"
    assert "scores.top_n: 'many' should be of type integer" in faults_of(default_config)


def test_unknown_choice_names_the_nearest(default_config):
    default_config["figures"]["formats"] = ["pgn"]
    message = faults_of(default_config)
    assert "figures.formats.0: 'pgn' is not allowed; did you mean 'png'?" in message


def test_unknown_variant_names_the_nearest(default_config):
    variants = default_config["experiments"]["trained"]["sweep"]["variants"]
    variants["top_k"] = variants.pop("topk")
    assert "unknown key 'top_k'; did you mean 'topk'?" in faults_of(default_config)


def test_layer_out_of_range_names_the_nearest_valid_one(default_config):
    default_config["experiments"]["trained"]["extraction"]["passes"] = [{"layers": [1, 9]}]
    message = faults_of(default_config)
    assert "layer 9 is out of range; vit_planted has blocks 1 to 8" in message
    assert "the nearest valid value is 8" in message


def test_swept_layer_beyond_the_model(default_config):
    default_config["experiments"]["trained"]["sweep"]["layers"] = [12]
    message = faults_of(default_config)
    assert "experiments.trained.sweep.layers: layer 12 is out of range" in message
    assert "add a pass" not in message


def test_shares_of_zero_are_refused(default_config):
    default_config["scores"]["rho"] = 0
    assert "scores.rho: 0 is out of range; it must be above 0" in faults_of(default_config)


def test_layer_zero_is_out_of_range(default_config):
    default_config["experiments"]["trained"]["sweep"]["layers"] = [0]
    message = faults_of(default_config)
    assert (
        "experiments.trained.sweep.layers.0: 0 is out of range; the nearest valid value is 1"
        in (message)
    )


def test_layer_without_a_pass(default_config):
    default_config["experiments"]["trained"]["sweep"]["layers"] = [1, 3]
    message = faults_of(default_config)
    assert "layer 3, token cls is in no pass" in message
    assert "add a pass {layers: [3], tokens: [cls]}" in message


def test_token_without_a_pass(default_config):
    """What tokens are where they are left out has to be said where they are left out once."""
    default_config["experiments"]["trained"]["extraction"]["passes"] = [
        {"layers": [1, 2, 4, 6, 8], "tokens": ["mean"]}
    ]
    message = faults_of(default_config)
    assert "layer 4, token cls is in no pass of experiments.trained.extraction.passes" in message
    assert "or set experiments.trained.sweep.tokens to some of ['mean']" in message
    assert "tokens that are left out are [cls]" in message


def test_modules_are_counted(default_config):
    backbone = default_config["experiments"]["trained"]["backbone"]
    backbone |= {"modules": ["a", "b"]}
    assert "experiments.trained.backbone.blocks: not the number of modules" in faults_of(
        default_config
    )
    del backbone["blocks"]
    default_config["experiments"]["trained"]["extraction"]["passes"] = [{"layers": "all"}]
    default_config["experiments"]["trained"]["sweep"]["layers"] = [2]
    default_config |= {"ablation": {}, "uses": {}}
    completed = complete_config(default_config)["experiments"]["trained"]
    assert completed["backbone"]["blocks"] == 2
    assert completed["extraction"]["passes"][0]["layers"] == [1, 2]


def test_options_that_are_not_set_stay_absent(default_config):
    """What is not asked for must be in no parameter of a rule: it would compute all again."""
    backbone = complete_config(default_config)["experiments"]["trained"]["backbone"]
    assert set(backbone) == {"model", "weights", "blocks"}


def test_layer_in_two_passes(default_config):
    default_config["experiments"]["trained"]["extraction"]["passes"] = [
        {"layers": [1, 2, 4, 6, 8]},
        {"layers": [4]},
    ]
    assert "layer 4, token cls is in an earlier pass already" in faults_of(default_config)


@pytest.mark.parametrize(
    ("chosen", "layers"),
    [
        ("all", [1, 2, 3, 4, 5, 6, 7, 8]),
        ("2-8", [2, 3, 4, 5, 6, 7, 8]),
        (["4-6", 1, "8-8"], [4, 5, 6, 1, 8]),
        (["1", "4-6"], [1, 4, 5, 6]),
    ],
)
def test_a_range_is_the_same_as_its_layers_written_out(default_config, chosen, layers):
    def completed(passes, swept) -> dict:
        experiment = default_config["experiments"]["trained"]
        default_config.update(ablation={}, uses={})
        experiment["extraction"]["passes"] = [{"layers": passes}]
        experiment["sweep"]["layers"] = swept
        return complete_config(default_config)

    assert completed(chosen, chosen) == completed(layers, layers)
    assert completed("all", chosen) == completed(list(range(1, 9)), layers)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("8-4", "sweep.layers: 8-4 runs backwards; write 4-8"),
        (["1-99"], "sweep.layers: layer 1-99 is out of range; vit_planted has blocks 1 to 8"),
        ([2, "1-4"], "sweep.layers: layer 2 is named twice; keep one of each"),
        ("every", "sweep.layers: 'every' cannot be used. Valid: `all`, a range such as 1-40"),
        ("0-4", "sweep.layers: '0-4' cannot be used. Valid: `all`, a range such as 1-40"),
        (4, "sweep.layers: 4 cannot be used. Valid: `all`, a range such as 1-40"),
        ([1, "two"], "sweep.layers.1: 'two' cannot be used. Valid: A layer, counted from 1"),
        ([1.5], "sweep.layers.0: 1.5 cannot be used. Valid: A layer, counted from 1"),
    ],
)
def test_faults_of_a_choice_of_layers(default_config, chosen, message):
    default_config["experiments"]["trained"]["sweep"]["layers"] = chosen
    assert f"experiments.trained.{message}" in faults_of(default_config)


def test_blocks_are_read_from_timm_where_they_are_left_out(default_config):
    complete = complete_config(default_config)
    for experiment in default_config["experiments"].values():
        del experiment["backbone"]["blocks"]
    assert complete_config(default_config) == complete
    default_config["experiments"]["trained"]["sweep"]["layers"] = [9]
    assert "layer 9 is out of range; vit_planted has blocks 1 to 8" in faults_of(default_config)
    default_config["experiments"]["random"]["backbone"]["model"] = "vit_plantet"
    message = faults_of(default_config)
    assert "experiments.random.backbone: blocks is left out and cannot be read" in message
    assert "timm has no model 'vit_plantet'" in message


def test_declared_blocks_spare_the_import_of_timm(root):
    program = (
        "import sys, yaml; from cladescope.config import complete_config; "
        "complete_config(yaml.safe_load(open('config/config.yaml'))); "
        "sys.exit('timm' in sys.modules or 'torch' in sys.modules)"
    )
    environment = {"PYTHONPATH": str(root / "workflow" / "lib")}
    assert (
        subprocess.run([sys.executable, "-c", program], cwd=root, env=environment).returncode == 0
    )


@pytest.mark.parametrize("path", ["my results/a b", "c"])
def test_spaces_within_a_path(default_config, path):
    default_config["results"] = path
    assert complete_config(default_config)["results"] == path


@pytest.mark.parametrize("path", [" a", "a ", "a\tb", "a{b}", "a*", ""])
def test_paths_that_cannot_be_used(default_config, path):
    default_config["results"] = path
    message = faults_of(default_config)
    assert f"results: {path!r} cannot be used. Valid: A path without {{}}, * and ?" in message


@pytest.mark.parametrize("axis", ["width", "sparsity", "seed"])
def test_empty_sweep(default_config, axis):
    default_config["experiments"]["trained"]["sweep"]["variants"]["topk"][axis] = []
    assert f"experiments.trained.sweep.variants.topk.{axis}: [] is empty" in (
        faults_of(default_config)
    )


def test_k_beyond_the_width(default_config):
    default_config["experiments"]["trained"]["sweep"]["variants"]["topk"]["sparsity"] = [4, 200]
    assert "200 exceeds the width 128; the largest valid k is 128" in faults_of(default_config)


def test_supervised_baselines_have_no_width_or_seed(default_config):
    variants = default_config["experiments"]["trained"]["sweep"]["variants"]
    variants["class_means"] = {"sparsity": [2, 8]}
    sweep = expand_sweep(complete_config(default_config))
    entries = [entry for entry in sweep if entry.variant == "class_means" and entry.layer == 8]
    assert [(e.name, e.width, e.sparsity, e.seed) for e in entries] == [
        ("k2", None, 2, None),
        ("k8", None, 8, None),
    ]
    variants["class_means"] = {"sparsity": [8], "width": [64], "seed": [0]}
    faults = faults_of(default_config)
    assert "class_means: unknown key 'width'" in faults
    assert "class_means: unknown key 'seed'" in faults


def test_k_of_zero(default_config):
    default_config["experiments"]["trained"]["sweep"]["variants"]["topk"]["sparsity"] = [0]
    assert "sparsity.0: 0 is out of range; the nearest valid value is 1" in (
        faults_of(default_config)
    )


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("topk", {}, "sweep.imported.topk: the name of a variant; choose another"),
        ("theirs", {"layer": 3}, "sweep.imported.theirs: layer 3, token cls is not extracted"),
        ("theirs", {"token": "mean"}, "theirs: layer 8, token mean is not extracted; add it to"),
        ("theirs", {"format": "saelenz"}, "'saelens'"),
    ],
)
def test_faults_of_an_imported_dictionary(default_config, name, changes, message):
    source = {"format": "saelens", "folder": "lens", "layer": 8, "token": "cls", **changes}
    default_config["experiments"]["trained"]["sweep"]["imported"] = {name: source}
    assert message in faults_of(default_config)


def test_an_imported_dictionary_is_trained_by_no_job(default_config):
    source = {"format": "saelens", "folder": "lens", "layer": 8, "token": "cls"}
    default_config["experiments"]["trained"]["sweep"]["imported"] = {"theirs": source}
    config = complete_config(default_config)
    (entry,) = (e for e in expand_sweep(config) if e.imported)
    assert entry.folder == "trained/dictionaries/cls/L8/theirs/full"
    for by_variant in (True, False):
        packs = expand_packs(config, by_variant)
        assert any(entry in pack.members for pack in packs) is not by_variant


def test_random_weights_need_a_seed(default_config):
    del default_config["experiments"]["random"]["backbone"]["seed"]
    assert "experiments.random.backbone: missing seed" in faults_of(default_config)


def test_unknown_dataset(default_config):
    default_config["experiments"]["trained"]["dataset"] = "plantet"
    assert "did you mean 'planted'?" in faults_of(default_config)
    # Masks are looked up in the dataset; what else is wrong is listed all the same.
    default_config["experiments"]["trained"]["sweep"]["tokens"] = ["patches"]
    default_config["experiments"]["trained"]["extraction"]["passes"][0]["tokens"] = ["patches"]
    default_config["segmentation"] = {}
    default_config["uses"] = {"dictionaries": ["nothing"]}
    message = faults_of(default_config)
    assert "experiments.trained.dataset: unknown dataset; did you mean 'planted'?" in message
    assert "uses.dictionaries: nothing is none of the sweep" in message


def test_more_draws_of_nulls_than_of_p_values(default_config):
    default_config["scores"] |= {"null_draws": 1000, "p_draws": 1000}
    complete_config(copy.deepcopy(default_config))
    default_config["scores"]["null_draws"] = 1001
    fault = "scores.null_draws: 1001 is more than p_draws, 1000, of which they are the first; lower"
    assert fault in faults_of(default_config)


def test_less_than_one_batch_of_tokens(default_config):
    default_config["training"]["images"] = 255
    place = "dictionaries/cls/L8/topk/w256_k8_s1"
    assert (
        f"training.images: 255 give 255 tokens to train random/{place} on, less than one batch of "
        "256; the nearest valid value is 256"
    ) in faults_of(default_config)

    default_config["training"]["images"] = 16
    for section in ("ablation", "relevancy", "uses"):
        default_config.pop(section)
    for experiment in default_config["experiments"].values():
        experiment["extraction"]["passes"][0]["tokens"] = ["patches"]
        experiment["sweep"]["tokens"] = ["patches"]
    # How many patches an image has is not known here.
    complete_config(copy.deepcopy(default_config))
    sample = {"per_image": 16, "seed": 0}
    default_config["experiments"]["trained"]["extraction"]["patches"] = sample
    complete_config(copy.deepcopy(default_config))
    # 256 / 15 is 17.1.
    sample["per_image"] = 15
    message = faults_of(default_config)
    assert "16 give 240 tokens to train trained/dictionaries/patches/L8/topk/" in message
    assert "the nearest valid value is 18" in message
    # Baselines take what there is.
    del default_config["experiments"]["trained"]["sweep"]["variants"]["topk"]
    complete_config(default_config)


def test_image_folder_takes_no_rendering_options(default_config):
    default_config["datasets"]["planted"]["source"] = "image_folder"
    default_config["datasets"]["planted"]["folders"] = {"train": "a", "eval": "b"}
    assert (
        "datasets.planted: seed, images_per_class, pair_scenes: not for source image_folder"
        in faults_of(default_config)
    )


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"source": "image_folder"}, "missing folders"),
        ({"source": "huggingface", "name": "a/b"}, "missing hub_splits"),
        ({"source": "image_fodler"}, "'image_fodler' is not allowed; did you mean 'image_folder'?"),
        (
            {"source": "webdataset", "folders": SPLITS, "label_files": {}},
            "label_files: not for source webdataset",
        ),
        (
            {"source": "huggingface", "name": "a/b", "hub_splits": SPLITS, "folders": SPLITS},
            "folders: not for source huggingface",
        ),
        (
            {"source": "image_folder", "folders": SPLITS, "patterns": {}, "cache": "c"},
            "patterns, cache: not for source image_folder",
        ),
        (
            {"source": "image_folder", "folders": SPLITS, "on_bad_image": "skipp"},
            "on_bad_image: 'skipp' is not allowed; did you mean 'skip'?",
        ),
        (
            {"source": "image_folder", "folders": SPLITS, "expected_images": {"train": 0}},
            "expected_images.train: 0 is out of range",
        ),
        (
            {"source": "image_folder", "folders": SPLITS, "group": "patient"},
            "group: names a column of label_files.eval, which is missing",
        ),
        (
            {"source": "webdataset", "folders": SPLITS, "group": "patient"},
            "group: not for source webdataset",
        ),
    ],
)
def test_faults_of_a_dataset(default_config, dataset, message):
    default_config["datasets"]["planted"] = dataset
    assert message in faults_of(default_config)


def index_specs(default_config, dataset) -> list[dict]:
    default_config["datasets"]["planted"] = dataset
    dataset = complete_config(default_config)["datasets"]["planted"]
    return [index_spec(dataset, split, f"rendered/{split}") for split in ("train", "eval")]


def test_what_the_index_of_imagenets_usual_layout_is_made_from(default_config):
    train, evaluation = index_specs(
        default_config,
        {
            "source": "image_folder",
            "folders": {"train": "train", "eval": "val"},
            "label_files": {"eval": "LOC_val_solution.csv"},
            "expected_images": {"train": "1281167"},
            "on_bad_image": "skip",
        },
    )
    assert train == {
        "source": {"kind": "image_folder", "folder": "train"},
        "listing": {},
        "on_bad_image": "skip",
        "expected": 1281167,
    }
    assert evaluation == {
        "source": {"kind": "image_folder", "folder": "val"},
        "listing": {"label_file": "LOC_val_solution.csv"},
        "on_bad_image": "skip",
    }


def test_what_the_index_of_a_hub_dataset_is_made_from(default_config):
    _, evaluation = index_specs(
        default_config,
        {
            "source": "huggingface",
            "name": "org/set",
            "hub_splits": {"train": "train", "eval": "validation"},
            "columns": {"image": "jpg", "label": "cls"},
            "wnids": "imagenet-1k",
        },
    )
    assert evaluation["wnids"] == "imagenet-1k"
    assert make_source(**evaluation["source"]) == HuggingFace(
        "org/set", "validation", image_column="jpg", label_column="cls"
    )


def test_what_the_index_of_tar_shards_is_made_from(default_config):
    train, _ = index_specs(
        default_config,
        {
            "source": "webdataset",
            "folders": {"train": "shards", "eval": "shards"},
            "patterns": {"train": "train-*.tar"},
        },
    )
    assert make_source(**train["source"]) == WebDataset("shards")
    assert train["listing"] == {"pattern": "train-*.tar"}


def test_every_fault_is_listed(default_config):
    default_config["scores"]["top_n"] = 1
    default_config["figures"]["dpi"] = "high"
    message = faults_of(default_config)
    assert "2 faults" in message
    assert "scores.top_n" in message
    assert "figures.dpi" in message


def test_absent_options_take_the_schema_defaults(default_config):
    for section in ("training", "scores", "probes", "figures"):
        complete = default_config.pop(section)
        assert complete_config(default_config)[section] == complete
        default_config[section] = complete


def test_embedded_configuration_states_every_option(default_config):
    """The defaults that a user reads in config.yaml are the ones that apply without it."""
    for section in ("training", "scores", "probes", "figures"):
        options = dict(load_schema()["$defs"][section]["properties"])
        # It has no default: without it results are what they were before it.
        options.pop("gpu_selection", None)
        assert default_config[section].keys() == options.keys()
        for name, option in options.items():
            if option.get("type") == "object":
                assert default_config[section][name].keys() == option["properties"].keys()
            else:
                assert default_config[section][name] == option["default"]


def test_text_from_the_command_line_becomes_numbers(default_config):
    default_config["scores"] = {"top_n": "8", "tau": "8e-1", "cutoffs": ["16", 32.0]}
    experiment = default_config["experiments"]["trained"]
    experiment["extraction"]["passes"] = [{"layers": ["1", "2"]}, {"layers": ["4", "6", "8"]}]
    experiment["sweep"]["layers"] = ["1", "8"]
    config = complete_config(default_config)
    assert config["scores"]["top_n"] == 8
    assert config["scores"]["tau"] == 0.8
    assert config["scores"]["cutoffs"] == [16, 32]
    assert config["experiments"]["trained"]["extraction"]["passes"] == [
        {"layers": [1, 2], "tokens": ["cls"]},
        {"layers": [4, 6, 8], "tokens": ["cls"]},
    ]
    assert config["experiments"]["trained"]["sweep"]["layers"] == [1, 8]


def test_sweep_is_the_product_of_its_axes(default_config):
    sweep = expand_sweep(complete_config(default_config))
    trained = [d for d in sweep if d.experiment == "trained" and d.variant == "topk"]
    assert len(trained) == 5 * 2 * 2 * 2
    assert "trained/dictionaries/cls/L8/topk/w256_k8_s1" in {d.folder for d in trained}
    assert "trained/dictionaries/cls/L8/pca/full" in {d.folder for d in sweep}
    assert len({d.folder for d in sweep}) == len(sweep)


@pytest.mark.parametrize(
    ("jobs", "parts"),
    [
        (None, ["0-9"]),
        ({"eval": 3}, ["0-9"]),
        ({"train": 3}, ["0-2", "3-5", "6-9"]),
        ({"train": 64}, [f"{shard}-{shard}" for shard in range(10)]),
    ],
)
def test_shards_are_spread_over_jobs(default_config, jobs, parts):
    """One after the other, as evenly as can be, and no job without one."""
    extraction = default_config["experiments"]["trained"]["extraction"]
    extraction["shards"] = {"train": 10, "eval": 1}
    if jobs is not None:
        extraction["jobs"] = jobs
    train, evaluation = expand_passes(complete_config(default_config))[:2]
    assert (train.split, train.parts()) == ("train", parts)
    assert (evaluation.split, evaluation.parts()) == ("eval", ["0-0"])


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ({"train": 0}, "extraction.jobs.train: 0 is out of range; the nearest valid value is 1"),
        ({"trian": 2}, "extraction.jobs: unknown key 'trian'; did you mean 'train'?"),
        (4, "extraction.jobs: 4 should be of type object"),
    ],
)
def test_a_wrong_number_of_extraction_jobs_is_named(default_config, jobs, message):
    default_config["experiments"]["trained"]["extraction"]["jobs"] = jobs
    assert f"experiments.trained.{message}" in faults_of(default_config)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_are_named(default_config, number):
    default_config["training"]["learning_rate"] = number
    with pytest.raises(ConfigError, match=r"training.learning_rate: (nan|-?inf) is not a number"):
        complete_config(default_config)


def test_ablated_dictionaries_are_those_that_a_pattern_names(default_config):
    default_config["ablation"] = {"dictionaries": ["trained/*/L[48]/topk/w256_k8_*"]}
    folders = [entry.folder for entry in ablated_dictionaries(complete_config(default_config))]
    place = "trained/dictionaries/cls"
    assert folders == [f"{place}/L{n}/topk/w256_k8_s{seed}" for n in (4, 8) for seed in (0, 1)]
    default_config["ablation"]["dictionaries"].append("trained/*/L9/*")
    fault = "ablation.dictionaries: trained/*/L9/* is none of the sweep, which has trained/"
    assert fault in faults_of(default_config)


def test_without_patterns_one_of_each_variant_is_ablated_where_figures_look(default_config):
    default_config["ablation"] = {}
    entries = ablated_dictionaries(complete_config(default_config))
    variants = list(default_config["experiments"]["trained"]["sweep"]["variants"])
    assert [(e.experiment, e.variant) for e in entries] == [
        *(("trained", variant) for variant in variants),
        ("random", "topk"),
    ]
    assert {(e.layer, e.token) for e in entries} == {(8, "cls")}
    del default_config["ablation"]
    assert ablated_dictionaries(complete_config(default_config)) == []


def test_a_trained_dictionary_is_shown_before_a_wider_baseline(default_config):
    sweep = default_config["experiments"]["trained"]["sweep"]
    drawn = {"width": [512], "sparsity": [8], "seed": [0]}
    variants = {"batchtopk": {**drawn, "width": [128, 256]}, "random": drawn}
    sweep["variants"] = variants
    del default_config["ablation"], default_config["uses"]
    shown = shown_dictionary(complete_config(copy.deepcopy(default_config)))
    assert (shown.layer, shown.variant, shown.width) == (8, "batchtopk", 256)
    # Before other trained ones, however wide, topk.
    variants["topk"] = {**drawn, "width": [64]}
    assert shown_dictionary(complete_config(default_config)).variant == "topk"


def test_uses_are_of_the_dictionaries_that_a_pattern_names_or_of_those_that_figures_show(
    default_config,
):
    default_config["uses"] = {}
    completed = complete_config(default_config)
    default_config["ablation"] = {}
    assert used_dictionaries(completed) == ablated_dictionaries(complete_config(default_config))
    assert completed["uses"]["shots"] == [1, 2, 4, 8, 16]
    default_config["uses"] = {"dictionaries": ["*/L[24]/kmeans/*_s1"]}
    folders = [entry.folder for entry in used_dictionaries(complete_config(default_config))]
    place = "trained/dictionaries/cls"
    assert folders == [f"{place}/L{n}/kmeans/w256_k8_s1" for n in (2, 4)]
    default_config["uses"] = {"dictionaries": ["*/L9/*"], "shots": [0], "latents": []}
    faults = faults_of(default_config)
    assert "uses.shots.0: 0 is out of range; the nearest valid value is 1" in faults
    assert "uses.latents: [] is empty" in faults
    del default_config["uses"]["shots"], default_config["uses"]["latents"]
    assert "uses.dictionaries: */L9/* is none of the sweep" in faults_of(default_config)
    del default_config["uses"]
    assert used_dictionaries(complete_config(default_config)) == []


def test_segmentation_is_of_dictionaries_of_patches_with_masks(default_config) -> None:
    assert segmented_dictionaries(complete_config(default_config)) == []
    default_config["segmentation"] = {}
    assert "segmentation: none of its dictionaries is of patches with masks" in faults_of(
        default_config
    )
    for experiment in default_config["experiments"].values():
        tokens = ["cls", "patches"]
        experiment["extraction"]["passes"] = [{"layers": [4, 8], "tokens": tokens}]
        experiment["sweep"] |= {"layers": [4, 8], "tokens": tokens}
    completed = complete_config(default_config)
    entries = segmented_dictionaries(completed)
    assert {(e.layer, e.token) for e in entries} == {(8, "patches")}
    variants = list(default_config["experiments"]["trained"]["sweep"]["variants"])
    assert [(e.experiment, e.variant) for e in entries] == [
        *(("trained", variant) for variant in variants),
        ("random", "topk"),
    ]
    assert completed["segmentation"]["images"] == 20
    default_config["segmentation"] = {"dictionaries": ["*/L4/topk/w128_k8_s0"], "images": 1}
    assert "segmentation.images: 1 is out of range; the nearest valid value is 2" in faults_of(
        default_config
    )
    del default_config["segmentation"]["images"]
    # What is not of patches is not measured.
    entries = segmented_dictionaries(complete_config(default_config))
    assert {e.folder for e in entries} == {
        "trained/dictionaries/patches/L4/topk/w128_k8_s0",
    }
    masks = {"folder": "masks", "table": "objects.csv"}
    default_config["datasets"]["planted"]["masks"] = masks
    assert "datasets.planted: masks: not for source planted; remove" in faults_of(default_config)
    folders = {"source": "image_folder", "folders": {"train": "a", "eval": "b"}}
    default_config["datasets"]["planted"] = folders
    assert "none of its dictionaries is of patches with masks" in faults_of(default_config)
    default_config["datasets"]["planted"] = {**folders, "masks": masks}
    assert len(segmented_dictionaries(complete_config(default_config))) == 1


def test_codes_with_places_are_of_dictionaries_of_patches(default_config) -> None:
    assert positioned_dictionaries(complete_config(default_config)) == []
    default_config["codes"] = {"positions": {}}
    faults = faults_of(default_config)
    assert "codes.positions: none of its dictionaries is of patches; add the token" in faults
    default_config["codes"] = {}
    assert "codes: missing positions" in faults_of(default_config)
    experiment = default_config["experiments"]["trained"]
    experiment["extraction"]["passes"] = [{"layers": [4, 8], "tokens": ["cls", "patches"]}]
    experiment["sweep"] |= {"layers": [4, 8], "tokens": ["cls", "patches"]}
    default_config["codes"] = {"positions": {}}
    # No masks are needed.
    folders = {"source": "image_folder", "folders": {"train": "a", "eval": "b"}}
    default_config["datasets"]["planted"] = folders
    completed = complete_config(default_config)
    entries = positioned_dictionaries(completed)
    assert {(e.layer, e.token) for e in entries} == {(8, "patches")}
    assert [e.variant for e in entries] == [*experiment["sweep"]["variants"]]
    assert completed["codes"]["positions"] == {"images": 10, "seed": 0}
    default_config["codes"] = {"positions": {"dictionaries": ["*/L4/topk/*", "*/L9/*"]}}
    assert "codes.positions.dictionaries: */L9/* is none of the sweep" in faults_of(default_config)
    default_config["codes"]["positions"]["dictionaries"].pop()
    listed = positioned_dictionaries(complete_config(default_config))
    assert {(e.token, e.layer, e.variant) for e in listed} == {("patches", 4, "topk")}


def at_sites(config: dict, *sites: str) -> dict:
    """The experiment `trained` at the same sites in extraction and sweep."""
    experiment = config["experiments"]["trained"]
    for part in (*experiment["extraction"]["passes"], experiment["sweep"]):
        part["sites"] = [*sites]
    return config


def test_sites_multiply_the_tokens_and_change_nothing_where_they_are_left_out(default_config):
    plain = complete_config(copy.deepcopy(default_config))
    residual = complete_config(at_sites(copy.deepcopy(default_config), "residual"))
    assert expand_sweep(residual) == expand_sweep(plain)
    assert expand_passes(residual) == expand_passes(plain)
    assert plan_record(residual, "trained") == plan_record(plain, "trained")

    for config in (plain, default_config):
        del config["ablation"]
    config = complete_config(at_sites(default_config, "residual", "mlp"))
    assert complete_config(copy.deepcopy(config)) == config
    sweep, passes = expand_sweep(config), expand_passes(config)
    names = {entry.folder for entry in expand_sweep(plain)}
    more = {f.replace("/cls/", "/cls_mlp/") for f in names if f.startswith("trained/")}
    assert {entry.folder for entry in sweep} == names | more
    assert len(passes) == len(expand_passes(plain)), "no other forward pass"
    assert passes[0].places[:4] == ((1, "cls"), (1, "cls_mlp"), (2, "cls"), (2, "cls_mlp"))
    assert passes[0].manifest((2, "cls_mlp")) == "trained/activations/train/cls_mlp/L2.json"
    # Each has an identity of its own, and those of the residual stream keep theirs.
    before, after = (plan_record(c, "trained")["dictionaries"] for c in (plain, config))
    assert before.items() <= after.items()
    assert len(set(after.values())) == len(after)
    # Figures look at the residual stream.
    assert shown_dictionary(config) == shown_dictionary(plain)


def test_sites_of_patches_share_their_sample_and_their_masks(default_config):
    experiment = default_config["experiments"]["trained"]
    both = {"layers": [4, 8], "tokens": ["patches"], "sites": ["mlp", "attention"]}
    experiment["extraction"]["passes"] = [both]
    experiment["extraction"]["patches"] = {"per_image": 4, "seed": 0}
    experiment["sweep"] |= both
    del default_config["ablation"], default_config["relevancy"], default_config["uses"]
    default_config["segmentation"] = {}
    config = complete_config(default_config)
    passes = [p for p in expand_passes(config) if p.experiment == "trained"]
    assert all(p.sampled(place) for p in passes for place in p.places)
    assert {"patches_attention", "patches_mlp"} >= {e.token for e in segmented_dictionaries(config)}
    settings = plan_record(config, "trained")["settings"]
    assert settings["extraction"]["patches"] == {"per_image": 4, "seed": 0}


def test_what_is_wrong_with_sites_is_named(default_config):
    experiment = default_config["experiments"]["trained"]
    key = "experiments.trained"
    experiment["sweep"]["sites"] = ["residual", "attn"]
    assert f"{key}.sweep.sites.1: 'attn' is not allowed; did you mean 'attention'?" in faults_of(
        default_config
    )
    experiment["sweep"]["sites"] = []
    assert f"{key}.sweep.sites: [] is empty" in faults_of(default_config)
    experiment["sweep"]["sites"] = ["residual", "mlp"]
    message = faults_of(default_config)
    assert "layer 8, token cls_mlp is in no pass" in message
    assert "add a pass {layers: [8], tokens: [cls], sites: [mlp]} there" in message
    assert f"or take mlp out of {key}.sweep.sites" in message
    experiment["extraction"]["passes"].append({"layers": [1, 8], "sites": ["mlp"]})
    assert "layer 4, token cls_mlp is in no pass" in faults_of(default_config)
    assert "or take the nearest extracted layer, 1" in faults_of(default_config)
    experiment["extraction"]["passes"].append({"layers": [8], "sites": ["mlp", "attention"]})
    assert "passes.2: layer 8, token cls_mlp is in an earlier pass already" in faults_of(
        default_config
    )


@pytest.mark.parametrize(
    ("section", "listed"),
    [
        ("ablation", ["trained/*/L8/topk/*"]),
        ("relevancy", ["trained/dictionaries/cls_mlp/L8/topk/w256_k8_s0"]),
    ],
)
def test_what_changes_the_residual_stream_is_refused_at_a_site(default_config, section, listed):
    for name in ("ablation", "relevancy", "uses"):
        default_config.pop(name, None)
    at_sites(default_config, "residual", "mlp")
    # Unless dictionaries are listed, those of the residual stream are taken.
    complete_config({**default_config, section: {}})
    fault = rf"{section}: \d+ of its \d+ dictionaries are of what a part of a block adds "
    fault += (
        rf"\(trained/dictionaries/cls_mlp/L8/topk/w\d+_k8_s0\), and {section} is of the residual"
    )
    refused = faults_of({**default_config, section: {"dictionaries": listed}})
    assert re.search(fault, refused), refused
    at_sites(default_config, "mlp")
    assert f"{section}: " in faults_of({**default_config, section: {}})


def test_pairs_are_a_third_split_of_those_that_have_them(config) -> None:
    split_of = lambda config: [job.split for job in expand_passes(complete_config(config))]  # noqa: E731
    assert split_of(config) == ["train", "eval"]
    dataset = config["datasets"]["planted"]
    dataset["pair_scenes"] = 1
    assert split_of(config) == ["train", "eval", "pairs"]
    (*_, of_pairs) = expand_passes(complete_config(config))
    assert of_pairs.extraction["shards"] == of_pairs.jobs == 1
    config["experiments"]["trained"]["extraction"]["shards"]["pairs"] = 3
    assert expand_passes(complete_config(config))[-1].extraction["shards"] == 3
    dataset["pairs"] = "mine.csv"
    with pytest.raises(ConfigError, match=r"datasets\.planted: pairs: not for source planted"):
        complete_config(config)
    folder = {"source": "image_folder", "folders": {"train": "a", "eval": "b"}, "pair_scenes": 1}
    config["datasets"]["planted"] = folder
    with pytest.raises(ConfigError, match="pair_scenes: not for source image_folder"):
        complete_config(config)
