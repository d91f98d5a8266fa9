import errno

import pytest

from cladescope.files import read_json, write_aside, write_json


def test_result_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "result.txt"
    with write_aside(target) as aside:
        aside.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    with pytest.raises(UnicodeEncodeError), write_aside(target) as aside:
        aside.write_text("half\udc80", "utf-8")
    assert target.read_text() == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["result.txt"]


def test_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "images"
    for name in ("first", "second"):
        with write_aside(target) as aside:
            aside.mkdir()
            (aside / name).touch()
    assert [path.name for path in target.iterdir()] == ["second"]


def test_what_a_killed_job_left_aside_is_not_kept(tmp_path):
    (tmp_path / ".images.partial").mkdir()
    (tmp_path / ".images.partial" / "stray").touch()
    with write_aside(tmp_path / "images") as aside:
        aside.mkdir()
    assert not list((tmp_path / "images").iterdir())


def test_full_disk_names_the_file(tmp_path):
    context = write_aside(tmp_path / "result.txt")
    context.__enter__()
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match=r"No space left on device: '.*result.txt'"):
        context.__exit__(OSError, full, None)


def test_json_is_sorted_and_refuses_nan(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": 2})
    assert (tmp_path / "a.json").read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'
    with pytest.raises(ValueError, match="the value is nan, no number"):
        write_json(tmp_path / "a.json", float("nan"))
    assert read_json(tmp_path / "a.json") == {"a": 2, "b": 1}


def test_broken_json_names_the_file(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"a.json cannot be read .*line 1 column 2"):
        read_json(tmp_path / "a.json")
