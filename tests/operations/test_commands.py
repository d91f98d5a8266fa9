"""Commands beside the workflow: layers, plan, verify."""

import copy
import re
import shutil
from collections import Counter
from math import ceil
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file
from snakemake.settings.types import DAGSettings, StorageSettings

from checkouts import SMALL
from cladescope.config import ConfigError, complete_config
from cladescope.dictionaries.training.cost import CARDS
from cladescope.files import write_json
from cladescope.layout import MANIFEST
from cladescope.operations.models import check_imported, check_models, describe_models
from cladescope.operations.plan import make_plan
from cladescope.operations.plan_lines import PROFILE, Grouping, describe_plan
from cladescope.operations.snakemake_internals import check_storage, is_forced
from cladescope.operations.snakemake_records import check_interpreter
from cladescope.operations.verify import verify_activations
from cladescope.sweep import expand_passes


@pytest.fixture(scope="module")
def giant(root):
    return complete_config(yaml.safe_load((root / "config" / "dinov2_imagenet.yaml").read_text()))


@pytest.mark.parametrize("name", ["dinov2_imagenet", "planted", "resnet50_folder"])
def test_shipped_configurations_fit_their_models(root, name):
    content = yaml.safe_load((root / "config" / f"{name}.yaml").read_text())
    assert describe_models(complete_config(content))


@pytest.mark.slow
def test_what_is_no_yaml_is_refused_with_its_line(finished, tmp_path):
    """Snakemake itself says no more than that it cannot read the file."""
    (tmp_path / "my.yaml").write_text("results: results/mine\ndatasets: [a\nb: }\n")
    for command in ("check", "plan"):
        result = finished.command(command, str(tmp_path / "my.yaml"))
        assert result.returncode == 2
        assert "my.yaml is no YAML" in result.stderr
        assert "line 3" in result.stderr
        assert "Traceback" not in result.stderr
    assert finished.command("check", finished.config.name).returncode == 0


@pytest.mark.slow
def test_tree_prints_nodes_with_their_ids(finished):
    result = finished.command("tree", finished.config.name)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert re.fullmatch(r"\S+  n\d{8}  64 classes", lines[0])
    (dog,) = (line for line in lines if "n02084071" in line and "above" not in line)
    assert re.fullmatch(r" +dog\.n\.01  n02084071  \d+ classes", dog)
    # Also where the workflow's own taxonomy is not made, since a node that is named is none.
    content = {**SMALL, "relevancy": {"nodes": ["n00000001"]}}
    (finished.folder / "wrong.yaml").write_text(yaml.safe_dump(content))
    assert finished.command("tree", "wrong.yaml").stdout == result.stdout
    unindexed = yaml.safe_dump({**SMALL, "results": "results/none"})
    (finished.folder / "none.yaml").write_text(unindexed)
    told = finished.command("tree", "none.yaml").stderr
    assert "not indexed yet: snakemake --cores all --configfile none.yaml -- results/none/" in told
    unknown = finished.command("tree", finished.config.name, "--dataset", "other")
    assert "--dataset other: the configuration has planted" in unknown.stderr


@pytest.mark.slow
def test_modules_are_listed(finished):
    result = finished.command("layers", "resnet10t", "--modules")
    assert result.returncode == 0, result.stderr
    # Images of 176 pixels, a quarter as many positions along each side.
    assert re.search(r"^ +layer1\.0\.conv1 +64 +1 +1936$", result.stdout, re.MULTILINE)


@pytest.mark.slow
def test_layers(finished):
    result = finished.command("layers", "vit_small_patch14_reg4_dinov2", "--image-size", "224")
    assert result.returncode == 0, result.stderr
    header, first, *_ = result.stdout.splitlines()[1:]
    assert header.split() == ["layer", "module", "width", "cls", "mean", "patches", "registers"]
    assert first.split() == ["1", "blocks.0", "384", "1", "1", "256", "4"]
    assert result.stdout.splitlines()[-1] == "sites of each layer: residual, attention, mlp"
    unknown = finished.command("layers", "vit_tinny")
    assert unknown.returncode == 2
    assert "timm has no model" in unknown.stderr
    assert "Traceback" not in unknown.stderr


def test_plan_of_the_papers_experiment(giant, root):
    """Against numbers worked out by hand: images x blocks x width x 2 bytes, 2 x 291 GFLOP."""
    plan = make_plan(giant)
    train, evaluation, *_ = plan.passes
    assert (train.images, evaluation.images, train.layers) == (1_281_167, 50_000, 40)
    assert train.disk == 1_281_167 * 40 * 1536 * 2
    # 256 chunks and 7 other files a layer.
    assert train.files == 40 * (256 + 7)
    # timm's model card: 291 G multiply-adds at 224 pixels.
    assert train.flops / train.images == pytest.approx(2 * 291e9, rel=0.04)
    assert plan.dictionaries == 40 * (4 * 4 * 3 + 3) + 6
    text = "\n".join(describe_plan(plan, "A100", Grouping.load(root / PROFILE)))
    # Half of the 312 TFLOP/s of the data sheet, in bfloat16.
    hours = train.flops / 156e12 / 3600
    assert f"{hours:.2g}" in re.search(r"^dinov2_train_0 .*$", text, re.MULTILINE).group()
    assert "157 GB" in text
    # All dictionaries of a block and variant are trained in one job, scored with the others.
    assert "160 train_sae (of several)" in text
    assert "40 score_dictionary (of several)" in text
    assert f"extract_activations {ceil(2 * hours / 8 * 60 + 10)}," in text
    # A block: 48 TopK dictionaries of 2441 steps.
    job = max(plan.training, key=lambda job: len(job.costs))
    assert [steps for steps, _ in job.costs] == [2441] * 48
    product = sum(2 * 4096 * 1536 * w for w in (4096, 8192, 16384, 24576)) * 12 * 2441
    assert sum(n * part.operations for n, step in job.costs for part in step[1:2]) == pytest.approx(
        product
    )
    gpu_hours = sum(job.seconds(CARDS["A100"]) for job in plan.training) / 3600
    assert f"training: 46 jobs, {gpu_hours:.2g} h together" in text
    # All activations, and parameters with two moments in float32.
    parameters = 1536 * 12 * (4096 + 8192 + 16384 + 24576) * 24
    assert job.memory > 1_281_167 * 1536 * 2 + parameters
    with pytest.raises(ValueError, match="H1000: known are H200, H100, A100"):
        list(describe_plan(plan, "H1000", Grouping.load(root / PROFILE)))


def test_plan_says_when_a_job_needs_more_memory_than_the_card_has(giant, root):
    variants = giant["experiments"]["dinov2"]["sweep"]["variants"]
    variants["topk"]["width"] = [200_000]
    text = "\n".join(describe_plan(make_plan(giant), "H100", Grouping.load(root / PROFILE)))
    assert "MORE THAN A H100 HAS (80 GB): lower sweep.dictionaries_per_job" in text


def test_plan_of_an_extraction_by_several_jobs(giant, root):
    """16 for the training images, 256 shards: as many hours together, a sixteenth for each."""
    several = copy.deepcopy(giant)
    for name in ("dinov2", "random"):
        giant["experiments"][name]["extraction"]["jobs"] = {"train": 1, "eval": 1}
        several["experiments"][name]["extraction"]["jobs"] = {"train": 16, "eval": 1}
    one, plan = make_plan(giant), make_plan(several)
    assert [job.jobs for job in plan.passes] == [16, 1, 16, 1]
    assert [job.flops for job in plan.passes] == [job.flops for job in one.passes]
    counts = plan.jobs - one.jobs
    assert counts == {"extract_shards": 32, "join_shards": 2}
    assert one.jobs - plan.jobs == {"extract_activations": 2}
    text = "\n".join(describe_plan(plan, "A100", Grouping.load(root / PROFILE)))
    hours = max(plan.passes[0].flops / 16, plan.passes[1].flops) / 156e12 / 3600
    assert f"extract_activations {ceil(2 * hours * 60 + 10)}," in text
    assert "extraction: 34 jobs" in text
    assert re.search(r"Slurm jobs .*\b32 extract_shards, 2 join_shards\b", text)


FAULTS = {
    "blocks": ({"blocks": 12}, r"vit_planted has 8 layers.*set backbone.blocks to 8"),
    "tokens": (
        {"model": "resnet10t", "weights": "random", "blocks": 5, "seed": 0},
        r"resnet10t has no cls token after each layer; choose among mean, patches",
    ),
    "name": ({"model": "vit_plantd"}, r"timm has no model 'vit_plantd'; close names: vit_planted,"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_models_are_looked_at_before_any_job(checkout, config, fault):
    """By the plan, and by a dry run of what is not extracted yet."""
    changes, message = FAULTS[fault]
    backbone = config["experiments"]["trained"]["backbone"]
    if "weights" in changes:
        backbone.clear()
        config["experiments"]["trained"]["extraction"]["passes"] = [{"layers": [2, 5]}]
        config["experiments"]["trained"]["sweep"]["layers"] = [2, 5]
    backbone.update(changes)
    with pytest.raises(ValueError, match=f"experiments.trained: {message}"):
        make_plan(complete_config(config))
    # The small experiment is extracted, of another model.
    checkout.write(config)
    result = checkout.run("-n")
    assert result.returncode == 1
    assert re.search(f"experiments.trained: {message}", result.stdout + result.stderr)


def test_plan_counts_passes_and_maps_and_says_the_preprocessing(config, root):
    grouping = Grouping.load(root / PROFILE)
    config["relevancy"] = {"latents": 3, "random_latents": 2, "images": 4, "steps": 6}
    plan = make_plan(complete_config(config))
    text = "\n".join(describe_plan(plan, "H100", grouping))
    # 64 classes of 16 images.
    assert "training sees 8,192 images, 8 passes over the 1,024 of planted" in text
    assert "MANY PASSES" not in text
    # Of 5 latents, 4 images; 4 maps and 2 controls with two curves of 7 points, and 9 passes more.
    (maps,) = plan.maps
    one_image = plan.passes[0].flops / plan.passes[0].images
    assert maps.pairs == 20
    assert maps.flops == pytest.approx(20 * one_image * (9 + 6 * 2 * 7))
    assert "relevancy: 1 jobs, < 1 s together, for 20 maps" in text
    # Of the TopK dictionary with k = 4: 2 copies of each of 64 × 3 images by latent that fires.
    ablating = {"dictionaries": ["*/L8/topk/w48_k4_s0"], "images": 3, "latents": [1, 2]}
    config["ablation"] = {**ablating, "permuted_draws": 1}
    plan = make_plan(complete_config(config))
    (ablation,) = plan.ablations
    assert (ablation.images, ablation.copies) == (192, 192 * 2 * 4 * 2)
    # Behind the last block there is the norm alone, which is no product.
    assert ablation.flops == pytest.approx(192 * one_image)
    text = "\n".join(describe_plan(plan, "H100", grouping))
    assert "for 192 forward passes and about 3,072 from the layer on" in text
    # Four further permutations.
    config["ablation"] = {**ablating, "permuted_draws": 5}
    (ablation,) = make_plan(complete_config(config)).ablations
    assert ablation.copies == int(192 * (2 + 4 * 0.075) * 4 * 2)
    # 64 × 5 queries in 1 + 2 arrangements, and as often 4 draws of 3 numbers; of two dictionaries.
    config["uses"] = {"dictionaries": ["*/L8/topk/*"], "queries": 5, "null_draws": 2}
    config["uses"] |= {"draws": 4, "shots": [1, 2, 4]}
    plan = make_plan(complete_config(config))
    assert [(use.queries, use.images) for use in plan.uses] == [(320, 1024)] * 2
    assert plan.jobs["measure_uses"] == 2
    text = "\n".join(describe_plan(plan, "H100", grouping))
    assert "uses: 2 dictionaries, on the processor, at most 1,920 rankings" in text
    assert "and 72 draws of examples" in text
    # Half of 64 × 5 images of 36 patches, on which 4 of 48 latents fire.
    patched = copy.deepcopy(config)
    experiment = patched["experiments"]["trained"]
    experiment["extraction"]["passes"] = [{"layers": [2, 8], "tokens": ["patches"]}]
    experiment["sweep"]["tokens"] = ["patches"]
    del patched["uses"], patched["ablation"]
    patched["segmentation"] = {"dictionaries": ["*/L8/topk/w48_k4_s0"], "images": 5}
    patched["codes"] = {"positions": {"dictionaries": ["*/L8/topk/w48_k4_s0"], "images": 3}}
    plan = make_plan(complete_config(patched))
    (segmentation,) = plan.segmentations
    assert (segmentation.images, segmentation.patches) == (320, 320 * 36)
    assert segmentation.nonzeros == 320 * 36 * 4 // 2 and segmentation.passes == 1
    assert plan.jobs["segment"] == 1 and not plan.jobs["index_masks"]
    text = "\n".join(describe_plan(plan, "H100", grouping))
    assert "segmentation: 1 dictionaries, on 320 images at most, 11,520 patches" in text
    assert "up to 276 kB, encoded 1 times" in text
    # 64 × 3 images, four latents a patch, of 16 bytes each.
    (positions,) = plan.positions
    assert (positions.images, positions.nonzeros) == (192, 192 * 36 * 4)
    assert "positions: 1 dictionaries, of 192 images at most in all; disk: up to 442 kB" in text
    assert plan.jobs["keep_positions"] == 1
    assert "images of trained: 48 × 48 pixels, bicubic, crop 1, mean 0.44, 0.44, 0.44" in text
    assert "is the checkpoint's the same?" in text
    config["training"]["images"] = 30_000
    config["experiments"]["trained"]["backbone"]["preprocessing"] = {"mean": [0.5, 0.4, 0.3]}
    text = "\n".join(describe_plan(make_plan(complete_config(config)), "processor", grouping))
    assert "29 passes over the 1,024 of planted" in text
    assert "MANY PASSES" in text and "training.images to 20,480 or less" in text
    assert "mean 0.5, 0.4, 0.3, std 0.23" in text
    assert "TFLOP/s that this processor reached" in text


def test_sites_that_a_model_lacks_are_refused_before_any_job(config, tmp_path):
    experiment = config["experiments"]["trained"]
    name = "swin_tiny_patch4_window7_224"
    experiment["backbone"] = {"model": name, "weights": "random", "blocks": 4, "seed": 0}
    sites = {"layers": [2], "tokens": ["mean"], "sites": ["residual", "attention"]}
    experiment["extraction"]["passes"] = [sites]
    experiment["sweep"] |= sites
    config["results"] = str(tmp_path)
    message = (
        rf"experiments.trained: {name} has no site attention: its layer 1 \(layers.0, timm's "
        r"SwinTransformerStage\) is no block .*; choose among residual"
    )
    for check in (make_plan, check_models):
        with pytest.raises(ConfigError, match=message):
            check(complete_config(config))


def test_imports_of_another_width_are_refused_before_any_job(config, tmp_path):
    write_json(tmp_path / "cfg.json", {})
    save_file({"b_dec": np.zeros(65, np.float32)}, tmp_path / "sae.safetensors")
    source = {"format": "sparsify", "folder": str(tmp_path), "layer": 8, "token": "cls"}
    config["experiments"]["trained"]["sweep"]["imported"] = {"theirs": source}
    config["results"] = str(tmp_path)
    complete = complete_config(config)
    place = "trained/dictionaries/cls/L8/theirs/full"
    said = "activations of {} dimensions, but the dictionary is of 65: it belongs to another layer"
    with pytest.raises(ConfigError, match=f"{place}: {said.format(96)}"):
        check_imported(complete, check_models(complete))
    # Where nothing is left to extract, the store tells.
    check_imported(complete, {})
    manifest = tmp_path / MANIFEST.format(experiment="trained", split="train", token="cls", layer=8)
    write_json(manifest, {"shape": [1, 1, 63]})
    with pytest.raises(ConfigError, match=said.format(63)):
        check_imported(complete, {})
    write_json(manifest, {"shape": [1, 1, 65]})
    check_imported(complete, {})
    (tmp_path / "cfg.json").unlink()
    with pytest.raises(ConfigError, match=f"{place}: {tmp_path} has no cfg.json"):
        check_imported(complete, {})
    # A finished study does without them.
    write_json(tmp_path / place / "sae.safetensors", {})
    check_imported(complete, {})


def test_sites_are_in_the_plan(config, root):
    """As many bytes again for each, and no other pass."""
    grouping = Grouping.load(root / PROFILE)
    one = make_plan(complete_config(copy.deepcopy(config)))
    experiment = config["experiments"]["trained"]
    for part in (*experiment["extraction"]["passes"], experiment["sweep"]):
        part["sites"] = ["residual", "attention", "mlp"]
    three = make_plan(complete_config(config))
    assert [job.disk for job in three.passes] == [3 * job.disk for job in one.passes]
    assert [job.files for job in three.passes] == [3 * job.files for job in one.passes]
    assert [job.flops for job in three.passes] == [job.flops for job in one.passes]
    assert three.jobs["extract_activations"] == one.jobs["extract_activations"] == 2
    assert three.jobs["score_dictionary"] == 3 * one.jobs["score_dictionary"]
    said = "  of each layer residual, attention, mlp"
    assert said in [*describe_plan(three, "H100", grouping)]
    assert said not in [*describe_plan(one, "H100", grouping)]


def test_a_storage_that_files_are_copied_to_is_refused():
    check_storage(SimpleNamespace(storage_settings=StorageSettings()))
    fs = StorageSettings(default_storage_provider="fs")
    with pytest.raises(ValueError, match="--default-storage-provider fs: jobs read and write"):
        check_storage(SimpleNamespace(storage_settings=fs))


@pytest.mark.parametrize(
    ("said", "forced"), [("--forceall", True), ("-F", True), ("-pF", True), ("-p", False)]
)
def test_everything_is_forced_by_the_command_or_a_profile(monkeypatch, said, forced):
    monkeypatch.setattr("sys.argv", ["snakemake", "--configfile", "F.yaml", said])
    assert is_forced(SimpleNamespace(dag_settings=None)) == forced
    for settled in (True, False):
        assert is_forced(SimpleNamespace(dag_settings=DAGSettings(forceall=settled))) == settled


def test_a_python_whose_path_has_a_space_is_refused():
    check_interpreter("/home/me/cladescope/.venv/bin/python")
    with pytest.raises(
        ValueError, match="cannot start jobs with '/home/me/my checkout/bin/python'"
    ):
        check_interpreter("/home/me/my checkout/bin/python")


def test_plan_counts_the_jobs_that_are_submitted(checkout, config):
    """The plan against a dry run through the profile, which groups jobs as a real one does."""
    config["results"] = "results/none"
    config["relevancy"] = {}
    config["experiments"]["trained"]["extraction"]["jobs"] = {"train": 2}
    config["experiments"]["untrained"] = {
        **config["experiments"]["trained"],
        "backbone": {"model": "vit_planted", "weights": "random", "blocks": 8, "seed": 0},
    }
    checkout.write(config)
    result = checkout.run("--profile", "profiles/slurm", "-n")
    assert result.returncode == 0, result.stdout + result.stderr
    groups = re.findall(r"^.*Group job (\w+) ", result.stdout, re.MULTILINE)
    rules = re.findall(r"^rule (\w+?)(?:_(?:un)?trained_\w+_0)?:", result.stdout, re.MULTILINE)
    planned = Grouping.load(checkout.folder / PROFILE).submitted(
        make_plan(complete_config(config)).jobs
    )
    assert planned["score"] > 1
    assert +planned == Counter([*groups, *rules]) - Counter(["all"])


def test_plan_needs_the_number_of_images(finished, tmp_path):
    folders = {"source": "image_folder", "folders": {"train": "a", "eval": "b"}}
    config = {**SMALL, "results": str(tmp_path), "datasets": {"planted": folders}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    result = finished.command("plan", str(tmp_path / "c.yaml"))
    assert result.returncode == 2
    assert "split train is not known; set expected_images" in result.stderr


def test_plan_says_what_extraction_writes(finished):
    """The plan of the finished run against the bytes and files that it has left."""
    config = complete_config(SMALL)
    plan = make_plan(config)
    for job, expected in zip(expand_passes(config), plan.passes, strict=True):
        folder = finished.folder / "results/small/trained/activations" / job.split
        stores = [folder / token / f"L{layer}" for layer, token in job.places]
        files = [f for s in stores for f in s.with_suffix(".zarr").rglob("*") if f.is_file()]
        assert expected.files == len(files) + sum(s.with_suffix(".json").is_file() for s in stores)
        chunks = list(folder.glob("*/*/values/c/*/0/0"))
        # Four bytes of checksum a chunk.
        assert sum(path.stat().st_size for path in chunks) == expected.disk + 4 * len(chunks)


def test_verify_lists_every_fault(finished, tmp_path):
    shutil.copytree(finished.folder / "results" / "small" / "trained", tmp_path / "trained")
    config = complete_config({**SMALL, "results": str(tmp_path)})
    assert verify_activations(config, threads=2) == []
    train, held_out = (tmp_path / "trained/activations" / s / "cls" for s in ("train", "eval"))
    chunk = train / "L2.zarr/values/c/1/0/0"
    chunk.write_bytes(bytes([chunk.read_bytes()[0] ^ 1]) + chunk.read_bytes()[1:])
    (train / "L8.zarr/values/c/0/0/0").unlink()
    (train / "L8.zarr/label/c/0").write_bytes(b"nonsense")
    (held_out / "L2.json").unlink()
    faults = {fault.message.split(";")[0]: fault.shard for fault in verify_activations(config, 2)}
    assert len(faults) == 4
    assert faults[f"{chunk} fails its checksum"] == 1
    assert faults[f"{train}/L8.zarr/values/c/0/0/0 is missing"] == 0
    assert faults[f"{held_out}/L2.json is missing: not extracted"] is None
    assert any("L8.zarr cannot be read by zarr" in message for message in faults)
