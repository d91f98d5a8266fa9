"""Dictionaries that train from one reading: each as if alone."""

import dataclasses
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from checkouts import SMALL
from cladescope.config import complete_config
from cladescope.dictionaries.train import Target, train_dictionaries
from cladescope.dictionaries.training import fit, loop
from cladescope.dictionaries.training.spec import FitSpec, Recipe
from cladescope.dictionaries.variants import variant_module
from cladescope.sweep import DictionarySpec, expand_packs

RECIPE = Recipe(9000, 128, 1e-3, 0.05, 0.2, 0.01, 0.02, 0.1)
PLACE = ("planted", "patches", 3)
ENTRIES = [
    DictionarySpec(*PLACE, "topk", 32, 3, 0),
    DictionarySpec(*PLACE, "topk", 32, 3, 1),
    DictionarySpec(*PLACE, "topk", 48, 4, 0),
]


class Counted:
    """Blocks of random rows; counts how often each is read."""

    def __init__(self, n_blocks=5):
        self.data = np.random.default_rng(0).standard_normal((n_blocks, 600, 16)).astype(np.float32)
        self.n_rows, self.d, self.tokens, self.rows_per_block = 600 * n_blocks, 16, 1, 600
        self.read: list[int] = []

    def blocks(self, first=0):
        number = first
        while True:
            self.read.append(number)
            yield self.data[number % len(self.data)]
            number += 1

    def check(self):
        """Nothing lies on a disk."""

    def afresh(self):
        """Count this reading, too."""
        return self


def train(folder: Path, entries, source=None, recipe=RECIPE) -> dict[str, bytes]:
    targets = [
        Target(
            FitSpec(entry.width, entry.sparsity, entry.seed, recipe),
            folder / entry.folder / "sae.safetensors",
            key=f"data {entry.folder}",
        )
        for entry in entries
    ]
    for target in targets:
        target.weights.parent.mkdir(parents=True, exist_ok=True)
    train_dictionaries(entries[0].variant, source or Counted(), targets)
    return {
        f"{entry.name}/{name}": (target.weights.parent / name).read_bytes()
        for entry, target in zip(entries, targets, strict=True)
        for name in ("sae.safetensors", "sae.json", "training.parquet")
    }


@pytest.mark.parametrize("variant", ["topk", "batchtopk", "matching_pursuit", "hsae", "archetypal"])
def test_a_pack_makes_the_bytes_of_each_alone_from_one_reading(tmp_path, variant):
    entries = [DictionarySpec(*PLACE, variant, e.width, e.sparsity, e.seed) for e in ENTRIES]
    alone = {}
    for number, entry in enumerate(entries):
        alone |= train(tmp_path / str(number), [entry])
    source = Counted()
    assert train(tmp_path / "pack", entries, source) == alone
    assert len({alone[f"{entry.name}/sae.safetensors"] for entry in entries}) == 3
    if variant == "topk":
        # 70 steps of 4 batches a block; the first block is also what they begin from.
        assert source.read == list(range(18))


def test_a_fit_that_continues_joins_where_it_was(tmp_path, monkeypatch):
    calm = train(tmp_path / "calm", ENTRIES)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    stopped = Counted()
    stopped.data[4] = np.nan
    with pytest.raises(FloatingPointError, match="step 17"):
        train(tmp_path / "killed", ENTRIES[:1], stopped)
    checkpoint = tmp_path / "killed" / ENTRIES[0].folder / ".checkpoint.safetensors"
    assert checkpoint.exists()
    source = Counted()
    assert train(tmp_path / "killed", ENTRIES, source) == calm
    assert not checkpoint.exists()
    # The others come after it from the beginning; it waits for them at the fifth block.
    assert source.read == list(range(18))


def test_blocks_that_are_read_ahead_give_the_same_bytes(tmp_path, monkeypatch):
    """As for a GPU, on the processor; no block is read behind the last."""
    from cladescope.dictionaries.training.feeding import ahead

    calm = train(tmp_path / "calm", ENTRIES)
    reader = partial(ahead, device=torch.device("cpu"))
    monkeypatch.setattr(fit, "_reader", lambda: reader)
    source = Counted()
    assert train(tmp_path / "ahead", ENTRIES, source) == calm
    assert source.read == list(range(18))


@pytest.mark.parametrize("selection", [None, "tf32"])
def test_a_gpus_selection_is_written_down_where_it_is_asked_for(tmp_path, selection):
    recipe = dataclasses.replace(RECIPE, images=256, gpu_selection=selection)
    made = train(tmp_path, ENTRIES[:1], recipe=recipe)
    written = json.loads(made[f"{ENTRIES[0].name}/sae.json"])["identity"]["recipe"]
    # Dictionaries of before there was a choice have the other keys.
    assert len(written) == 8 + bool(selection)
    assert written.get("gpu_selection") == selection


@pytest.mark.parametrize("variant", ["topk", "relu"])
def test_a_run_that_diverges_lets_the_others_finish(variant):
    specs = [
        FitSpec(32, 3, seed, dataclasses.replace(RECIPE, learning_rate=rate))
        for seed, rate in enumerate((1e-3, 1e6, 1e-3))
    ]
    finished = []
    with pytest.raises(FloatingPointError, match="diverged"):
        variant_module(variant).train(
            Counted(), specs, lambda number, fit: finished.append(number), 1, ()
        )
    assert finished == [0, 2]


def test_packs_are_of_one_layer_and_variant():
    config = {**SMALL, "experiments": {**SMALL["experiments"]}}
    sweep = {**SMALL["experiments"]["trained"]["sweep"], "dictionaries_per_job": 3}
    sweep["variants"] = {
        "topk": {"width": [32, 48], "sparsity": [2, 4], "seed": [0]},
        "relu": {"width": [32], "sparsity": [0.5], "seed": [0, 1]},
        "neurons": {},
    }
    config["experiments"]["trained"] = {**SMALL["experiments"]["trained"], "sweep": sweep}
    config = complete_config(config)
    packs = expand_packs(config, by_variant=True)
    assert [len(pack.members) for pack in packs] == [3, 1, 2, 1, 3, 1, 2, 1]
    for pack in packs:
        first = pack.members[0]
        assert {(e.layer, e.variant) for e in pack.members} == {(first.layer, pack.variant)}
    packs = expand_packs(config, by_variant=False)
    assert [len(pack.members) for pack in packs] == [3, 3, 1, 3, 3, 1]
    assert len({pack.stem for pack in packs}) == 6
    assert all(len({e.layer for e in pack.members}) == 1 for pack in packs)
    assert expand_packs(complete_config(SMALL), by_variant=True) == []
