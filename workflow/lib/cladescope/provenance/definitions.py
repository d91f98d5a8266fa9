"""What a Python file defines, uses and imports, for fingerprints.

To read the whole library takes most of a second, and every start of Snakemake asks for it. So what
was read of a file is kept beside the compiled modules, for as long as the file's text stays.
"""

import ast
import atexit
import hashlib
import json
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

WORKFLOW = Path(__file__).parents[3]
"""Of files elsewhere nothing is kept."""
KEPT = Path(__file__).parent / "__pycache__" / "definitions.json"


class Import(NamedTuple):
    """A name that an import brings."""

    module: str
    name: str | None
    """None if the module is imported without naming what is used from it."""
    known_as: str


@dataclass
class Definition:
    """What a name of a file stands for."""

    digest: str = ""
    """Of its statements, without comments and docstrings."""
    names: set[str] = field(default_factory=set)
    """Names that it uses."""
    imports: list[Import] = field(default_factory=list)
    """Imports inside it."""


@dataclass
class Source:
    """A file: its top-level statements by the name they define, the others under ''."""

    definitions: dict[str, Definition]
    imports: list[Import]


@cache
def read_source(path: Path) -> Source:
    """Read a Python file, or take what is kept of the same text."""
    text = path.read_bytes()
    if not path.is_relative_to(WORKFLOW):
        return _parse(text)
    name, content = path.relative_to(WORKFLOW).as_posix(), hashlib.sha256(text).hexdigest()
    kept = _kept()
    if kept.get(name, {}).get("content") != content:
        kept[name] = {"content": content, **_to_json(_parse(text))}
        _keep_at_exit()
    return _from_json(kept[name])


def _parse(text: bytes) -> Source:
    statements = [node for node in ast.parse(text).body if not _is_text(node)]
    definitions = {"": Definition()}
    for node in statements:
        for name in _defined_names(node):
            _take_in(node, definitions.setdefault(name, Definition()))
    return Source(definitions, [brought for node in statements for brought in _brought(node)])


def _take_in(node: ast.stmt, definition: Definition) -> None:
    """Add a statement to what is known of a definition."""

    def shape(node: object) -> str:
        """Write a syntax tree as text that is the same for every version of Python we support.

        `ast.dump` and `ast.unparse` are not: versions add empty fields and quote differently.
        Docstrings are left out, those of fields too; the parser has dropped comments.
        """
        if isinstance(node, list):
            return f"[{','.join(map(shape, node))}]"
        if not isinstance(node, ast.AST):
            return repr(node)
        if isinstance(node, ast.Name):
            definition.names.add(node.id)
        definition.imports.extend(_brought(node))
        inner = []
        for name in node._fields:
            value = getattr(node, name, None)
            if name == "body" and isinstance(value, list):
                value = [statement for statement in value if not _is_text(statement)]
                value = value or [ast.Pass()]
            if value is not None and value != []:
                inner.append(f"{name}={shape(value)}")
        return f"{type(node).__name__}({','.join(inner)})"

    definition.digest = hashlib.sha256((definition.digest + shape(node)).encode()).hexdigest()


def _defined_names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) for t in node.targets):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    # Imports are followed through the names that are used; what is left is their side effects.
    return [] if isinstance(node, ast.Import | ast.ImportFrom) else [""]


def _brought(node: ast.AST) -> list[Import]:
    """Return what an import brings, and nothing for any other node."""
    if isinstance(node, ast.Import):
        return [Import(alias.name, None, alias.asname or alias.name) for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        module = node.module
        return [Import(module, alias.name, alias.asname or alias.name) for alias in node.names]
    return []


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@cache
def _kept() -> dict[str, Any]:
    """Return what is kept, by the file's place; nothing if it is damaged or of other code."""
    with suppress(OSError):
        checksum, _, content = KEPT.read_text().partition("\n")
        if checksum == _checksum(content):
            return json.loads(content)
    return {}


@cache
def _keep_at_exit() -> None:
    if not sys.dont_write_bytecode:
        atexit.register(_keep)


def _keep() -> None:
    """Write what was read; where that cannot be, the next start reads again."""
    content = json.dumps(_kept(), sort_keys=True)
    with suppress(OSError):
        KEPT.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=KEPT.parent, delete=False) as file:
            file.write(f"{_checksum(content)}\n{content}")
        Path(file.name).replace(KEPT)


def _checksum(content: str) -> str:
    """Of what is kept, and of the code that wrote it."""
    return hashlib.sha256(Path(__file__).read_bytes() + content.encode()).hexdigest()


def _to_json(source: Source) -> dict[str, Any]:
    definitions = {
        name: {"digest": found.digest, "names": sorted(found.names), "imports": found.imports}
        for name, found in source.definitions.items()
    }
    return {"definitions": definitions, "imports": source.imports}


def _from_json(entry: dict[str, Any]) -> Source:
    definitions = {
        name: Definition(
            found["digest"], {*found["names"]}, [Import(*brought) for brought in found["imports"]]
        )
        for name, found in entry["definitions"].items()
    }
    return Source(definitions, [Import(*brought) for brought in entry["imports"]])
