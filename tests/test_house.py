"""The house: one folder a stage, and a byte flows one way through them."""

import ast
import io
import re
import subprocess
import sys
import tokenize
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

MOST = {"lines of code": 60, "parameters": 6, "lines": 300}
"""Of a function, of a function, and of a file."""
KERNEL = "numba or Triton compiles it, and takes arrays one by one"
DRAWINGS = "drawings, one below the other"
STORED = "whoever has stored activations would have to make them again, were it moved or changed"
EXCEPTIONS = {
    "lines of code": {"dictionaries/training/processor_kernels.py: update_latents": KERNEL},
    "parameters": {
        "dictionaries/training/expressions.py: update": "as the kernels in whose place it stands",
        "dictionaries/training/gpu_kernels.py: _adam": KERNEL,
        "dictionaries/training/gpu_kernels.py: _compact": KERNEL,
        "dictionaries/training/gpu_kernels.py: _decode": KERNEL,
        "dictionaries/training/gpu_kernels.py: _digit_counts": KERNEL,
        "dictionaries/training/gpu_kernels.py: _row_bounds": KERNEL,
        "dictionaries/training/gpu_kernels.py: _update": KERNEL,
        "dictionaries/training/gpu_kernels.py: update": "gives them on",
        "dictionaries/training/processor_kernels.py: decode": KERNEL,
        "dictionaries/training/processor_kernels.py: select_screened": KERNEL,
        "dictionaries/training/processor_kernels.py: update_latents": KERNEL,
        "images/indexing.py: index_images": "options of a dataset's entry; " + STORED,
        "planted/network.py: ConvStem.__init__": "timm's `PatchEmbed` has them",
        "segmentation/probes.py: _improve": KERNEL,
    },
    "lines": {
        "activations/store.py": STORED,
        "activations/writer.py": STORED,
        "dictionaries/training/gpu_kernels.py": "kernels of one step",
        "dictionaries/training/processor_kernels.py": "kernels of one step",
        "planted/animals.py": DRAWINGS,
        "planted/artifacts.py": DRAWINGS,
        "planted/rendering.py": DRAWINGS,
    },
}
"""Functions and files that are larger, and why; what need not be here must not be."""


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


def lines_of_code(text):
    """Return the numbers of the lines that hold more than a comment or a docstring."""
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    layout.add(tokenize.ENDMARKER)
    held = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in layout
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            held -= {*range(node.body[0].lineno, node.body[0].end_lineno + 1)}
    return held


def functions(node, within=""):
    """Yield the functions of a syntax tree, each with its name below those around it."""
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, ast.FunctionDef | ast.ClassDef)
        if isinstance(child, ast.FunctionDef):
            yield within + child.name, child
        yield from functions(child, f"{within}{child.name}." if named else within)


def sizes(text):
    """Yield the measure, the function ("" for the whole file) and the size of all in a file."""
    yield "lines", "", len(text.splitlines())
    held = lines_of_code(text)
    for name, node in functions(ast.parse(text)):
        given = node.args
        named = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        yield "parameters", name, len({a.arg for a in named if a} - {"self", "cls"})
        yield "lines of code", name, len(held & {*range(node.lineno, node.end_lineno + 1)})


@pytest.fixture(scope="module")
def large(root):
    """What is above the most that it should be, by measure and place."""
    library = root / "workflow" / "lib" / "cladescope"
    found = defaultdict(dict)
    for path in library.rglob("*.py"):
        for measure, name, size in sizes(path.read_text()):
            if size > MOST[measure]:
                place = path.relative_to(library).as_posix() + (name and f": {name}")
                found[measure][place] = size
    return found


def test_sizes_are_those_that_a_reader_counts():
    text = """
class Some:
    def method(self, a, *b, c=(
        1,
    ), **d):
        '''Two
        lines.'''

        # A comment.
        return a  # Another.
"""
    assert [*sizes(text)] == [
        ("lines", "", 10),
        ("parameters", "Some.method", 4),
        ("lines of code", "Some.method", 4),
    ]


@pytest.mark.parametrize("measure", MOST)
def test_functions_and_files_are_small(large, measure):
    found, excepted = large[measure], EXCEPTIONS[measure]
    assert {p: n for p, n in found.items() if p not in excepted} == {}, "split it, or say why not"
    assert excepted.keys() - found.keys() == set(), "no exception any more"
