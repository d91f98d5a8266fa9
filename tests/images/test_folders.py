"""What may lie in an image folder, hidden files and links and names, and faulty label files."""

import os

import numpy as np
import pytest
from PIL import Image

from cladescope.images.sources.image_folder import ImageFolder, list_folder


@pytest.fixture
def folder(tmp_path):
    """Two classes of one image; an image elsewhere."""
    for place in ("in/a", "in/b", "out"):
        (tmp_path / place).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / place / "0.png")
    return tmp_path / "in"


def listed(folder, **options):
    return list_folder(ImageFolder(str(folder)), **options).paths.tolist()


def test_hidden_files_and_folders_are_no_images(folder):
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "a" / ".more").mkdir()
    for place in (".ipynb_checkpoints/0.png", "a/.more/0.png", "a/._0.png"):
        (folder / place).write_bytes(b"no image")
    assert listed(folder) == ["a/0.png", "b/0.png"]


@pytest.mark.parametrize("link", ["c", "a/1.png"])
def test_links_lead_out_of_the_folder_only_where_they_may(folder, link):
    target = folder.parent / ("out" if link == "c" else "out/0.png")
    (folder / link).symlink_to(target)
    with pytest.raises(ValueError, match=f"{link}: links lead out of the folder, to {target}"):
        listed(folder)
    assert sorted([*listed(folder, follow_links=True)]) == sorted(
        ["a/0.png", "b/0.png", "c/0.png" if link == "c" else link]
    )


def test_links_within_the_folder_are_followed(folder):
    (folder / "c").symlink_to("a")
    assert listed(folder) == ["a/0.png", "b/0.png", "c/0.png"]


def test_links_that_lead_in_circles_are_named(folder):
    (folder / "a" / "again").symlink_to(folder / "a")
    with pytest.raises(ValueError, match="again: a link to a folder, which may lead in circles"):
        listed(folder, follow_links=True)


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a/\xe9.png"])
def test_names_that_are_no_text_are_named(folder, name):
    path = folder / os.fsdecode(name)
    path.touch() if path.suffix else path.mkdir()
    with pytest.raises(ValueError, match=r"\\x.*': the name is not UTF-8; rename it"):
        listed(folder)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("l.csv", "path,label\na/0.png,caf\xe9\n".encode("latin-1"), "l.csv, line 2: not UTF-8"),
        ("l.txt", "caf\xe9\n".encode("latin-1"), "l.txt, line 1: not UTF-8; save"),
        ("l.csv", b'path,label\na/0.png,"a\n', "l.csv: .*EOF inside string.*; correct the file"),
        ("l.parquet", b"PAR1", "l.parquet cannot be read .*copied in part; copy it again"),
        ("l.csv", b"path,label\n../out/0.png,a\n", r"\.\./out/0.png: leads out of"),
    ],
)
def test_label_files_that_cannot_be_read_are_named_with_the_line(folder, name, content, said):
    path = folder.parent / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        listed(folder, label_file=str(path))
