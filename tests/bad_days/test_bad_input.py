"""Bad input and bad days: the message names the culprit, nothing computed is lost."""

import copy
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from checkouts import SMALL
from cladescope import layout
from disks import needs_root, small_disk

WNIDS = ("n02071294", "n02066245")


@pytest.fixture
def folders(tmp_path):
    """Train and eval folders of two classes."""
    rng = np.random.default_rng(0)
    for split in ("train", "eval"):
        for wnid in WNIDS:
            folder = tmp_path / split / wnid
            folder.mkdir(parents=True)
            for number in range(2):
                pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return {split: str(tmp_path / split) for split in ("train", "eval")}


@pytest.fixture
def image_folder(checkout, config, folders, tmp_path):
    """The checkout, configured for the two folders and an empty results folder."""
    config["datasets"]["planted"] = {"source": "image_folder", "folders": folders}
    config["results"] = str(tmp_path / "results")
    checkout.write(config)
    return checkout


def failure(checkout, *targets: str) -> str:
    result = checkout.run("--", *targets)
    assert result.returncode != 0
    return result.stdout + result.stderr


def test_named_node_that_is_none_stops_before_extraction(checkout, config):
    """The first is the dog, the second nothing."""
    config["relevancy"] = {"nodes": ["n02084071", "n00000001"]}
    checkout.write(config)
    result = checkout.run("--until", "build_taxonomy")
    assert result.returncode == 1
    told = result.stdout + result.stderr
    assert "relevancy.nodes: n00000001: not internal nodes of this dataset's taxonomy" in told
    assert "`make tree CONFIG=...` prints those that are" in told


def test_data_are_looked_at_before_anything_is_computed_with_them(checkout, config):
    config["results"] = "results/ordered"
    config["datasets"]["planted"]["images_per_class"] = {"train": 2, "eval": 2}
    config["experiments"]["trained"]["extraction"]["passes"] = [{"layers": [2]}, {"layers": [8]}]
    checkout.write(config)
    folder = f"results/ordered/{layout.DATASET.format(dataset='planted')}"
    store = layout.MANIFEST.format(experiment="trained", split="train", token="cls", layer=8)
    targets = (f"results/ordered/{store}", f"{folder}/taxonomy.parquet")
    result = checkout.run("--cores", "1", "--", *targets)
    assert result.returncode == 0, result.stdout + result.stderr
    told = result.stdout + result.stderr
    order = re.findall(r"^(?:local)?rule (\w+?)(?:_trained_\w+)?:", told, re.MULTILINE)
    assert sorted(order[:4]) == ["index_images"] * 2 + ["render_planted"] * 2
    assert order[4:] == ["build_taxonomy", "extract_activations"]


def test_config_typo_stops_before_any_job(checkout, config):
    config["scores"]["top_m"] = 3
    checkout.write(config)
    message = failure(checkout)
    assert "scores: unknown key 'top_m'; did you mean 'top_n'?" in message
    assert "Job stats" not in message
    assert "Traceback" not in message


def test_corrupt_image_and_repair(image_folder, folders, tmp_path):
    victim = tmp_path / "train" / WNIDS[1] / "1.png"
    good = victim.read_bytes()
    victim.write_bytes(good[:50])
    target = str(tmp_path / "results" / "datasets" / "planted" / "images" / "train.parquet")
    message = failure(image_folder, target)
    assert f"{victim}: does not decode" in message
    victim.write_bytes(good)
    result = image_folder.run("--", target)
    assert result.returncode == 0, result.stderr


def test_empty_class_folder(image_folder, tmp_path):
    (tmp_path / "eval" / "n02074367").mkdir()
    target = str(tmp_path / "results" / "datasets" / "planted" / "images" / "eval.parquet")
    assert "n02074367: the class folder holds no image" in failure(image_folder, target)


def test_wnid_that_wordnet_lacks(image_folder, tmp_path):
    for split in ("train", "eval"):
        (tmp_path / split / WNIDS[0]).rename(tmp_path / split / "n99999999")
    target = str(tmp_path / "results" / "datasets" / "planted" / "taxonomy.parquet")
    message = failure(image_folder, target)
    assert "n99999999" in message
    assert WNIDS[1] not in message.split("ValueError")[1].splitlines()[0]


def test_checkpoint_that_does_not_fit(checkout, config, tmp_path):
    state = load_file(checkout.folder / "resources" / "planted_vit" / "s0.safetensors")
    del state["pos_embed"]
    save_file(state, tmp_path / "other.safetensors")
    config["experiments"]["trained"]["backbone"]["weights"] = str(tmp_path / "other.safetensors")
    config["results"] = str(tmp_path / "results")
    checkout.write(config)
    # The finished run's images serve: a copy with its modification times.
    shutil.copytree(
        checkout.folder / "results" / "small" / "datasets", tmp_path / "results" / "datasets"
    )
    message = failure(checkout, str(tmp_path / "results/trained/activations/eval/cls/L8.json"))
    assert "other.safetensors does not fit vit_planted" in message
    assert "missing pos_embed" in message
    assert not (tmp_path / "results/trained/activations/eval/cls/L8.json").exists()


def test_flipped_byte_in_a_shard_and_repair(checkout, config):
    """The damage is found, its repair makes that shard alone, and nothing else runs again."""
    results = checkout.folder / "results" / "small"
    before = (results / "tables" / "metrics.csv").read_bytes()
    store = results / "trained" / "activations" / "train" / "cls" / "L8.zarr"
    chunk, neighbour = (store / "values" / "c" / shard / "0" / "0" for shard in "10")
    good, made = chunk.read_bytes(), neighbour.stat().st_mtime_ns
    chunk.write_bytes(good[:10] + bytes([good[10] ^ 4]) + good[11:])
    config["experiments"]["trained"]["sweep"]["variants"]["topk"]["width"] = [48, 64]
    checkout.write(config)
    message = failure(checkout)
    assert "c/1/0/0 fails its checksum" in message
    assert "make verify CONFIG=... REPAIR=1" in message
    assert (results / "tables" / "metrics.csv").read_bytes() == before
    found = checkout.command("verify", "small.yaml")
    assert found.returncode == 1
    assert "c/1/0/0 fails its checksum" in found.stdout
    assert "1 fault" in found.stdout
    repaired = checkout.command("verify", "small.yaml", "--repair")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert chunk.read_bytes() == good
    assert neighbour.stat().st_mtime_ns == made
    assert checkout.command("verify", "small.yaml").returncode == 0
    # Layer 8's new dictionaries, and those of layer 2 that the failure came before.
    assert 2 <= checkout.planned()["train_sae"] <= 4
    checkout.write(SMALL)
    assert checkout.run().returncode == 0
    assert (results / "tables" / "metrics.csv").read_bytes() == before
    assert checkout.planned() == {}


@needs_root
def test_full_disk_and_repair(checkout, config, tmp_path):
    """A full disk stops the run with the file's name; with room, it goes on from what is there."""
    results = tmp_path / "results"
    results.mkdir()
    with small_disk(results) as room_for:
        config["results"] = str(results)
        config["datasets"]["planted"]["images_per_class"] = {"train": 4, "eval": 4}
        config["experiments"]["trained"]["extraction"]["precision"] = "float32"
        checkout.write(config)
        index = str(results / "datasets" / "planted" / "images" / "train.parquet")
        result = checkout.run("--", index)
        assert result.returncode == 0, result.stdout + result.stderr
        # Room for logs and metadata, not for the activations: 256 images x 96 x 4 bytes a layer.
        room_for(str(shutil.disk_usage(results).used + 100_000))
        manifest = str(results / "trained" / "activations" / "train" / "cls" / "L8.json")
        message = failure(checkout, manifest)
        assert "No space left on device" in message
        assert not Path(manifest).exists()
        room_for("100m")
        assert checkout.planned("--", manifest) == {"extract_activations_trained_train_0": 1}
        result = checkout.run("--", manifest)
        assert result.returncode == 0, result.stdout + result.stderr


def test_image_that_changed_since_it_was_indexed(checkout):
    """A layer added later must come from the images that the others came from."""
    results = checkout.folder / "results" / "small"
    victim = next((results / "datasets/planted/rendered/train/n02071294").glob("*.png"))
    good, times = victim.read_bytes(), victim.stat()
    with Image.open(victim) as image:
        image.rotate(90).save(victim)
    config = copy.deepcopy(SMALL)
    config["experiments"]["trained"]["extraction"]["passes"] = [{"layers": [2, 8]}, {"layers": [5]}]
    checkout.write(config)
    try:
        message = failure(checkout, "results/small/trained/activations/train/cls/L5.json")
    finally:
        victim.write_bytes(good)
        os.utime(victim, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert f"{victim.name} is not the image that was indexed" in message
