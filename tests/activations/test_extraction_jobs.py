"""Extraction: what survives a kill, and how jobs share a store."""

import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from cladescope.activations import writer as writer_module
from cladescope.activations.extract import extract_activations, extract_shards, join_shards
from cladescope.activations.spec import Extraction, PatchSample
from cladescope.activations.store import read_activations
from cladescope.activations.writer import scratch_of
from cladescope.files import claim
from stores import manifests_of, spec_of, tree


def test_killed_at_random_moments_ends_in_the_same_bytes(shipped, images, tmp_path, undisturbed):
    """kill -9 until a call gets through; Snakemake's part, deleting outputs, is played too."""
    extraction = Extraction(*images, shipped, spec_of(patches=PatchSample(4, 0)))
    manifests = manifests_of(tmp_path, [2, 8], ["cls", "patches"])
    rng = random.Random(0)
    context = multiprocessing.get_context("fork")
    started = time.monotonic()
    extract_activations(extraction, manifests_of(tmp_path / "timed", [2, 8], ["cls", "patches"]))
    duration = time.monotonic() - started
    kills, kept = 0, 0
    while kills < 24:
        child = context.Process(target=extract_activations, args=(extraction, manifests))
        child.start()
        child.join(rng.uniform(0.2, 1.0) * duration)
        if child.exitcode is None:
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL)
        outlived = any(Path(tmp_path).glob("*/.L*.partial/[0-9].json"))
        kept += outlived
        # The machine may be slower or faster by now than it was when it was timed.
        duration *= 1 if outlived else 0.8 if child.exitcode == 0 else 1.25
        for manifest in manifests.values():
            # A manifest is there only when its store is whole.
            if manifest.exists():
                read_activations(manifest)
                manifest.unlink()
            for chunk in manifest.with_suffix(".zarr").rglob("c/*"):
                if chunk.is_file() and rng.random() < 0.5:
                    chunk.unlink()
    assert kept, "some shards outlived a kill"
    extract_activations(extraction, manifests)
    found = {path: content for path, content in tree(tmp_path).items() if path.parts[0] != "timed"}
    assert found == tree(undisturbed)


def test_store_that_was_finished_while_waiting_is_not_made_again(shipped, images, tmp_path):
    """A job that outlived its workflow ends while the next one, of the same code, waits."""
    manifests = manifests_of(tmp_path, [2, 8])
    extraction = Extraction(*images, shipped, spec_of(), "the code")

    def chunks():
        # With the time: a file system may give the number of a removed file to the next one.
        files = {path: path.stat() for path in tmp_path.rglob("values/c/*/0/0")}
        return {path: (file.st_ino, file.st_mtime_ns) for path, file in files.items()}

    # A forked process would hold its parent's lock.
    context = multiprocessing.get_context("spawn")
    with claim(scratch_of(manifests[2, "cls"])):
        waiting = context.Process(target=extract_activations, args=(extraction, manifests))
        waiting.start()
        extract_activations(extraction, manifests)
        made = chunks()
    waiting.join(300)
    finished = waiting.exitcode
    waiting.kill()
    assert finished == 0
    assert len(made) == 6
    assert chunks() == made
    assert not scratch_of(manifests[2, "cls"]).exists()
    # Of other code, or in part, it is made again.
    other = replace(extraction, code="other code")
    extract_activations(other, manifests)
    assert not set(chunks().values()) & set(made.values())
    made = chunks()
    manifests[8, "cls"].unlink()
    extract_activations(other, manifests)
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
    extraction = Extraction(*images, shipped, spec_of(patches=PatchSample(4, 0)))
    parts = [range(*ends) for ends in pairwise(cuts)]
    for shards in reversed(parts):
        extract_shards(extraction, partials_of(tmp_path, shards), shards)
    assert not list(tmp_path.glob("*/L*")), "nothing looks complete"
    join(images[0], tmp_path, parts)
    assert tree(tmp_path) == tree(undisturbed)


def test_jobs_side_by_side_of_which_one_is_killed(shipped, images, tmp_path, undisturbed):
    """The others are not disturbed, and another number of jobs goes on with what is there."""
    spec = spec_of(patches=PatchSample(4, 0), batch_size=4)
    extraction = Extraction(*images, shipped, spec)
    expected = tmp_path / "expected"
    extract_activations(extraction, manifests_of(expected, [2, 8], ["cls", "patches"]))
    folder = tmp_path / "parts"
    context = multiprocessing.get_context("fork")

    def start(shards):
        arguments = (extraction, partials_of(folder, shards), shards)
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
    extraction = Extraction(*images, shipped, spec_of(patches=PatchSample(4, 0)))
    parts = [range(1), range(1, 3)]
    for shards in parts:
        extract_shards(extraction, partials_of(tmp_path, shards), shards)
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
    parts = [range(2), range(2, 3)]
    for shards, batch_size in zip(parts, (8, 16), strict=True):
        spec = spec_of(patches=PatchSample(4, 0), batch_size=batch_size)
        extraction = Extraction(*images, shipped, spec)
        extract_shards(extraction, partials_of(tmp_path, shards), shards)
    with pytest.raises(ValueError, match=r"made by different .* delete .*\.L2\.0-1\.json"):
        join(images[0], tmp_path, parts)
    extract_shards(extraction, partials_of(tmp_path, parts[0]), parts[0])
    lost = tmp_path / "cls" / ".L2.partial" / "1"
    lost.unlink()
    with pytest.raises(ValueError, match=rf"{lost}: gone; delete .*\.L2\.\*-\*\.json"):
        join(images[0], tmp_path, parts)
    assert not list(tmp_path.glob("*/L*.json"))
