import shutil
from pathlib import Path

import pytest

from cladescope.provenance import definitions
from cladescope.provenance import fingerprint as module

SOURCES = {
    "__init__.py": '"""Doc."""\n',
    "package/__init__.py": "",
    "a.py": (
        "from cladescope.b import f\n"
        "from cladescope.jobs import log\n\n"
        "def g():\n    log()\n    return f() + 1\n\n"
        "def other():\n    return 5\n"
    ),
    "b.py": (
        "import cladescope.effects\n\n"
        "START = 2\n\n"
        "class Table:\n"
        "    def read(self):\n"
        "        from cladescope.package import inner\n"
        "        return inner.VALUE + START\n\n"
        "def f():\n    return Table().read()\n\n"
        "def unused():\n    return 6\n"
    ),
    "package/inner.py": "VALUE = 1\n",
    "effects.py": "print(7)\n",
    "jobs.py": "def log():\n    return 8\n",
    "unused.py": "VALUE = 9\n",
}


@pytest.fixture
def library(tmp_path, monkeypatch) -> Path:
    """A small library, and a script that calls `g` of a.py."""
    package = tmp_path / "lib" / "cladescope"
    for name, text in SOURCES.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    (tmp_path / "script.py").write_text("from cladescope.a import g\n\ng()\n")
    monkeypatch.setattr(module, "LIBRARY", package)
    return package


def code(library: Path, *modules: Path) -> str:
    forget()
    return module.fingerprint(library.parents[1] / "script.py", *modules)


def forget() -> None:
    """Be as a process that has read nothing yet."""
    for function in (*vars(module).values(), *vars(definitions).values()):
        if hasattr(function, "cache_clear"):
            function.cache_clear()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("name", "old"),
    [
        ("a.py", "+ 1"),
        ("b.py", "START = 2"),
        ("b.py", "VALUE + START"),
        ("b.py", "Table().read()"),
        ("package/inner.py", "VALUE = 1"),
        ("effects.py", "print(7)"),
    ],
)
def test_logic_that_the_script_reaches_counts(library, name, old):
    before = code(library)
    edit(library / name, old, old + " + 30")
    assert code(library) != before


def test_logic_of_the_script_counts(library):
    before = code(library)
    edit(library.parents[1] / "script.py", "g()", "g() + 1")
    assert code(library) != before


@pytest.mark.parametrize(
    ("name", "old"),
    [("a.py", "return 5"), ("b.py", "return 6"), ("unused.py", "9"), ("jobs.py", "return 8")],
)
def test_logic_that_it_does_not_reach_does_not_count(library, name, old):
    before = code(library)
    edit(library / name, old, old + " + 30")
    assert code(library) == before


def test_comments_docstrings_and_layout_do_not_count(library):
    before = code(library)
    edit(library / "a.py", "def g():\n", '# why\ndef g():\n    """Words."""\n')
    edit(library / "a.py", "f() + 1", "(f() +\n            1)  # the next one")
    edit(library / "b.py", "START = 2\n", 'START = 2\n"""Of a constant."""\n')
    edit(library / "b.py", "class Table:\n", 'class Table:\n    """Of a class."""\n\n')
    assert code(library) == before


def test_named_modules_count(library):
    before = code(library, library / "unused.py")
    edit(library / "unused.py", "9", "10")
    assert code(library, library / "unused.py") != before


def test_place_of_the_checkout_does_not_count(library, tmp_path, monkeypatch):
    before = code(library)
    shutil.copytree(tmp_path, tmp_path / "copy")
    copied = tmp_path / "copy" / "lib" / "cladescope"
    monkeypatch.setattr(module, "LIBRARY", copied)
    assert code(copied) == before


@pytest.mark.parametrize(
    ("script", "reaches", "spares"),
    [
        ("extract_activations", {"ActivationWriter", "load_backbone"}, {"read_activations"}),
        ("extract_activations", {"WebDataset", "decode_image"}, {"list_tars", "read_label_file"}),
        ("train_sae", {"ActivationStore", "train_dictionaries"}, {"ActivationWriter", "Codes"}),
        ("encode", {"Codes", "encode", "ActivationStore"}, {"ActivationWriter", "locate"}),
        ("score_dictionary", {"locate", "Codes"}, {"encode", "index_images", "build_taxonomy"}),
    ],
)
def test_stages_reach_what_they_use_and_not_their_neighbours(root, script, reaches, spares):
    found = module.reached(root / "workflow" / "scripts" / f"{script}.py")
    names = {name for _, name in found}
    assert reaches <= names
    assert not spares & names


@pytest.fixture
def kept(library, monkeypatch) -> Path:
    """The small library with a place where what is read of it is kept."""
    monkeypatch.setattr(definitions, "WORKFLOW", library.parents[1])
    monkeypatch.setattr(definitions, "KEPT", library / "__pycache__" / "definitions.json")
    # At the end of the process it would write, by then, beside the real library.
    monkeypatch.setattr(definitions.atexit, "register", lambda function: None)
    yield definitions.KEPT
    forget()


def parsed(monkeypatch) -> list[bytes]:
    """Return the texts that are parsed from now on."""
    texts, parse = [], definitions._parse
    monkeypatch.setattr(definitions, "_parse", lambda text: [texts.append(text), parse(text)][1])
    return texts


def test_what_was_read_is_kept_for_as_long_as_the_text_stays(library, kept, monkeypatch):
    texts = parsed(monkeypatch)
    before = code(library)
    definitions._keep()
    texts.clear()
    assert code(library) == before
    assert texts == []
    edit(library / "a.py", "+ 1", "+ 2")
    after = code(library)
    assert texts == [(library / "a.py").read_bytes()]
    definitions._keep()
    kept.unlink()
    assert code(library) == after != before


@pytest.mark.parametrize("fault", ["flipped", "cut", "older code"])
def test_what_is_kept_and_damaged_is_not_used(library, kept, monkeypatch, fault):
    before = code(library)
    definitions._keep()
    text = kept.read_text()
    if fault == "flipped":
        kept.write_text(text.replace('"START"', '"STARS"'))
    elif fault == "cut":
        kept.write_text(text[: len(text) // 2])
    else:
        monkeypatch.setattr(definitions, "__file__", str(library / "a.py"))
    texts = parsed(monkeypatch)
    assert code(library) == before
    assert len(texts) == len({*texts}) > 3


def test_a_library_that_cannot_be_written_is_read_each_time(library, kept):
    before = code(library)
    kept.parent.touch()
    definitions._keep()
    assert code(library) == before
    assert kept.parent.is_file()
