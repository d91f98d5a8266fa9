"""What jobs keep under a second name: taken only if it is what would be made again."""

import os

import pytest

from cladescope.kept import FOLDER, Kept, key_of, unfinished


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    (folder / "one").mkdir(parents=True)
    return folder


def make(path, text="content"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def outputs_of(results):
    return [results / "one" / "a.txt", results / "one" / "pages"]


def keep(results, key="key"):
    file, pages = outputs_of(results)
    make(file)
    make(pages / "sub" / "page.js", "page")
    kept = Kept(results, [file, pages], key)
    kept.keep()
    return kept


def delete(results):
    file, pages = outputs_of(results)
    file.unlink()
    (pages / "sub" / "page.js").unlink()
    (pages / "sub").rmdir()
    pages.rmdir()


def test_what_was_deleted_comes_back_as_the_same_file(results):
    kept = keep(results)
    file, pages = outputs_of(results)
    inode = file.stat().st_ino
    delete(results)
    assert kept.take()
    assert file.stat().st_ino == inode
    assert (pages / "sub" / "page.js").read_text() == "page"


def test_another_key_takes_nothing(results):
    keep(results)
    delete(results)
    assert not Kept(results, outputs_of(results), "other").take()
    assert not outputs_of(results)[0].exists()


def test_nothing_is_kept_before_it_is_sealed(results):
    make(outputs_of(results)[0])
    assert not Kept(results, outputs_of(results)[:1], "key").take()


@pytest.mark.parametrize("damage", ["file", "page", "seal", "no seal", "another page"])
def test_damage_is_made_again(results, damage):
    kept = keep(results)
    delete(results)
    (seal,) = (results / FOLDER).rglob("seal.json")
    victim = {
        "file": seal.parent / "a.txt",
        "page": seal.parent / "pages" / "sub" / "page.js",
        "seal": seal,
        "no seal": seal,
        "another page": seal.parent / "pages" / "sub" / "b.js",
    }[damage]
    if damage == "no seal":
        victim.unlink()
    else:
        victim.write_text("damaged")
    assert not kept.take()
    assert not outputs_of(results)[0].exists()


def test_a_key_stands_for_settings_and_content_not_for_places(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    make(one)
    make(two)
    key = key_of({"top_n": 8, "seed": 0}, [one])
    assert key == key_of({"seed": 0, "top_n": 8}, [two])
    assert key != key_of({"top_n": 9, "seed": 0}, [one])
    assert key != key_of({"top_n": 8, "seed": 0}, [one, two])
    other = tmp_path / "other"
    make(other, "else")
    assert key != key_of({"top_n": 8, "seed": 0}, [other])


def test_those_made_before_one_fails_are_not_made_again(results):
    paths = [[results / f"{n}.txt"] for n in range(4)]
    made = []

    def run(fails):
        for n in unfinished(results, paths, [[]] * 4, made_by="same"):
            if n == fails:
                raise FloatingPointError
            make(paths[n][0])
            made.append(n)

    with pytest.raises(FloatingPointError):
        run(fails=2)
    for (path,) in paths[:2]:
        path.unlink()
    run(fails=None)
    assert made == [0, 1, 2, 3]
    assert all(path.exists() for (path,) in paths)


def test_what_cannot_be_linked_back_is_made_again(results, monkeypatch, caplog):
    kept = keep(results)
    delete(results)

    def refuse(*arguments, **options):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert not kept.take()
    assert "cannot be taken" in caplog.text


def test_without_hard_links_nothing_is_kept(results, monkeypatch, caplog):
    def refuse(*arguments, **options):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    kept = keep(results)
    assert "is not kept for later jobs" in caplog.text
    assert not kept.take()
    assert outputs_of(results)[0].exists()
