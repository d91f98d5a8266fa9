"""Tables of pairs of images: what is read, and what is refused before anything runs."""

import numpy as np
import pytest
from PIL import Image

from cladescope.config import ConfigError
from cladescope.images.pairs import index_pairs, read_pairs
from cladescope.operations.models import check_pairs

HEADER = "image,counterpart,node,change\n"


@pytest.fixture
def folder(tmp_path):
    """Three images: black, one with a white quarter, and a larger one."""
    black = np.zeros((4, 4, 3), np.uint8)
    quarter = black.copy()
    quarter[:2, :2] = 255
    for name, pixels in (("a.png", black), ("b.png", quarter), ("c.png", np.zeros((8, 8, 3)))):
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name)
    return tmp_path


def write(folder, *rows, header=HEADER):
    path = folder / "pairs.csv"
    path.write_text(header + "".join(f"{row}\n" for row in rows))
    return path


def test_pairs_are_read_as_text_and_measured(folder):
    path = write(
        folder, "b.png,a.png,007,removed,x", "a.png,b.png,NA,added,", "a.png,c.png,NA,other,",
        header=HEADER.replace("\n", ",note\n"),
    )  # fmt: skip
    index, pairs = index_pairs(path)
    assert [*index.paths] == ["a.png", "b.png", "c.png"] and index.wnids == ["pair"]
    assert pairs[["image", "counterpart"]].to_numpy().tolist() == [[1, 0], [0, 1], [0, 2]]
    assert [*pairs["node"]] == ["007", "NA", "NA"]
    # A quarter of the pixels, by all that there is; nothing can be said of other sizes.
    np.testing.assert_array_equal(pairs["pixel_change"], [0.25, 0.25, np.nan])


def test_every_fault_is_listed_with_its_line(folder):
    (folder / "notes.txt").write_text("")
    path = write(
        folder,
        "a.png,b.png,v,added",
        "a.png,gone.png,v,added",
        "a.png,b.png,v,more",
        "a.png,a.png,v,leaf",
        "a.png,b.png,,leaf",
        "a.png,../b.png,v,leaf",
        "notes.txt,b.png,v,leaf",
        "a.png,b.png,v,added",
    )
    with pytest.raises(ValueError, match=r"pairs\.csv has 7 fault\(s\)") as caught:
        read_pairs(path)
    told = str(caught.value)
    for line, fault in {
        3: "gone.png does not exist",
        4: "unknown change 'more'; valid: added, removed",
        5: "a.png is its own counterpart",
        6: "node is empty",
        7: "leads out of the folder",
        8: "is no image by its name",
        9: "repeats a pair",
    }.items():
        assert any(f"line {line}: " in row and fault in row for row in told.splitlines()), line


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("image,counterpart,node\na.png,b.png,v\n", "no column change"),
        (HEADER, "names no pair"),
        (HEADER + "a.png,b.png,v,added,1,2\n", "more cells"),
        ("", "correct the file"),
    ],
)
def test_what_is_no_table_is_refused(folder, text, fault):
    path = folder / "pairs.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=fault):
        read_pairs(path)


def test_faults_stop_the_run_and_name_the_key(folder):
    check_pairs({"datasets": {"mine": {"pairs": str(write(folder, "a.png,b.png,v,added"))}}})
    for path in (write(folder, "a.png,b.png,v,more"), folder / "none.csv"):
        with pytest.raises(ConfigError, match=r"datasets\.mine\.pairs: (.|\n)*(none\.csv|more)"):
            check_pairs({"datasets": {"other": {}, "mine": {"pairs": str(path)}}})
        path.unlink(missing_ok=True)


def test_images_that_are_equal_or_broken_are_refused(folder):
    (folder / "d.png").write_bytes((folder / "a.png").read_bytes())
    path = write(folder, "a.png,b.png,v,added", "a.png,d.png,v,added")
    with pytest.raises(ValueError, match=r"line 3: a\.png and d\.png are the same image"):
        index_pairs(path)
    (folder / "d.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"d\.png: does not decode"):
        index_pairs(path)
