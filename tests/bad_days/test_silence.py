"""Single flipped bits, cuts and swaps in every kind of file that the workflow reads again.

Each is either noticed by the check that a job makes before it uses the file, and named, or what is
read is the same as before.
"""

import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from cladescope.activations.store import ActivationStore
from cladescope.activations.writer import ActivationWriter, ShardPlan, scratch_of
from cladescope.backbone.weights import _check_sidecar
from cladescope.dictionaries.training.checkpoint import load_checkpoint, save_checkpoint
from cladescope.seals import check_seal, seal_of
from stores import append

FLIPS = 80
DICTIONARY = "trained/dictionaries/cls/L8/topk/w48_k2_s0"
SEALED = {
    "weights of a dictionary": f"{DICTIONARY}/sae.safetensors",
    "its sae.json": f"{DICTIONARY}/sae.json",
    "codes": f"{DICTIONARY}/codes.parquet",
    "quality.json": f"{DICTIONARY}/quality.json",
    "tables of scores": f"{DICTIONARY}/nodes.parquet",
    "scores.json": f"{DICTIONARY}/scores.json",
    "index of images": "datasets/planted/images/eval.parquet",
    "taxonomy": "datasets/planted/taxonomy.parquet",
    "manifest": "trained/activations/eval/cls/L8.json",
    "probes": "trained/probes/cls/L8.parquet",
    "provenance.json": "trained/provenance.json",
    "tables": "tables/metrics.csv",
    "compressed tables": "tables/latents.csv.gz",
    "figures": "figures/scores.png",
}
OWN = ("shard, read", "shard, streamed", "backbone", "training checkpoint", "sidecar of a shard")


def flips(path: Path):
    """Damage a file in place in one way after another."""
    content = path.read_bytes()
    draw = random.Random(path.name)
    for _ in range(FLIPS):
        damaged = bytearray(content)
        bit = draw.randrange(len(content) * 8)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        yield
    for length in (0, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        yield
    path.write_bytes(bytes(len(content)))
    yield
    path.write_bytes(content)


@pytest.mark.parametrize("kind", SEALED)
def test_no_damage_of_a_sealed_file_is_silent(finished, tmp_path, kind):
    path = finished.folder / "results" / "small" / SEALED[kind]
    copy = tmp_path / "results" / SEALED[kind]
    copy.parent.mkdir(parents=True)
    shutil.copy(path, copy)
    shutil.copy(seal_of(path), seal_of(copy))
    check_seal(copy)
    noticed = 0
    for _ in flips(copy):
        with pytest.raises(ValueError, match=copy.name):
            check_seal(copy)
        noticed += 1
    assert noticed == FLIPS + 4
    check_seal(copy)


def stream_a_pass(manifest):
    """Read all of a store in random order; what follows a shard's array is not read."""
    store = ActivationStore.open(manifest)
    stream = store.stream(store.shape[0], 0)
    rows = next(stream)
    # The second pass begins when the first has been checked.
    next(stream)
    return np.sort(rows, axis=0)


def read(manifest):
    return np.sort(ActivationStore.open(manifest).read()[:, 0], axis=0)


@pytest.mark.parametrize("way", [read, stream_a_pass])
def test_no_damage_of_a_shard_is_silent(finished, tmp_path, way):
    shutil.copytree(
        finished.folder / "results/small/trained/activations/train/cls", tmp_path / "cls"
    )
    manifest = tmp_path / "cls" / "L8.json"
    whole = way(manifest)
    noticed = 0
    for _ in flips(ActivationStore.open(manifest).chunk(1)):
        try:
            assert np.array_equal(way(manifest), whole)
        except ValueError as error:
            noticed += bool(re.search("checksum|size|not the one extracted", str(error)))
    assert noticed >= FLIPS


def test_no_damage_of_a_shipped_backbone_is_silent(root, tmp_path):
    for suffix in (".safetensors", ".json"):
        shutil.copy(root / "resources" / "planted_vit" / f"s0{suffix}", tmp_path)
    weights = tmp_path / "s0.safetensors"
    _check_sidecar(weights)
    for _ in flips(weights):
        with pytest.raises(ValueError, match=r"s0.safetensors is not the one"):
            _check_sidecar(weights)


def test_a_damaged_training_checkpoint_is_dropped(tmp_path):
    draw = np.random.default_rng(0)
    state = {"encoder": draw.standard_normal((20, 8)), "steps": np.array(7)}
    path = tmp_path / "state.safetensors"
    save_checkpoint(path, "key", 7, state)
    for _ in flips(path):
        assert load_checkpoint(path, "key") is None
    step, loaded = load_checkpoint(path, "key")
    assert step == 7
    assert all(np.array_equal(loaded[name], state[name]) for name in state)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", bytes(200), b"\xff\xfe"])
def test_a_shard_whose_sidecar_power_loss_has_emptied_is_made_again(tmp_path, content):
    sidecar = _unfinished(tmp_path)
    sidecar.write_bytes(content)
    assert ActivationWriter(tmp_path / "L1.json", ShardPlan(4, 2), "key").done == {}


def test_no_damage_of_a_sidecar_is_silent(tmp_path):
    sidecar = _unfinished(tmp_path)
    whole = ActivationWriter(tmp_path / "L1.json", ShardPlan(4, 2), "key").done
    assert list(whole) == [0]
    same = 0
    for _ in flips(sidecar):
        done = ActivationWriter(tmp_path / "L1.json", ShardPlan(4, 2), "key").done
        assert done in ({}, whole)
        same += done == whole
    # A flipped space of JSON may be another space.
    assert same < 4


def _unfinished(folder):
    """A store of two shards, of which one is there; return its sidecar."""
    scratch_of(folder / "L1.json").mkdir(parents=True)
    writer = ActivationWriter(folder / "L1.json", ShardPlan(4, 2), "key")
    append(writer, np.arange(24, dtype=np.float32).reshape(4, 1, 6), 0)
    return writer._paths(0)[1]


def test_the_documents_list_what_was_tried(root):
    text = (root / "docs" / "bad_days.md").read_text()
    for kind in (*SEALED, *OWN):
        assert f"| {kind} | {FLIPS + 4} | 0 |" in text, kind
