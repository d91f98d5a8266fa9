"""Listing and reading: class folders, label files, tar shards, Hugging Face datasets."""

import io
import json
import pickle
import tarfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pandas as pd
import pytest
from PIL import Image

from cladescope.files import write_json
from cladescope.images.index import decode_image
from cladescope.images.indexing import index_images, list_images
from cladescope.images.sources import open_source, source_path
from cladescope.images.sources.huggingface import HuggingFace
from cladescope.images.sources.image_folder import ImageFolder
from cladescope.images.sources.webdataset import WebDataset

CLASSES = ("n01440764", "n01443537")


def png(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (level, 0, 0)).save(file, "PNG")
    return file.getvalue()


def level_of(content: bytes) -> int:
    return decode_image(content).getpixel((0, 0))[0]


def write_images(folder, *names: str) -> str:
    """Write images whose red level is their number in `names`."""
    for level, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(level))
    return str(folder)


def write_tar(path, members: dict[str, bytes], **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def rows(listing) -> list[tuple[str, str]]:
    labels = [listing.classes[label] for label in listing.labels]
    return list(zip(listing.paths.tolist(), labels, strict=True))


# Class folders


def test_class_folders_are_sorted_by_class_and_name(tmp_path):
    names = [f"{wnid}/{number}.png" for wnid in reversed(CLASSES) for number in (2, 0, 1)]
    source = ImageFolder(write_images(tmp_path, *names, f"{CLASSES[0]}/notes.txt"))
    expected = [(f"{wnid}/{number}.png", wnid) for wnid in CLASSES for number in range(3)]
    listing = list_images(source)
    assert rows(listing) == expected
    assert level_of(source.read(listing, 5)) == names.index("n01443537/2.png")


def test_images_in_folders_below_a_class_folder(tmp_path):
    source = ImageFolder(write_images(tmp_path, "n01440764/a/0.JPEG", "n01440764/1.jpg"))
    assert [path for path, _ in rows(list_images(source))] == [
        "n01440764/1.jpg",
        "n01440764/a/0.JPEG",
    ]


def test_empty_class_folder(tmp_path):
    write_images(tmp_path, "n01440764/0.png")
    (tmp_path / "n01484850").mkdir()
    with pytest.raises(ValueError, match="n01484850: the class folder holds no image"):
        list_images(ImageFolder(str(tmp_path)))


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        list_images(ImageFolder(str(tmp_path / "nowhere")))


def test_flat_folder_without_a_label_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="set the dataset's label_files"):
        list_images(ImageFolder(write_images(tmp_path, "0.png")))


# Label files


@pytest.fixture
def flat(tmp_path):
    return ImageFolder(write_images(tmp_path / "val", *(f"val_{i}.JPEG" for i in range(3))))


LABELLED = [("val_0.JPEG", "n01443537"), ("val_2.JPEG", "n01440764")]


@pytest.mark.parametrize(
    "text",
    [
        "path,wnid\nval_0.JPEG,n01443537\nval_2.JPEG,n01440764\n",
        "wnid,path,label\nn01443537,val_0,1\nn01440764,val_2,0\n",
        "\ufefffile,class\r\nval_0.JPEG,n01443537\r\nval_2.JPEG,n01440764\r\n",
        # Kaggle's LOC_val_solution.csv: boxes behind the label, several of them.
        "ImageId,Boxes\nval_0,n01443537 1 2 3 4 n01443537 5 6 7 8\nval_2,n01440764 8 1 2 3\n",
        # Caffe's val.txt
        "val_0.JPEG n01443537\nval_2.JPEG n01440764\n",
    ],
    ids=["path and wnid", "wnid before label", "other header", "Kaggle", "Caffe"],
)
def test_label_file_names_the_images(flat, tmp_path, text):
    (tmp_path / "labels.csv").write_text(text)
    assert rows(list_images(flat, label_file=str(tmp_path / "labels.csv"))) == LABELLED


def test_parquet_label_file_with_paths_in_folders(tmp_path):
    source = ImageFolder(write_images(tmp_path / "images", "a/0.png", "b/c/0.png"))
    pd.DataFrame({"path": ["b/c/0.png", "a/0.png"], "label": [7, 3]}).to_parquet(
        tmp_path / "labels.parquet"
    )
    listing = list_images(source, label_file=str(tmp_path / "labels.parquet"))
    assert rows(listing) == [("b/c/0.png", "7"), ("a/0.png", "3")]
    assert level_of(source.read(listing, 0)) == 1


def test_one_label_a_line_in_the_order_of_the_file_names(flat, tmp_path):
    labels = tmp_path / "synset_labels.txt"
    labels.write_text("n01443537\nn01440764\nn01443537\n")
    assert rows(list_images(flat, label_file=str(labels))) == [
        ("val_0.JPEG", "n01443537"),
        ("val_1.JPEG", "n01440764"),
        ("val_2.JPEG", "n01443537"),
    ]
    labels.write_text("n01443537\nn01440764\n")
    with pytest.raises(ValueError, match=r"holds 2 labels.* holds 3 images"):
        list_images(flat, label_file=str(labels))


def test_every_fault_of_a_label_file_is_listed(flat, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "path,label\nval_0.JPEG,a\nval_0,b\nval_9,a\n../secret.png,a\n/etc/secret.png,b\n"
    )
    with pytest.raises(ValueError, match=r"labels.csv has 4 fault\(s\)") as error:
        list_images(flat, label_file=str(labels))
    message = str(error.value)
    assert "val_0.JPEG: named twice" in message
    assert "val_9: no such image" in message
    assert "../secret.png: leads out of" in message
    assert "/etc/secret.png: leads out of" in message


def test_extension_that_could_be_either(tmp_path):
    source = ImageFolder(write_images(tmp_path / "val", "0.png", "0.jpg"))
    (tmp_path / "labels.csv").write_text("path,label\n0,a\n")
    with pytest.raises(ValueError, match=r"0: could be any of 0.jpg, 0.png"):
        list_images(source, label_file=str(tmp_path / "labels.csv"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\nval_0,\n,b\n", r"row 1: val_0: .*\n.*row 2: no path"),
        ("path\n", "holds 1 labels"),
        ("one two three\n", "the first line is 'one two three'"),
        ("path,label\n", "names no image"),
        ("", "the first line is ''"),
    ],
)
def test_label_file_that_is_incomplete(flat, tmp_path, text, message):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        list_images(flat, label_file=str(tmp_path / "labels.csv"))


def test_missing_label_file(flat, tmp_path):
    with pytest.raises(FileNotFoundError, match="correct the dataset's label_files"):
        list_images(flat, label_file=str(tmp_path / "none.csv"))


# Tar shards


def test_webdataset_samples(tmp_path):
    write_tar(tmp_path / "train-1.tar", {"d/7.cls": b"n01443537\n", "d/7.jpg": png(2)})
    members = {
        "0.jpg": png(0),
        "0.cls": b"5",
        "0.json": b'{"caption": "the label is in the .cls"}',
        "0.seg.png": png(99),
        "1.json": json.dumps({"label": 6, "height": 4}).encode(),
        "1.png": png(1),
    }
    write_tar(tmp_path / "train-0.tar", members)
    write_tar(tmp_path / "val-0.tar", {"0.jpg": png(0), "0.cls": b"5"})
    source = WebDataset(str(tmp_path))
    listing = list_images(source, pattern="train-*.tar")
    assert rows(listing) == [
        ("train-0.tar/0.jpg", "5"),
        ("train-0.tar/1.png", "6"),
        ("train-1.tar/d/7.jpg", "n01443537"),
    ]
    assert [level_of(source.read(listing, row)) for row in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(
    "options", [{"format": tarfile.PAX_FORMAT}, {"format": tarfile.GNU_FORMAT}]
)
def test_tars_of_class_folders_and_of_one_class(tmp_path, options):
    # Names beyond a header's 100 bytes take a member of their own.
    long = "x" * 200
    write_tar(
        tmp_path / "a.tar",
        {f"./train/n01440764/{long}.v2.JPEG": png(0), "train/n01443537/0.JPEG": png(1)},
        **options,
    )
    write_tar(tmp_path / "below" / "n01443537.tar", {"n01443537_1.JPEG": png(2)}, **options)
    source = WebDataset(str(tmp_path))
    listing = list_images(source, pattern="**/*.tar")
    assert rows(listing) == [
        (f"a.tar/train/n01440764/{long}.v2.JPEG", "n01440764"),
        ("a.tar/train/n01443537/0.JPEG", "n01443537"),
        ("below/n01443537.tar/n01443537_1.JPEG", "n01443537"),
    ]
    assert [level_of(source.read(listing, row)) for row in range(3)] == [0, 1, 2]


def test_every_damaged_tar_is_listed(tmp_path):
    members = {f"n01440764/{i}.png": png(i) for i in range(4)}
    sound = write_tar(tmp_path / "sound.tar", members).read_bytes()
    with tarfile.open(tmp_path / "sound.tar") as tar:
        third = tar.getmembers()[2]
    # Cut within a member, between two members, and a header overwritten.
    (tmp_path / "a.tar").write_bytes(sound[: third.offset_data + 10])
    (tmp_path / "b.tar").write_bytes(sound[: third.offset])
    (tmp_path / "c.tar").write_bytes(
        sound[: third.offset] + b"\xff" * 512 + sound[third.offset + 512 :]
    )
    write_tar(tmp_path / "d.tar.gz", {}).write_bytes(b"\x1f\x8b")
    with tarfile.open(tmp_path / "e.tar", "w") as tar:
        link = tarfile.TarInfo("n01440764/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    (tmp_path / "f.tar").write_bytes(b"")
    with pytest.raises(ValueError, match=r"6 fault\(s\)") as error:
        list_images(WebDataset(str(tmp_path)), pattern="*.tar*")
    message = str(error.value)
    assert "a.tar: n01440764/2.png reaches beyond the end" in message
    assert f"b.tar: damaged or cut short after {third.offset} bytes" in message
    assert f"c.tar: damaged or cut short after {third.offset} bytes" in message
    assert "d.tar.gz: not named .tar" in message
    assert "e.tar: n01440764/link.png is a link" in message
    assert "f.tar: empty file" in message
    assert "sound.tar" not in message


def test_every_sample_without_a_label_is_listed(tmp_path):
    members = {"0.jpg": png(0), "0.cls": b"5", "1.jpg": png(1), "2.png": png(2), "0.png": png(3)}
    write_tar(tmp_path / "a.tar", members)
    write_tar(tmp_path / "b.tar", {"0.jpg": png(0), "0.json": b'{"caption": "a dog"}'})
    write_tar(tmp_path / "c.tar", {"0.jpg": png(0), "0.cls": b"x" * 2_000_000})
    with pytest.raises(ValueError, match=r"5 fault\(s\)") as error:
        list_images(WebDataset(str(tmp_path)))
    message = str(error.value)
    assert "a.tar/1.jpg: has no label; add 1.cls" in message
    assert "a.tar/2.png: has no label; add 2.cls" in message
    assert "a.tar/0.png: second image of its sample" in message
    assert "b.tar: 0.json has neither a wnid nor a label" in message
    assert "c.tar: 0.cls is too long for a label" in message


def test_pattern_that_matches_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train-\*.tar matches no tar file"):
        list_images(WebDataset(str(tmp_path)), pattern="train-*.tar")


def test_reading_leaves_nothing_on_disk(tmp_path):
    write_tar(tmp_path / "a.tar", {"../../n01440764/0.png": png(0)})
    source = WebDataset(str(tmp_path))
    listing = list_images(source)
    assert level_of(source.read(listing, 0)) == 0
    assert list(tmp_path.rglob("*")) == [tmp_path / "a.tar"]


# Hugging Face datasets


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A folder of parquet files as `datasets` writes them, and a cache."""
    import datasets

    folder = tmp_path_factory.mktemp("hub")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["tench", "goldfish"]),
            "wnid": datasets.Value("string"),
        }
    )
    for split, n in (("train", 3), ("validation", 5)):
        columns = {
            "image": [{"bytes": png(i), "path": None} for i in range(n)],
            "label": [i % 2 for i in range(n)],
            "wnid": [CLASSES[i % 2] for i in range(n)],
        }
        data = folder / "set" / "data"
        data.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict(columns, features).to_parquet(data / f"{split}-0.parquet")
    return {"name": str(folder / "set"), "cache": str(folder / "cache")}


def test_huggingface_classes_and_bytes(hub):
    source = HuggingFace(**hub, split="validation")
    listing = list_images(source)
    assert rows(listing) == [(f"validation/{row}", str(row % 2)) for row in range(5)]
    assert listing.names == {"0": "tench", "1": "goldfish"}
    assert source.read(listing, 3) == png(3)


def test_huggingface_column_of_wnids(hub):
    source = HuggingFace(**hub, split="train", label_column="wnid")
    assert [label for _, label in rows(list_images(source))] == [*CLASSES, CLASSES[0]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"split": "test"}, r"split 'test': Unknown split.*\['train', 'validation'\].*hub_splits"),
        ({"image_column": "img"}, "no column img.*it has image, label, wnid"),
        ({"label_column": "class"}, "no column class.*it has image, label, wnid"),
        ({"name": "nobody/nothing"}, "nobody/nothing is not in the cache"),
    ],
)
def test_huggingface_dataset_that_is_not_there(hub, changed, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        list_images(HuggingFace(**{"split": "train"} | hub | changed))


# All of them


def read_row(source, index, row):
    return source.read_checked(index, row)


@pytest.fixture(params=["image_folder", "webdataset", "huggingface"])
def indexed(request, tmp_path):
    """A source of each kind as jobs see it: the index and, beside it, where the images are."""
    names = [f"{wnid}/{number}.png" for wnid in CLASSES for number in range(2)]
    if request.param == "image_folder":
        spec = {"folder": write_images(tmp_path / "images", *names)}
    elif request.param == "webdataset":
        write_tar(tmp_path / "a.tar", {name: png(i) for i, name in enumerate(names)})
        spec = {"folder": str(tmp_path)}
    else:
        spec = {**request.getfixturevalue("hub"), "split": "validation", "label_column": "wnid"}
    path = tmp_path / "results" / "eval.parquet"
    write_json(source_path(path), {"kind": request.param, **spec})
    index, _ = index_images(open_source(path))
    return open_source(path), index


def test_workers_read_what_was_indexed(indexed):
    source, index = indexed
    assert pickle.loads(pickle.dumps(source)) == source
    read_row(source, index, 0)  # so that the workers inherit whatever is open
    with ProcessPoolExecutor(2, get_context("fork")) as pool:
        futures = [pool.submit(read_row, source, index, row % 4) for row in range(40)]
        assert [level_of(future.result()) for future in futures] == [0, 1, 2, 3] * 10


def test_image_of_another_hash_is_refused(indexed):
    source, index = indexed
    index.sha256.flags.writeable = True
    index.sha256[1] = index.sha256[0]
    with pytest.raises(ValueError, match="is not the image that was indexed; put it back") as error:
        source.read_checked(index, 1)
    assert source.locate(index.paths[1]) in str(error.value)


def test_images_that_are_gone_are_named(tmp_path):
    folder = ImageFolder(write_images(tmp_path / "images", "n01440764/0.png"))
    write_tar(tmp_path / "a.tar", {"n01440764/0.png": png(0)})
    tars = WebDataset(str(tmp_path))
    indices = [index_images(source)[0] for source in (folder, tars)]
    (tmp_path / "images" / "n01440764" / "0.png").unlink()
    with pytest.raises(ValueError, match=r"images/n01440764/0.png is gone; put it back"):
        folder.read_checked(indices[0], 0)
    moved = WebDataset(str(tmp_path / "elsewhere"))
    with pytest.raises(ValueError, match=r"elsewhere/a.tar/n01440764/0.png is gone"):
        moved.read_checked(indices[1], 0)


def test_tar_that_changed_since_it_was_indexed(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"n01440764/0.png": png(0), "n01440764/1.png": png(1)})
    source = WebDataset(str(tmp_path))
    index, _ = index_images(source)
    with path.open("r+b") as file:
        file.seek(int(index.spans[1, 0]) + 20)
        file.write(b"\xff")
    assert level_of(source.read_checked(index, 0)) == 0
    with pytest.raises(ValueError, match=r"a.tar/n01440764/1.png is not the image"):
        source.read_checked(index, 1)


def test_missing_description_of_the_source(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"eval.source.json is missing; delete"):
        open_source(tmp_path / "eval.parquet")
