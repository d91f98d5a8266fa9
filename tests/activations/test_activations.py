"""Extraction: what is written, for every token kind, and what survives a kill."""

import multiprocessing
import os
import random
import signal
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from cladescope.activations import writer as writer_module
from cladescope.activations.extract import (
    ExtractionSpec,
    PatchSample,
    extract_activations,
    extract_shards,
    join_shards,
)
from cladescope.activations.store import read_activations
from cladescope.activations.writer import scratch_of
from cladescope.backbone.backbone import BackboneSpec, load_backbone
from cladescope.files import claim
from cladescope.images.index import decode_image
from cladescope.images.indexing import index_images
from cladescope.images.sources.image_folder import ImageFolder
from cladescope.planted.rendering import PlantedSpec, render_split

TOKENS = ("cls", "mean", "patches", "registers")


@pytest.fixture(scope="module")
def shipped(root):
    return BackboneSpec("vit_planted", str(root / "resources/planted_vit/s0.safetensors"), blocks=8)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """64 planted images: their index and source."""
    folder = tmp_path_factory.mktemp("planted")
    render_split(PlantedSpec(), "eval", 1, folder / "images", folder / "factors.parquet")
    source = ImageFolder(str(folder / "images"))
    return index_images(source)[0], source


def manifests_of(folder, layers, tokens=("cls",)):
    return {
        (layer, token): folder / token / f"L{layer}.json" for layer in layers for token in tokens
    }


def spec_of(**changes):
    return ExtractionSpec(**{"shards": 3, "precision": "float32", "batch_size": 8, **changes})


def tree(folder):
    """The content of every file below a folder."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def undisturbed(shipped, images, tmp_path_factory):
    """A store of two layers and two token kinds, made without disturbance."""
    folder = tmp_path_factory.mktemp("undisturbed")
    manifests = manifests_of(folder, [2, 8], ["cls", "patches"])
    extract_activations(*images, shipped, spec_of(patches=PatchSample(4, 0)), manifests)
    return folder


def test_values_are_the_models(shipped, images, tmp_path):
    index, source = images
    model = "vit_small_patch14_reg4_dinov2"
    backbone_spec = BackboneSpec(model, "random", 12, image_size=56, seed=0)
    manifests = manifests_of(tmp_path, [3], TOKENS)
    extract_activations(index, source, backbone_spec, spec_of(batch_size=22), manifests)
    backbone = load_backbone(backbone_spec)
    batch = [decode_image(source.read_checked(index, row)) for row in range(22)]
    expected = backbone.read(torch.stack([*map(backbone.transform, batch)]), [3], TOKENS)
    for place, manifest in manifests.items():
        assert np.array_equal(read_activations(manifest)[:22], expected[place].numpy())


def test_layers_and_tokens_do_not_depend_on_their_company(shipped, images, tmp_path, undisturbed):
    spec = spec_of(patches=PatchSample(4, 0))
    extract_activations(*images, shipped, spec, manifests_of(tmp_path, [8], ["patches"]))
    company = undisturbed / "patches"
    assert (tmp_path / "patches" / "L8.json").read_bytes() == (company / "L8.json").read_bytes()
    assert tree(tmp_path / "patches" / "L8.zarr") == tree(company / "L8.zarr")
    assert tree(tmp_path / "patches" / "L8.zarr") != tree(company / "L2.zarr")


def test_worker_processes_change_nothing(shipped, images, tmp_path, undisturbed):
    spec = spec_of(patches=PatchSample(4, 0))
    manifests = manifests_of(tmp_path, [2, 8], ["cls", "patches"])
    extract_activations(*images, shipped, spec, manifests, threads=2)
    # But what the manifests say of the threads.
    found = {
        path: data.replace(b", 2 threads", b", 1 thread") for path, data in tree(tmp_path).items()
    }
    assert found == tree(undisturbed)


def test_sampled_patches_are_where_their_positions_say(shipped, images, tmp_path, undisturbed):
    extract_activations(*images, shipped, spec_of(), manifests_of(tmp_path, [8], ["patches"]))
    every = read_activations(tmp_path / "patches" / "L8.json")
    assert every.shape == (64, 36, 96)
    sample = read_activations(undisturbed / "patches" / "L8.json")
    positions = zarr.open_array(undisturbed / "patches/L8.zarr/position", mode="r")[:]
    assert np.array_equal(sample, np.take_along_axis(every, positions[:, :, None], 1))
    assert (np.diff(positions, axis=1) > 0).all()
    assert len(np.unique(positions)) == 36, "every patch of some image"


def test_sample_depends_on_image_and_seed_alone():
    sample = PatchSample(3, 0)
    whole = sample.positions(range(3000), 36)
    assert np.array_equal(whole[1000:1100], sample.positions(range(1000, 1100), 36))
    assert not np.array_equal(whole, PatchSample(3, 1).positions(range(3000), 36))
    # Each of 36 patches is drawn 3000 * 3 / 36 = 250 times, give or take 4.7 deviations of 15.
    assert np.abs(np.bincount(whole.ravel()) - 250).max() < 70


def test_sample_larger_than_the_patches(shipped, images, tmp_path):
    spec = spec_of(patches=PatchSample(37, 0))
    with pytest.raises(ValueError, match="37 exceeds the 36 patches"):
        extract_activations(*images, shipped, spec, manifests_of(tmp_path, [1], ["patches"]))


def test_convolutional_model(images, tmp_path):
    spec = BackboneSpec("resnet10t", "random", 5, image_size=64, seed=0)
    manifests = manifests_of(tmp_path, [2, 5], ["mean", "patches"])
    extract_activations(*images, spec, spec_of(), manifests)
    patches, mean = (read_activations(manifests[5, token]) for token in ("patches", "mean"))
    assert patches.shape == (64, 4, 512)
    np.testing.assert_allclose(patches.mean(1), mean[:, 0], rtol=1e-5, atol=1e-6)
    assert read_activations(manifests[2, "patches"]).shape == (64, 256, 64)
    with pytest.raises(ValueError, match=r"resnet10t has no cls token .* among mean, patches"):
        extract_activations(*images, spec, spec_of(), manifests_of(tmp_path, [1], ["cls"]))


def test_autocast_is_near_and_recorded(shipped, images, tmp_path, undisturbed):
    spec = spec_of(autocast="bfloat16")
    extract_activations(*images, shipped, spec, manifests_of(tmp_path, [8]))
    mixed = read_activations(tmp_path / "cls" / "L8.json")
    exact = read_activations(undisturbed / "cls" / "L8.json")
    assert not np.array_equal(mixed, exact)
    assert np.abs(mixed - exact).mean() < 0.05 * np.abs(exact).mean()
    assert '"autocast": "bfloat16"' in (tmp_path / "cls" / "L8.json").read_text()


@pytest.mark.parametrize(("scale", "value"), [(1e7, r"-?\d.*"), (np.nan, "nan")])
def test_overflow_names_layer_image_and_value(shipped, images, tmp_path, monkeypatch, scale, value):
    backbone = load_backbone(shipped)
    original = backbone.model.blocks[4].forward

    def massive(x):
        x = original(x)
        x[5, 0, 7] *= scale
        return x

    monkeypatch.setattr(backbone.model.blocks[4], "forward", massive)
    monkeypatch.setattr("cladescope.activations.extract.load_backbone", lambda spec: backbone)
    spec, manifests = spec_of(precision="float16"), manifests_of(tmp_path, [5])
    message = rf"layer 5, token cls 0: image 5 has the value {value} in dimension 7, beyond float16"
    with pytest.raises(ValueError, match=message):
        extract_activations(*images, shipped, spec, manifests)
    assert not manifests[5, "cls"].exists()


@pytest.mark.slow
def test_image_that_is_gone_or_changed_stops_the_extraction(shipped, tmp_path):
    render_split(PlantedSpec(), "eval", 1, tmp_path / "images", tmp_path / "factors.parquet")
    source = ImageFolder(str(tmp_path / "images"))
    index, _ = index_images(source)
    victim = tmp_path / "images" / index.paths[40]
    manifests = manifests_of(tmp_path, [1])
    victim.write_bytes((tmp_path / "images" / index.paths[41]).read_bytes())
    with pytest.raises(ValueError, match=f"{victim.name} is not the image that was indexed"):
        extract_activations(index, source, shipped, spec_of(), manifests)
    victim.unlink()
    with pytest.raises(ValueError, match=f"{victim.name} is gone; put it back"):
        extract_activations(index, source, shipped, spec_of(), manifests)
    assert not manifests[1, "cls"].exists()


def test_killed_at_random_moments_ends_in_the_same_bytes(shipped, images, tmp_path, undisturbed):
    """kill -9 until a call gets through; Snakemake's part, deleting outputs, is played too."""
    spec = spec_of(patches=PatchSample(4, 0))
    manifests = manifests_of(tmp_path, [2, 8], ["cls", "patches"])
    rng = random.Random(0)
    context = multiprocessing.get_context("fork")
    started = time.monotonic()
    extract_activations(
        *images, shipped, spec, manifests_of(tmp_path / "timed", [2, 8], ["cls", "patches"])
    )
    duration = time.monotonic() - started
    kills, kept = 0, 0
    while kills < 24:
        child = context.Process(
            target=extract_activations, args=(*images, shipped, spec, manifests)
        )
        child.start()
        child.join(rng.uniform(0.2, 1.0) * duration)
        if child.exitcode is None:
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL)
        kept += any(Path(tmp_path).glob("*/.L*.partial/[0-9].json"))
        for manifest in manifests.values():
            # A manifest is there only when its store is whole.
            if manifest.exists():
                read_activations(manifest)
                manifest.unlink()
            for chunk in manifest.with_suffix(".zarr").rglob("c/*"):
                if chunk.is_file() and rng.random() < 0.5:
                    chunk.unlink()
    assert kept, "some shards outlived a kill"
    extract_activations(*images, shipped, spec, manifests)
    found = {path: content for path, content in tree(tmp_path).items() if path.parts[0] != "timed"}
    assert found == tree(undisturbed)


def test_store_that_was_finished_while_waiting_is_not_made_again(shipped, images, tmp_path):
    """A job that outlived its workflow ends while the next one, of the same code, waits."""
    manifests = manifests_of(tmp_path, [2, 8])

    def chunks():
        # With the time: a file system may give the number of a removed file to the next one.
        files = {path: path.stat() for path in tmp_path.rglob("values/c/*/0/0")}
        return {path: (file.st_ino, file.st_mtime_ns) for path, file in files.items()}

    # A forked process would hold its parent's lock.
    context = multiprocessing.get_context("spawn")
    with claim(scratch_of(manifests[2, "cls"])):
        arguments = (*images, shipped, spec_of(), manifests, "the code")
        waiting = context.Process(target=extract_activations, args=arguments)
        waiting.start()
        extract_activations(*images, shipped, spec_of(), manifests, code="the code")
        made = chunks()
    waiting.join()
    assert waiting.exitcode == 0
    assert len(made) == 6
    assert chunks() == made
    assert not scratch_of(manifests[2, "cls"]).exists()
    # Of other code, or in part, it is made again.
    extract_activations(*images, shipped, spec_of(), manifests, code="other code")
    assert not set(chunks().values()) & set(made.values())
    made = chunks()
    manifests[8, "cls"].unlink()
    extract_activations(*images, shipped, spec_of(), manifests, code="other code")
    assert {path for path, file in chunks().items() if made[path] != file} == {
        path for path in made if "L8.zarr" in path.parts
    }


PLACES = [(layer, token) for layer in (2, 8) for token in ("cls", "patches")]


def partials_of(folder, shards):
    name = f"{shards.start}-{shards[-1]}"
    return {(layer, token): folder / token / f".L{layer}.{name}.json" for layer, token in PLACES}


def partials_by_manifest(folder, parts):
    return {
        folder / token / f"L{layer}.json": [partials_of(folder, p)[layer, token] for p in parts]
        for layer, token in PLACES
    }


def join(index, folder, parts):
    """Play the job that joins, and Snakemake, which deletes what it has joined."""
    partials = partials_by_manifest(folder, parts)
    join_shards(index, partials)
    for path in (path for paths in partials.values() for path in paths):
        path.unlink()


@pytest.mark.parametrize("cuts", [(0, 3), (0, 1, 3), (0, 1, 2, 3)])
def test_any_number_of_jobs_makes_the_same_bytes(shipped, images, tmp_path, undisturbed, cuts):
    spec = spec_of(patches=PatchSample(4, 0))
    parts = [range(*ends) for ends in pairwise(cuts)]
    for shards in reversed(parts):
        extract_shards(*images, shipped, spec, partials_of(tmp_path, shards), shards)
    assert not list(tmp_path.glob("*/L*")), "nothing looks complete"
    join(images[0], tmp_path, parts)
    assert tree(tmp_path) == tree(undisturbed)


def test_jobs_side_by_side_of_which_one_is_killed(shipped, images, tmp_path, undisturbed):
    """The others are not disturbed, and another number of jobs goes on with what is there."""
    spec = spec_of(patches=PatchSample(4, 0), batch_size=4)
    expected = tmp_path / "expected"
    extract_activations(*images, shipped, spec, manifests_of(expected, [2, 8], ["cls", "patches"]))
    folder = tmp_path / "parts"
    context = multiprocessing.get_context("fork")

    def start(shards):
        arguments = (*images, shipped, spec, partials_of(folder, shards), shards)
        child = context.Process(target=extract_shards, args=arguments)
        child.start()
        return child

    killed = start(range(2))
    sidecars = [folder / token / f".L{layer}.partial/0.json" for layer, token in PLACES]
    while not all(path.exists() for path in sidecars):
        time.sleep(0.01)
        assert killed.is_alive()
    # Not gone yet, and with all that it holds.
    os.kill(killed.pid, signal.SIGSTOP)
    made = {path: path.stat().st_mtime_ns for path in sidecars}
    survivor = start(range(2, 3))
    survivor.join(60)
    finished = survivor.exitcode
    killed.kill()
    killed.join()
    assert finished == 0, "it waits for no other"
    assert not any(path.exists() for path in partials_of(folder, range(2)).values())
    again = [range(1), range(1, 2), range(2, 3)]
    for child in [start(shards) for shards in again]:
        child.join()
        assert child.exitcode == 0
    assert {path: path.stat().st_mtime_ns for path in sidecars} == made, "shard 0 was kept"
    join(images[0], folder, again)
    assert tree(folder) == tree(expected)


@pytest.mark.parametrize("link", [os.link, os.replace], ids=["linked", "moved"])
def test_join_that_was_killed_is_done_again(
    shipped, images, tmp_path, undisturbed, monkeypatch, link
):
    """Killed amid a store's shards, and when all stores are done but Snakemake does not know."""
    spec = spec_of(patches=PatchSample(4, 0))
    parts = [range(1), range(1, 3)]
    for shards in parts:
        extract_shards(*images, shipped, spec, partials_of(tmp_path, shards), shards)
    partials = partials_by_manifest(tmp_path, parts)
    linked = []

    def link_once(source, target):
        if linked:
            raise KeyboardInterrupt
        linked.append(target)
        link(source, target)

    monkeypatch.setattr(writer_module, "_link", link_once)
    with pytest.raises(KeyboardInterrupt):
        join_shards(images[0], partials)
    assert len(linked) == 1 and not list(tmp_path.glob("*/L*.json"))
    monkeypatch.setattr(writer_module, "_link", link)
    join_shards(images[0], partials)
    assert not list(tmp_path.glob("*/.L*.partial"))
    for manifest in partials:
        manifest.unlink()
    join(images[0], tmp_path, parts)
    assert tree(tmp_path) == tree(undisturbed)


def test_shards_that_do_not_belong_together_are_not_joined(shipped, images, tmp_path):
    spec = spec_of(patches=PatchSample(4, 0))
    parts = [range(2), range(2, 3)]
    for shards, batch_size in zip(parts, (8, 16), strict=True):
        spec = spec_of(patches=PatchSample(4, 0), batch_size=batch_size)
        extract_shards(*images, shipped, spec, partials_of(tmp_path, shards), shards)
    with pytest.raises(ValueError, match=r"made by different .* delete .*\.L2\.0-1\.json"):
        join(images[0], tmp_path, parts)
    extract_shards(*images, shipped, spec, partials_of(tmp_path, parts[0]), parts[0])
    lost = tmp_path / "cls" / ".L2.partial" / "1"
    lost.unlink()
    with pytest.raises(ValueError, match=rf"{lost}: gone; delete .*\.L2\.\*-\*\.json"):
        join(images[0], tmp_path, parts)
    assert not list(tmp_path.glob("*/L*.json"))
