"""The configuration on ImageNet's 100-class subset, with a cache of that layout made by hand."""

import csv
import io

import datasets
import numpy as np
import pytest
import yaml
from datasets.arrow_writer import ArrowWriter
from PIL import Image

from cladescope.config import complete_config, index_spec
from cladescope.images.classes import read_wnid_map
from cladescope.images.indexing import index_images
from cladescope.images.sources import make_source
from cladescope.operations.plan import make_plan
from cladescope.operations.plan_lines import PROFILE, Grouping, describe_plan
from cladescope.taxonomy.wordnet import build_taxonomy

REVISION = "0519dc2f402a3a18c6e57f7913db059215eee25b"


@pytest.fixture(scope="module")
def config(root):
    text = (root / "config" / "dinov2_small_imagenet100.yaml").read_text()
    return complete_config(yaml.safe_load(text))


@pytest.fixture(scope="module")
def labels(root):
    with (root / "resources" / "imagenet100.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def cache(tmp_path, labels):
    """What `datasets.load_dataset` leaves: Arrow files in a folder of the revision, one a split."""
    names = [row["label"] for row in labels]
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=names)}
    )
    folder = tmp_path / "clane9___imagenet-100" / "default" / "0.0.0" / REVISION
    folder.mkdir(parents=True)
    splits = {}
    for split in ("train", "validation"):
        path = folder / f"imagenet-100-{split}.arrow"
        with ArrowWriter(features=features, path=str(path)) as writer:
            for label in range(100):
                file = io.BytesIO()
                Image.new("RGB", (8, 8), (label, 0, split == "train")).save(file, "PNG")
                image = {"bytes": file.getvalue(), "path": f"{label}.png"}
                writer.write({"image": image, "label": label})
            writer.finalize()
        splits[split] = {"name": split, "num_examples": 100, "dataset_name": "imagenet-100"}
    info = datasets.DatasetInfo(features=features, builder_name="parquet", version="0.0.0")
    info.dataset_name, info.config_name = "imagenet-100", "default"
    info.splits = datasets.SplitDict.from_split_dict(splits)
    info.write_to_directory(str(folder))
    return tmp_path


def test_classes_are_those_of_the_subset_and_have_a_taxonomy(labels, root):
    wnids = [row["wnid"] for row in labels]
    assert len(set(wnids)) == len({row["label"] for row in labels}) == 100
    taxonomy = build_taxonomy(wnids, root / "resources" / "nltk_data")
    assert set(taxonomy.leaves) == set(wnids)


def test_nodes_named_for_relevancy_are_internal(config, labels, root):
    taxonomy = build_taxonomy([row["wnid"] for row in labels], root / "resources" / "nltk_data")
    counts = dict(zip(taxonomy.nodes, taxonomy.n_leaves, strict=True))
    assert all(1 < counts[node] < 100 for node in config["relevancy"]["nodes"])


@pytest.mark.parametrize("split", ["train", "eval"])
def test_a_cache_of_that_layout_is_indexed(config, cache, labels, root, split, monkeypatch):
    monkeypatch.chdir(root)
    dataset = config["datasets"]["imagenet100"] | {"cache": str(cache)}
    spec = index_spec(dataset, split, "")
    index, skipped = index_images(
        make_source(**spec["source"]),
        read_wnid_map(spec["wnids"]),
        expected=100,
        **spec["listing"],
    )
    assert skipped.empty
    assert [index.wnids[label] for label in index.labels] == [row["wnid"] for row in labels]
    assert len(np.unique(index.sha256, axis=0)) == 100


def test_the_plan_counts_every_block(config, root):
    grouping = Grouping.load(root / PROFILE)
    lines = list(describe_plan(make_plan(config), "H100", grouping))
    counted = {words[0]: words[1:3] for line in lines if len(words := line.split()) > 3}
    assert counted["dinov2_small_train_0"] == ["126689", "12"]
    assert counted["random_eval_0"] == ["5000", "3"]
