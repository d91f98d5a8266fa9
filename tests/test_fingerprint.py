import shutil
from pathlib import Path

import pytest

from cladescope import fingerprint as module


@pytest.fixture
def library(tmp_path, monkeypatch) -> Path:
    """A small library: a.py imports b.py, b.py imports package/inner.py inside a function."""
    package = tmp_path / "lib" / "cladescope"
    (package / "package").mkdir(parents=True)
    (package / "__init__.py").write_text('"""Doc."""\n')
    (package / "package" / "__init__.py").write_text("")
    (package / "a.py").write_text("from cladescope.b import f\n\ndef g():\n    return f() + 1\n")
    (package / "b.py").write_text(
        "def f():\n    from cladescope.package import inner\n    return inner.VALUE\n"
    )
    (package / "package" / "inner.py").write_text("VALUE = 1\n")
    (package / "unused.py").write_text("VALUE = 2\n")
    (tmp_path / "script.py").write_text("from cladescope.a import g\n\ng()\n")
    monkeypatch.setattr(module, "LIBRARY", package)
    return package


def code(library: Path, *modules: Path) -> str:
    module._parse.cache_clear()
    module._logic.cache_clear()
    module._direct_imports.cache_clear()
    return module.fingerprint(library.parents[1] / "script.py", *modules)


@pytest.mark.parametrize("name", ["a.py", "b.py", "package/inner.py"])
def test_logic_of_any_imported_module_counts(library, name):
    before = code(library)
    source = (library / name).read_text()
    (library / name).write_text(source.replace("1", "3").replace("inner.VALUE", "inner.VALUE + 1"))
    assert code(library) != before


def test_logic_of_the_script_counts(library):
    before = code(library)
    (library.parents[1] / "script.py").write_text("from cladescope.a import g\n\ng() + 1\n")
    assert code(library) != before


def test_comments_docstrings_and_layout_do_not_count(library):
    before = code(library)
    (library / "a.py").write_text(
        '"""Words."""\n# why\nfrom cladescope.b import f\n\n\ndef g():\n'
        '    """More words."""\n    return (f() +\n            1)  # the next one\n'
    )
    assert code(library) == before


def test_modules_that_are_not_imported_do_not_count(library):
    before = code(library)
    (library / "unused.py").write_text("VALUE = 5\n")
    assert code(library) == before


def test_named_modules_count(library):
    before = code(library, library / "unused.py")
    (library / "unused.py").write_text("VALUE = 5\n")
    assert code(library, library / "unused.py") != before


def test_place_of_the_checkout_does_not_count(library, tmp_path, monkeypatch):
    before = code(library)
    shutil.copytree(tmp_path, tmp_path / "copy")
    copied = tmp_path / "copy" / "lib" / "cladescope"
    monkeypatch.setattr(module, "LIBRARY", copied)
    assert code(copied) == before
