"""The index: classes become wnids, bad images are found, all of them."""

import io
import logging

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cladescope.images.classes import read_wnid_map, wnids_of
from cladescope.images.indexing import BLOCK, index_images
from cladescope.images.sources.base import Listing
from cladescope.images.sources.image_folder import ImageFolder

CLASSES = ("n01440764", "n01443537")


@pytest.fixture
def folder(tmp_path):
    """Three images in each of two class folders."""
    rng = np.random.default_rng(0)
    for wnid in CLASSES:
        (tmp_path / "images" / wnid).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / wnid / f"{number}.png")
    return tmp_path / "images"


def break_two(folder):
    first, second = folder / CLASSES[0] / "1.png", folder / CLASSES[1] / "2.png"
    first.write_bytes(first.read_bytes()[:60])
    second.write_bytes(b"not an image")
    return first, second


def test_index_of_class_folders(folder):
    index, skipped = index_images(ImageFolder(str(folder)))
    assert index.paths.tolist() == [f"{wnid}/{i}.png" for wnid in CLASSES for i in range(3)]
    assert index.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert index.wnids == list(CLASSES)
    assert list(skipped.columns) == ["path", "wnid", "reason"]
    assert skipped.empty


def test_index_is_the_same_elsewhere_and_with_more_threads(folder, tmp_path):
    index_images(ImageFolder(str(folder)))[0].save(tmp_path / "a.parquet")
    folder.rename(tmp_path / "moved")
    index_images(ImageFolder(str(tmp_path / "moved")), threads=3)[0].save(tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_more_images_than_a_block(tmp_path):
    """Every row has its own image's hash, whatever the order in which threads finish."""
    (tmp_path / "n01440764").mkdir()
    for number in range(2 * BLOCK + 3):
        Image.new("L", (1, 1 + number)).save(tmp_path / "n01440764" / f"{number:04}.bmp")
    source = ImageFolder(str(tmp_path))
    index, _ = index_images(source, threads=4)
    assert len(index) == 2 * BLOCK + 3
    for row in range(len(index)):
        assert source.read_checked(index, row)[22:26] == (1 + row).to_bytes(4, "little")


def test_every_bad_image_is_listed(folder, caplog):
    first, second = break_two(folder)
    with pytest.raises(ValueError, match=r"2 fault\(s\)") as error:
        index_images(ImageFolder(str(folder)), threads=2)
    message = str(error.value)
    assert f"{first}: does not decode" in message
    assert f"{second}: does not decode (none of the formats" in message
    assert "replace or remove" in message
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 2


def test_long_report_is_cut_in_the_message_and_whole_in_the_log(tmp_path, caplog):
    (tmp_path / "n01440764").mkdir()
    for number in range(80):
        (tmp_path / "n01440764" / f"{number}.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"80 fault\(s\).*\n(.*\n){50}.*and 30 more"):
        index_images(ImageFolder(str(tmp_path)))
    assert sum("the file is empty" in record.message for record in caplog.records) == 80


def test_bad_images_are_skipped_and_recorded(folder):
    break_two(folder)
    index, skipped = index_images(ImageFolder(str(folder)), on_bad_image="skip")
    assert index.paths.tolist() == [
        "n01440764/0.png",
        "n01440764/2.png",
        "n01443537/0.png",
        "n01443537/1.png",
    ]
    assert index.labels.tolist() == [0, 0, 1, 1]
    assert skipped["path"].tolist() == ["n01440764/1.png", "n01443537/2.png"]
    assert skipped["wnid"].tolist() == list(CLASSES)
    assert skipped["reason"].str.startswith("does not decode").all()
    source = ImageFolder(str(folder))
    assert all(source.read_checked(index, row) for row in range(4))


def test_image_that_a_label_file_names_and_nobody_has(folder, tmp_path):
    (tmp_path / "labels.csv").write_text(
        f"path,wnid\nn01440764/0.png,{CLASSES[0]}\nx/7.png,{CLASSES[0]}\n"
    )
    options = {"label_file": str(tmp_path / "labels.csv")}
    with pytest.raises(ValueError, match=r"x/7.png: cannot be read \(No such file"):
        index_images(ImageFolder(str(folder)), **options)
    index, skipped = index_images(ImageFolder(str(folder)), on_bad_image="skip", **options)
    assert len(index) == len(skipped) == 1


def test_class_of_which_every_image_is_skipped_is_no_class(folder):
    for path in (folder / CLASSES[0]).iterdir():
        path.write_bytes(b"")
    index, _ = index_images(ImageFolder(str(folder)), on_bad_image="skip")
    assert index.wnids == [CLASSES[1]]
    assert index.labels.tolist() == [0, 0, 0]


def test_no_image_is_left(folder):
    for path in folder.glob("*/*.png"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="holds no image that decodes"):
        index_images(ImageFolder(str(folder)), on_bad_image="skip")


def test_expected_number_of_images(folder):
    assert len(index_images(ImageFolder(str(folder)), expected=6)[0]) == 6
    with pytest.raises(ValueError, match="holds 6 images, expected_images says 7"):
        index_images(ImageFolder(str(folder)), expected=7)


# Classes


def listing_of(classes, names=None):
    paths = np.array([f"{i}.png" for i in range(len(classes))], np.dtypes.StringDType())
    return Listing(paths, np.arange(len(classes)), classes, names or {})


def test_folders_that_are_no_wnids_are_all_listed(folder):
    (folder / CLASSES[0]).rename(folder / "goldfish")
    (folder / CLASSES[1]).rename(folder / "tench")
    with pytest.raises(ValueError, match=r"2 fault\(s\)") as error:
        index_images(ImageFolder(str(folder)))
    assert "goldfish: not a WordNet id" in str(error.value)
    assert "tench: not a WordNet id" in str(error.value)


def test_own_map_names_classes_and_may_join_them(folder, tmp_path):
    for old, new in zip(CLASSES, ("tinca", "tench"), strict=True):
        (folder / old).rename(folder / new)
    (tmp_path / "map.csv").write_text("label,wnid,note\ntench,n01440764,\ntinca,n01440764,Latin\n")
    index, _ = index_images(
        ImageFolder(str(folder)), wnid_map=read_wnid_map(str(tmp_path / "map.csv"))
    )
    assert index.wnids == ["n01440764"]
    assert len(index) == 6


def test_classes_of_an_own_taxonomy_have_any_ids(folder, tmp_path):
    for old, new in zip(CLASSES, ("Tinca tinca", "Carassius"), strict=True):
        (folder / old).rename(folder / new)
    (tmp_path / "map.csv").write_text("label,wnid\nCarassius,goldfish\n")
    wnid_map = read_wnid_map(str(tmp_path / "map.csv"), own_ids=True)
    index, _ = index_images(ImageFolder(str(folder)), wnid_map=wnid_map, own_ids=True)
    assert index.wnids == ["Tinca tinca", "goldfish"]
    with pytest.raises(ValueError, match="Tinca tinca: not a WordNet id"):
        index_images(ImageFolder(str(folder)), wnid_map={"Carassius": "n01440764"})


def test_classes_are_numbered_by_wnid_not_by_label(folder, tmp_path):
    for old, new in zip(CLASSES, ("b", "a"), strict=True):
        (folder / old).rename(folder / new)
    wnid_map = {"b": CLASSES[0], "a": CLASSES[1]}
    index, _ = index_images(ImageFolder(str(folder)), wnid_map=wnid_map)
    assert index.wnids == list(CLASSES)
    assert index.paths[0].startswith("a/")
    assert index.labels.tolist() == [1, 1, 1, 0, 0, 0]


def test_imagenet_numbers():
    """Spot checks from the class list that every ImageNet user has seen."""
    wnids = wnids_of(listing_of(["0", "1", "207", "999"]), read_wnid_map("imagenet-1k"), "x")
    assert wnids == ["n01440764", "n01443537", "n02099601", "n15075141"]
    # The development kit's own numbers, from 1 to 1000 in another order, do not pass.
    with pytest.raises(ValueError, match="1000: not a WordNet id"):
        wnids_of(listing_of(["1", "1000"]), read_wnid_map("imagenet-1k"), "x")


def test_names_in_the_source_are_wnids_or_mapped():
    named = listing_of(["0", "1"], {"0": "n02102040", "1": "dog"})
    assert wnids_of(named, {"dog": "n02084071"}, "x") == ["n02102040", "n02084071"]


def test_map_that_contradicts_the_source():
    """Imagenette's class 1 is not ImageNet's class 1."""
    named = listing_of(["1"], {"1": "n02102040"})
    with pytest.raises(ValueError, match="1: n02102040 in the dataset, n01443537 by"):
        wnids_of(named, read_wnid_map("imagenet-1k"), "x")


def test_faulty_map_lists_every_row(tmp_path):
    path = tmp_path / "map.csv"
    path.write_text("label,wnid\na,n02084071\na,n02084071\nb,dog\nc,\n")
    with pytest.raises(ValueError, match=r"3 fault\(s\)") as error:
        read_wnid_map(str(path))
    for text in ("'a': is in several rows", "'b': 'dog' is not", "'c': '' is not"):
        assert text in str(error.value)
    path.write_text("class,id\na,n02084071\n")
    with pytest.raises(ValueError, match="has the columns class, id; name label and wnid"):
        read_wnid_map(str(path))
    with pytest.raises(FileNotFoundError, match="correct the dataset's wnids"):
        read_wnid_map(str(tmp_path / "none.csv"))


def test_skipped_table_reads_back(folder):
    break_two(folder)
    _, skipped = index_images(ImageFolder(str(folder)), on_bad_image="skip")
    text = skipped.to_csv(index=False)
    assert pd.read_csv(io.StringIO(text)).equals(skipped)
