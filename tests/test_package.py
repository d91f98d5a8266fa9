"""The library as a package, installed away from any checkout."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml

PARTS = ("pyproject.toml", "README.md", "LICENSE", "envs/requirements.in", "workflow/lib")


@pytest.fixture(scope="module")
def installed(root, tmp_path_factory) -> Path:
    """A folder into which the package was installed, without what it depends on."""
    source, target = (tmp_path_factory.mktemp(name) for name in ("source", "target"))
    for part in PARTS:
        (source / part).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (root / part).is_dir() else shutil.copy
        copy(root / part, source / part)
    uv = [Path(sys.executable).with_name("uv"), "pip", "install", "--offline", "--no-deps"]
    place = ["--no-build-isolation", "--python", sys.executable, "--target", target]
    done = subprocess.run([*uv, *place, source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_module_the_schema_and_the_type_marker_are_installed(installed, root):
    library = root / "workflow" / "lib"
    files = {path.relative_to(library) for path in library.rglob("*.py")}
    files |= {Path("cladescope/config.schema.yaml"), Path("cladescope/py.typed")}
    assert {path for path in files if not (installed / path).is_file()} == set()


@pytest.mark.slow
def test_installed_library_reads_its_own_schema(installed, tmp_path):
    program = "from cladescope import config; print(config.__file__, *config.load_schema())"
    done = run(installed, tmp_path, "-c", program)
    assert done.returncode == 0, done.stderr
    file, *keys = done.stdout.split()
    assert Path(file).is_relative_to(installed)
    assert {"properties", "required"} < {*keys}


def test_what_needs_a_checkout_takes_the_current_folder_or_says_so(installed, root, tmp_path):
    plan = ("-m", "cladescope", "plan", str(root / "config" / "config.yaml"))
    nowhere = run(installed, tmp_path, *plan)
    assert nowhere.returncode == 2
    assert "is not a checkout of Cladescope" in nowhere.stderr
    assert "Traceback" not in nowhere.stderr
    inside = run(installed, root, *plan)
    assert inside.returncode == 0, inside.stderr
    assert "profiles/slurm" in inside.stdout


@pytest.mark.slow
def test_installed_command_scores_codes_of_a_study_byte_for_byte(installed, finished, tmp_path):
    """Away from a checkout: its taxonomy is the study's, so that WordNet is not needed."""
    results = finished.folder / "results" / "small"
    data = results / "datasets" / "planted"
    study = results / "trained" / "dictionaries" / "cls" / "L8" / "topk" / "w48_k4_s0"
    given = {"codes": study / "codes.parquet", "labels": data / "images" / "eval.parquet"}
    given |= {"taxonomy": data / "taxonomy.parquet", "config": finished.config, "out": "scores"}
    told = [str(word) for name, value in given.items() for word in (f"--{name}", value)]
    done = run(installed, tmp_path, "-m", "cladescope", "score", *told)
    assert done.returncode == 0, done.stderr
    written = {path.name: path.read_bytes() for path in (tmp_path / "scores").glob("*.parquet")}
    assert {"latents.parquet", "nodes.parquet", "relations.parquet", "edges.parquet"} <= {*written}
    assert written == {name: (study / name).read_bytes() for name in written}


def test_dependencies_are_what_the_locks_are_made_of(installed, root):
    (package,) = distributions(path=[str(installed)])
    lines = (root / "envs" / "requirements.in").read_text().splitlines()
    named = [line for line in lines if line and not line.startswith("#")]
    assert sorted(package.requires) == sorted(named)
    (command,) = package.entry_points
    assert (command.name, command.value) == ("cladescope", "cladescope.__main__:main")


def recipe(root) -> dict:
    return yaml.safe_load((root / "conda" / "recipe.yaml").read_text())


def test_conda_recipe_is_of_the_same_package(installed, root):
    """Python, packages with their pins, and the command; conda has other names for some."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    (package,) = distributions(path=[str(installed)])
    names = {"torch": "pytorch", "huggingface-hub": "huggingface_hub"}
    needed = [re.fullmatch(r"([\w-]+)(.*)", line).groups() for line in package.requires]
    wanted = [f"{names.get(name, name)} {pin}".strip() for name, pin in needed]
    python = f"python {project['requires-python']}"
    assert sorted(recipe(root)["requirements"]["run"]) == sorted([python, *wanted])
    assert python in recipe(root)["requirements"]["host"]
    assert recipe(root)["build"]["python"]["entry_points"] == [
        f"{name} = {target}" for name, target in project["scripts"].items()
    ]
    about = recipe(root)["about"]
    assert (about["license"], about["summary"]) == (project["license"], project["description"])


def test_version_is_the_same_in_every_place(root):
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((root / "CITATION.cff").read_text())["version"] == version
    assert recipe(root)["package"] == {"name": "cladescope", "version": version}
    # The newest version that the changelog names; before the first release it names none.
    released = re.findall(r"^## (\d\S*)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[:1] in ([], [version])
