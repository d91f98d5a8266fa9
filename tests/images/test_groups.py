"""A column of a label file says which images belong together."""

import numpy as np
import pandas as pd
import pytest

from cladescope.images.groups import group_images, load_groups
from cladescope.images.index import ImageIndex


@pytest.fixture
def index() -> ImageIndex:
    paths = np.array(["a/1.png", "a/2.png", "b/1.png"], np.dtypes.StringDType())
    return ImageIndex(paths, np.array([0, 0, 1], np.int32), ["a", "b"], np.zeros((3, 32), np.uint8))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_groups_follow_the_order_of_the_index(index, tmp_path, suffix):
    # Without an extension, as a label file may name images; one image more than the index has.
    table = pd.DataFrame(
        {"path": ["b/1", "a/2.png", "a/1", "c/3"], "wnid": [*"baac"], "by": ["y", "x", "y", "z"]}
    )
    labels = tmp_path / f"labels.{suffix}"
    if suffix == "csv":
        table.to_csv(labels, index=False)
    else:
        table.to_parquet(labels)
    group_images(index, labels, "by", tmp_path / "groups.parquet")
    # x is 0 and y is 1.
    assert load_groups(tmp_path / "groups.parquet").tolist() == [1, 0, 1]


def test_a_missing_column_and_every_missing_group_are_named(index, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("path,wnid,by\na/1.png,a,\na/2.png,a,x\n")
    with pytest.raises(ValueError, match=r"labels.csv has no column 'patient'.*path, wnid, by"):
        group_images(index, labels, "patient", tmp_path / "groups.parquet")
    with pytest.raises(ValueError, match=r"2 fault(?s:.*)a/1.png: no by(?s:.*)b/1.png: no by"):
        group_images(index, labels, "by", tmp_path / "groups.parquet")
