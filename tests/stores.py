"""Small activation stores that tests write, and what a folder of them holds."""

import numpy as np
import torch

from cladescope.activations.spec import ExtractionSpec
from cladescope.activations.statistics import Statistics, measure
from cladescope.activations.store import ShardPlan
from cladescope.activations.writer import ActivationWriter, scratch_of
from cladescope.images.index import ImageIndex


def index_of(n):
    labels = (np.arange(n) % 2).astype(np.int32)
    paths = np.array([f"{row}.png" for row in range(n)], np.dtypes.StringDType())
    return ImageIndex(paths, labels, ["n00000001", "n00000002"], np.zeros((n, 32), np.uint8))


def statistics_of(values):
    return Statistics.of(measure(torch.from_numpy(values)))


def append(writer, values, shard, batch=3):
    rows = writer.plan.rows(shard)
    for start in range(rows.start, rows.stop, batch):
        part = values[start : min(start + batch, rows.stop)]
        writer.append(shard, part, statistics_of(part))


def write(folder, values, n_shards, precision="float32", positions=None, key="key"):
    values = values.astype(precision)
    scratch_of(folder / "L3.json").mkdir(parents=True)
    writer = ActivationWriter(folder / "L3.json", ShardPlan(len(values), n_shards), key)
    for shard in range(n_shards):
        append(writer, values, shard)
    writer.finish({"layer": 3}, index_of(len(values)), positions)
    return folder / "L3.json"


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
