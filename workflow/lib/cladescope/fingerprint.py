"""Fingerprints of code, so that a change of logic reruns what it feeds and prose does not."""

import ast
import hashlib
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).parent


def fingerprint(script: Path, *modules: Path) -> str:
    """Fingerprint a script, `modules` and every library module they import, directly or not.

    The syntax trees are hashed without comments and docstrings. Imports inside functions count.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    roots = (script, *modules)
    reached = {path for root in roots for path in _imported_files(root)}
    sources = sorted({*roots, *reached}, key=lambda path: path.as_posix())
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.name.encode() + b"\0" + _logic(source).encode() + b"\0")
    return digest.hexdigest()[:16]


def _imported_files(source: Path) -> set[Path]:
    """Return the library files reached from `source` through imports."""
    found: set[Path] = set()
    queue = [source]
    while queue:
        for path in _direct_imports(queue.pop()):
            if path not in found:
                found.add(path)
                queue.append(path)
    return found


@cache
def _direct_imports(source: Path) -> frozenset[Path]:
    names: set[str] = set()
    for node in ast.walk(_parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(
        path for name in names if name.split(".")[0] == LIBRARY.name for path in _module_files(name)
    )


def _module_files(name: str) -> list[Path]:
    """Return the module's file and the `__init__.py` of every package above it."""
    parts = name.split(".")
    packages = [
        LIBRARY.parent.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts) + 1)
    ]
    module = LIBRARY.parent.joinpath(*parts).with_suffix(".py")
    return [path for path in (*packages, module) if path.is_file()]


@cache
def _parse(source: Path) -> ast.Module:
    return ast.parse(source.read_text())


@cache
def _logic(source: Path) -> str:
    """Return the source text normalised by the parser, without comments and docstrings."""
    tree = ast.parse(source.read_text())
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0] if node.body else None
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
