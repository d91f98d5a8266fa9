"""The house: one folder a stage, and a byte flows one way through them."""

import ast
import re
import subprocess
import sys
from collections import defaultdict

import pytest

FLOORS = [
    {"files", "machines", "compiled", "threads", "checkout", "layout", "names", "sites", "schema"},
    {"sweep", "kept", "seals", "about"},
    {"jobs", "sections"},
    {"images", "taxonomy", "planted", "emoji"},
    {"backbone", "provenance"},
    {"activations", "chosen_layers"},
    {"config"},
    {"dictionaries"},
    {"codes"},
    {"scores", "relevancy"},
    {"causes", "uses", "segmentation"},
    {"summary"},
    {"atlas"},
    {"operations"},
    {"__main__"},
]
"""Rooms and modules at the root, from the ground; a floor may import from those below it alone."""
SNAKEMAKE = {"operations"}
"""Rooms that know Snakemake."""
SPECIALISTS = {"zarr": {"activations", "config"}, "nltk": {"taxonomy"}, "seaborn": {"summary"}}
SPECIALISTS |= {"timm": {"images", "backbone", "planted"}, "snakemake": SNAKEMAKE}


@pytest.fixture(scope="module")
def imports(root):
    """What every file of the library imports, by the file's room."""
    library = root / "workflow" / "lib" / "cladescope"
    found = defaultdict(set)
    for path in library.rglob("*.py"):
        room = path.relative_to(library).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found[room].update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [alias.name for alias in node.names]
                inside = node.module == "cladescope"
                found[room].update(f"cladescope.{n}" for n in names if inside)
                found[room].update([] if inside else [node.module])
    return found


def test_imports_lead_downward(imports):
    floor_of = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
    assert imports.keys() <= floor_of.keys()
    upward = [
        f"{room} imports {module}"
        for room, modules in imports.items()
        for module in modules
        if module.startswith("cladescope.")
        and (other := module.split(".")[1]) != room
        and floor_of[other] >= floor_of[room]
    ]
    assert upward == []


@pytest.mark.parametrize("package", SPECIALISTS)
def test_a_package_has_its_room(imports, package):
    rooms = {
        room for room, modules in imports.items() if package in {m.split(".")[0] for m in modules}
    }
    assert rooms <= SPECIALISTS[package]


def test_every_room_says_what_flows_through_it(root):
    library = root / "workflow" / "lib" / "cladescope"
    for folder in {path.parent for path in library.rglob("*.py")}:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), folder


def test_tests_stand_in_the_rooms_that_they_are_about(root):
    rooms = {path.name for path in (root / "workflow" / "lib" / "cladescope").iterdir()}
    folders = {path.name for path in (root / "tests").iterdir() if list(path.glob("test_*.py"))}
    assert folders <= rooms | {"workflow", "bad_days", "slurm"}


def test_scripts_are_short(root):
    for script in (root / "workflow" / "scripts").glob("*.py"):
        assert len(script.read_text().splitlines()) <= 40, script.name
        assert "def " not in script.read_text(), script.name


def test_rules_are_read_without_the_libraries_of_jobs(root):
    """So that `snakemake --lint` and a plan need Snakemake alone."""
    named = re.findall(
        r"^from (cladescope\S*) import",
        "".join(path.read_text() for path in (root / "workflow" / "rules").glob("*.smk")),
        re.MULTILINE,
    )
    assert len(named) > 5
    blocked = "import sys; sys.modules |= dict.fromkeys(('numpy', 'pandas', 'torch', 'zarr'))"
    program = "\n".join([blocked, *(f"import {module}" for module in named)])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_document_is_in_the_navigation_of_the_site(root):
    named = re.findall(r"[-:] (docs/\w+\.md)$", (root / "mkdocs.yml").read_text(), re.MULTILINE)
    documents = [f"docs/{path.name}" for path in (root / "docs").glob("*.md")]
    assert sorted(named) == sorted(documents)
