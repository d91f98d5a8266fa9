"""Fingerprints of code, so that a change of logic reruns what it feeds and prose does not.

A fingerprint covers a script and every function, class and constant of the library that the script
reaches by name, directly or not. So a function that only extraction uses does not retrain
dictionaries, though they share a module with it. Comments and docstrings do not count.
"""

import ast
import hashlib
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
        for text in _definitions(source)[name].texts:
            digest.update(f"{source.name}\0{name}\0{text}\0".encode())
    return digest.hexdigest()[:16]


class _Definition:
    """What a name of a file stands for, read in one walk through its statements."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        """Of each statement, as `_shape` writes it."""
        self.names: set[str] = set()
        """Names that it uses."""
        self.imports: list[ast.Import | ast.ImportFrom] = []
        """Imports inside."""

    def add(self, statement: ast.stmt) -> None:
        """Take in one of its statements."""
        self.texts.append(self._shape(statement))

    def _shape(self, node: object) -> str:
        """Write a syntax tree as text that is the same for every version of Python we support.

        `ast.dump` and `ast.unparse` are not: versions add empty fields and quote differently.
        Docstrings are left out, those of fields too; the parser has dropped comments.
        """
        if isinstance(node, list):
            return f"[{','.join(map(self._shape, node))}]"
        if not isinstance(node, ast.AST):
            return repr(node)
        if isinstance(node, ast.Name):
            self.names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            self.imports.append(node)
        inner = []
        for name in node._fields:
            value = getattr(node, name, None)
            if name == "body" and isinstance(value, list):
                value = [statement for statement in value if not _is_text(statement)]
                value = value or [ast.Pass()]
            if value is not None and value != []:
                inner.append(f"{name}={self._shape(value)}")
        return f"{type(node).__name__}({','.join(inner)})"


@cache
def _statements(source: Path) -> list[ast.stmt]:
    """Return a file's top-level statements, without its docstrings."""
    return [node for node in ast.parse(source.read_text()).body if not _is_text(node)]


@cache
def _definitions(source: Path) -> dict[str, _Definition]:
    """Return a file's top-level statements by the name they define; the others under ''."""
    found = {"": _Definition()}
    for node in _statements(source):
        for name in _defined_names(node):
            found.setdefault(name, _Definition()).add(node)
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
    definition = _definitions(source)[name]
    names = definition.names
    uses = [(source, other) for other in _definitions(source) if other in names or not other]
    for inside, nodes in ((False, _imports(source)), (True, definition.imports)):
        for node in nodes:
            if isinstance(node, ast.Import):
                # Without a name to follow, and perhaps for the import's effect.
                for alias in node.names:
                    uses.extend(_imported(alias.name))
            elif node.module and not node.level:
                for alias in node.names:
                    if inside or (alias.asname or alias.name) in names:
                        uses.extend(_imported(node.module, alias.name))
    return uses


@cache
def _imports(source: Path) -> list[ast.Import | ast.ImportFrom]:
    nodes = _statements(source)
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


@cache
def _imported(module: str, name: str | None = None) -> list[tuple[Path, str]]:
    """Return the definitions that an import of the library brings: one by name, or all."""
    if module.split(".")[0] != LIBRARY.name:
        return []
    source = _file_of(module)
    submodule = _file_of(f"{module}.{name}") if name else None
    if submodule is not None:
        source, name = submodule, None
    if source is None or source.name in WATCHING:
        return []
    definitions = _definitions(source)
    if name in definitions:
        return [(source, name), (source, "")]
    # Re-exported: follow it to where it is defined.
    return [
        found
        for node in _imports(source)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if name == (alias.asname or alias.name)
        for found in _imported(node.module, alias.name)
    ] or [(source, other) for other in definitions]


@cache
def _file_of(module: str) -> Path | None:
    stem = LIBRARY.parent.joinpath(*module.split("."))
    candidates = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
