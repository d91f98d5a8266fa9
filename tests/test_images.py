import numpy as np
import pytest
from PIL import Image

from cladescope.images import ImageIndex, common_classes, index_images

CLASSES = ("n01440764", "n01443537")


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for wnid in CLASSES:
        (tmp_path / wnid).mkdir()
        for number in range(3):
            pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / wnid / f"{number}.png")
    return tmp_path


def test_rows_are_sorted_by_class_and_name(folder):
    index = index_images(folder)
    assert index.paths == [f"{wnid}/{number}.png" for wnid in CLASSES for number in range(3)]
    assert index.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert index.wnids == list(CLASSES)


def test_round_trip_and_thread_count(folder, tmp_path):
    index = index_images(folder)
    index.save(tmp_path / "a.parquet")
    index_images(folder, threads=3).save(tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    loaded = ImageIndex.load(tmp_path / "a.parquet")
    assert loaded.paths == index.paths
    assert loaded.sha256 == index.sha256
    assert (loaded.labels == index.labels).all()


def test_every_corrupt_image_is_listed(folder):
    first, second = folder / CLASSES[0] / "1.png", folder / CLASSES[1] / "2.png"
    first.write_bytes(first.read_bytes()[:60])
    second.write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"2 fault\(s\)") as error:
        index_images(folder)
    assert str(first) in str(error.value)
    assert str(second) in str(error.value)
    assert "replace or remove" in str(error.value)


def test_empty_class_folder(folder):
    (folder / "n01484850").mkdir()
    with pytest.raises(ValueError, match="n01484850: the class folder holds no image"):
        index_images(folder)


def test_folder_that_is_no_wnid(folder):
    (folder / CLASSES[0]).rename(folder / "goldfish")
    with pytest.raises(ValueError, match="goldfish: not a WordNet id"):
        index_images(folder)


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        index_images(tmp_path / "nowhere")


def test_splits_must_share_their_classes(folder):
    index = index_images(folder)
    other = ImageIndex(["x.png"], np.zeros(1, np.int32), [CLASSES[0]], ["0"])
    assert common_classes({"train": index, "eval": index}) == list(CLASSES)
    with pytest.raises(ValueError, match=f"split eval has no images of {CLASSES[1]}"):
        common_classes({"train": index, "eval": other})
