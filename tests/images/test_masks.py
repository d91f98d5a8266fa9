"""Masks as files: what their numbers stand for, and what is wrong with them, said at once."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from cladescope.images.index import ImageIndex
from cladescope.images.indexing import index_images
from cladescope.images.masks import (
    MaskFolder,
    decode_mask,
    index_masks,
    mask_path,
    read_mask_table,
    save_masks,
)
from cladescope.images.sources.image_folder import ImageFolder

DOG, CAT = "n02084071", "n02121808"
TABLE = f"index,name,wnid\n1,dog,{DOG}\n2,sky,\n3,hound,{DOG}\n255,,\n"
CLASSES = {0: "", 1: DOG, 2: "sky", 3: DOG, 255: ""}


def png(numbers: np.ndarray, mode: str | None = None) -> bytes:
    content = io.BytesIO()
    image = Image.fromarray(numbers)
    (image.convert(mode) if mode else image).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def dataset(tmp_path):
    """Two images of 6 × 4 pixels, in class folders, and a mask of each."""
    numbers = np.zeros((4, 6), np.uint8)
    numbers[:2, :3], numbers[3] = 1, 2
    for number, wnid in enumerate((DOG, CAT)):
        for folder, content in (
            ("images", np.full((4, 6, 3), 40 * number, np.uint8)),
            ("masks", numbers + number),
        ):
            (tmp_path / folder / wnid).mkdir(parents=True)
            (tmp_path / folder / wnid / f"{number}.png").write_bytes(png(content))
    source = ImageFolder(str(tmp_path / "images"))
    return tmp_path, index_images(source)[0], source


def table_at(tmp_path, text: str):
    (tmp_path / "table.csv").write_text(text)
    return tmp_path / "table.csv"


def test_numbers_stand_for_wnids_or_names(tmp_path) -> None:
    table = read_mask_table(table_at(tmp_path, TABLE))
    assert table.classes == CLASSES
    assert table.loose == ("sky",) and table.wnids == [DOG]
    own = read_mask_table(table_at(tmp_path, "index,wnid\n0,a b\n"), own_ids=True)
    assert own.classes == {0: "a b"} and own.wnids == ["a b"] and own.loose == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("number,name\n1,dog\n", "has the columns number, name; name index"),
        ("index\n1\n", "name index, and wnid or name"),
        ("index,name\n1,a\n1,b\nx,c\n70000,d\n", "3 fault"),
        ("index,name\n1,a\n1,b\n", "line 3: index 1 is in several rows"),
        ("index,name\n-1,a\n", "line 2: index '-1' is no number from 0 to 65535"),
        ("index,wnid\n1,dog\n", "line 2: 'dog' is not a WordNet id"),
        ("index,name\n1,\n", "no index stands for a class"),
    ],
)
def test_faults_of_a_table_are_listed(tmp_path, text, said) -> None:
    with pytest.raises(ValueError, match=said):
        read_mask_table(table_at(tmp_path, text))
    with pytest.raises(FileNotFoundError, match=r"masks\.table"):
        read_mask_table(tmp_path / "none.csv")


def test_masks_are_read_as_classes(dataset) -> None:
    folder, index, source = dataset
    masks = index_masks(index, source, folder / "masks", CLASSES, threads=2)
    save_masks(masks, CLASSES, folder / "masks", folder / "eval.masks.parquet")
    found = MaskFolder.load(folder / "eval.masks.parquet", index, [DOG, "sky"])
    # The images are sorted by wnid: the dog's mask first.
    first, second = (found.read(image) for image in (0, 1))
    expected = np.full((4, 6), -1)
    expected[:2, :3], expected[3] = 0, 1
    assert (first == expected).all()
    # One higher: 0 has become 1, a dog, 1 the sky, and 2 the other number of dogs.
    assert (second == np.where(expected == 0, 1, 0)).all()
    # A dataset may move; then masks are read again, and come out as before.
    (folder / "masks").rename(folder / "moved")
    again = index_masks(index, source, folder / "moved", CLASSES)
    assert again.equals(masks)
    with pytest.raises(ValueError, match="is gone; put it back"):
        found.read(0)
    save_masks(again, CLASSES, folder / "moved", folder / "eval.masks.parquet")
    moved = MaskFolder.load(folder / "eval.masks.parquet", index, [DOG, "sky"])
    assert (moved.read(0) == expected).all()
    (folder / "moved" / mask_path(index.paths[0])).write_bytes(png(np.zeros((4, 6), np.uint8)))
    with pytest.raises(ValueError, match="is not the mask that was indexed"):
        moved.read(0)


def test_every_bad_mask_is_listed_before_anything_is_computed(dataset) -> None:
    folder, index, source = dataset
    first, second = (folder / "masks" / mask_path(path) for path in index.paths)
    first.write_bytes(png(np.full((4, 5), 7, np.uint8)))
    second.unlink()
    with pytest.raises(ValueError, match="2 fault") as raised:
        index_masks(index, source, folder / "masks", CLASSES)
    assert "5 × 4 pixels, its image 6 × 4" in str(raised.value)
    assert f"{second}: missing; add the mask of" in str(raised.value)
    first.write_bytes(png(np.full((4, 6), 7, np.uint8)))
    second.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="2 fault") as raised:
        index_masks(index, source, folder / "masks", CLASSES)
    assert "has 7, which masks.table lacks" in str(raised.value)
    assert "does not decode as PNG; replace it" in str(raised.value)
    for path in (first, second):
        path.write_bytes(png(np.full((4, 6), 255, np.uint8)))
    with pytest.raises(ValueError, match="shows a class"):
        index_masks(index, source, folder / "masks", CLASSES)
    with pytest.raises(FileNotFoundError, match=r"masks\.folder"):
        index_masks(index, source, folder / "none", CLASSES)


def test_numbers_are_taken_as_they_are_stored() -> None:
    numbers = np.array([[0, 1], [2, 300]])
    assert decode_mask(png(numbers.astype(np.uint16))).tolist() == numbers.tolist()
    # Of a palette the place counts, not the colour.
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "L").convert("P")
    image.putpalette([9, 9, 9] * 256)
    content = io.BytesIO()
    image.save(content, "PNG")
    assert decode_mask(content.getvalue()).tolist() == [[0, 1], [2, 1]]
    assert decode_mask(png(np.array([[0, 255]], np.uint8), "1")).tolist() == [[0, 1]]
    with pytest.raises(ValueError, match="mode RGB holds colours"):
        decode_mask(png(np.zeros((2, 2, 3), np.uint8)))


def test_what_masks_stand_for_is_in_their_index(dataset) -> None:
    folder, index, source = dataset
    masks = index_masks(index, source, folder / "masks", CLASSES)
    path = folder / "eval.masks.parquet"
    save_masks(masks, CLASSES, folder / "masks", path)
    assert json.loads((folder / "eval.masks.source.json").read_text()) == {
        "folder": str(folder / "masks")
    }
    assert isinstance(index, ImageIndex)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"eval\.masks\.parquet cannot be read"):
        MaskFolder.load(path, index, [DOG])
