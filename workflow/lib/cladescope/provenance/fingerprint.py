"""Fingerprints of code, so that a change of logic reruns what it feeds and prose does not.

A fingerprint covers a script and every function, class and constant of the library that the script
reaches by name, directly or not. So a function that only extraction uses does not retrain
dictionaries, though they share a module with it. Comments and docstrings do not count.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).parents[1]
WATCHING = ("jobs.py",)
"""Modules that only write logs and draw progress bars, which changes no result."""


@cache
def fingerprint(script: Path, *modules: Path) -> str:
    """Fingerprint a script, `modules` and the definitions of the library that they reach.

    Imports inside functions count. A module that is imported without naming what is used from it
    counts as a whole.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    reached: dict[tuple[Path, str], None] = {}
    queue = [(source, name) for source in (script, *modules) for name in _definitions(source)]
    while queue:
        definition = queue.pop()
        if definition not in reached:
            reached[definition] = None
            queue.extend(_uses(*definition))
    digest = hashlib.sha256()
    for source, name in sorted(reached, key=lambda item: (item[0].as_posix(), item[1])):
        digest.update(_text(source, name))
    return digest.hexdigest()[:16]


@cache
def _text(source: Path, name: str) -> bytes:
    """Return what a definition adds to a fingerprint; many scripts reach the same definitions."""
    nodes = _definitions(source)[name]
    return "".join(f"{source.name}\0{name}\0{_shape(node)}\0" for node in nodes).encode()


@cache
def _definitions(source: Path) -> dict[str, list[ast.stmt]]:
    """Return a file's top-level statements by the name they define; the others under ''."""
    tree = _without_prose(ast.parse(source.read_text()))
    found: dict[str, list[ast.stmt]] = {"": []}
    for node in tree.body:
        for name in _defined_names(node):
            found.setdefault(name, []).append(node)
    return found


def _defined_names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) for t in node.targets):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    # Imports are followed through the names that are used; what is left is their side effects.
    return [] if isinstance(node, ast.Import | ast.ImportFrom) else [""]


@cache
def _uses(source: Path, name: str) -> list[tuple[Path, str]]:
    """Return the definitions that one definition names, in its own file or in the library's."""
    nodes = [inner for node in _definitions(source)[name] for inner in ast.walk(node)]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    uses = [(source, other) for other in _definitions(source) if other in names or not other]
    for node in (*_imports(source), *nodes):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inside = node in nodes
                if inside or (alias.asname or alias.name) in names:
                    uses.extend(_imported(node.module, alias.name))
        elif isinstance(node, ast.Import):
            # Without a name to follow, and perhaps for the import's effect.
            for alias in node.names:
                uses.extend(_imported(alias.name))
    return uses


@cache
def _imports(source: Path) -> list[ast.Import | ast.ImportFrom]:
    tree = ast.parse(source.read_text())
    return [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


def _imported(module: str, name: str | None = None) -> Iterator[tuple[Path, str]]:
    """Yield the definitions that an import of the library brings: one by name, or all."""
    if module.split(".")[0] != LIBRARY.name:
        return
    source = _file_of(module)
    submodule = _file_of(f"{module}.{name}") if name else None
    if submodule is not None:
        source, name = submodule, None
    if source is None or source.name in WATCHING:
        return
    definitions = _definitions(source)
    if name in definitions:
        yield from ((source, name), (source, ""))
    elif name in {alias.asname or alias.name for node in _imports(source) for alias in node.names}:
        # Re-exported: follow it to where it is defined.
        for node in _imports(source):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    if name == (alias.asname or alias.name):
                        yield from _imported(node.module, alias.name)
    else:
        yield from ((source, other) for other in definitions)


def _file_of(module: str) -> Path | None:
    stem = LIBRARY.parent.joinpath(*module.split("."))
    candidates = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _without_prose(tree: ast.Module) -> ast.Module:
    """Remove docstrings, those of fields and constants too; the parser has dropped comments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            kept = [statement for statement in node.body if not _is_text(statement)]
            node.body = kept if kept or isinstance(node, ast.Module) else [ast.Pass()]
    return tree


def _shape(node: object) -> str:
    """Write a syntax tree as text that is the same for every version of Python that we support.

    `ast.dump` and `ast.unparse` are not: versions add empty fields and quote differently.
    """
    if isinstance(node, list):
        return f"[{','.join(map(_shape, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
    inner = ",".join(f"{name}={_shape(value)}" for name, value in fields)
    return f"{type(node).__name__}({inner})"


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
