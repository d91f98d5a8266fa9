"""Fixtures that several test files share."""

import copy
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import settings

from checkouts import PARTS, SMALL, Checkout, results_kept
from cladescope.files import claim

settings.register_profile("few", max_examples=20, derandomize=True, database=None, deadline=None)
settings.register_profile("many", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile("few")
# Where it is set, pytest shows all that differs, which takes hours for the bytes of two files.
os.environ.pop("CI", None)
ROOT = Path(__file__).parents[1]
SLOW_FOLDERS = {"bad_days", "slurm", "workflow"}
SLOW_FIXTURES = {"finished", "checkout", "browser"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs Snakemake, Slurm or Chromium as slow; other slow tests carry the marker.

    Files that take minutes come first: no worker then ends with one while the others have nothing
    left to do.
    """
    for item in items:
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        if folder in SLOW_FOLDERS or SLOW_FIXTURES & {*item.fixturenames}:
            item.add_marker(pytest.mark.slow)
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (item.path.parent.name != "slurm", -slow[item.path]))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture
def default_config() -> dict:
    """A copy of the embedded configuration, free to be changed."""
    return copy.deepcopy(yaml.safe_load((ROOT / "config" / "config.yaml").read_text()))


@pytest.fixture(scope="session")
def finished(root, tmp_path_factory) -> Checkout:
    """A copy of the checkout in which the small experiment has run once."""
    folder = tmp_path_factory.mktemp("checkout")
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return finish(root, folder)
    # The workers share one run: the first makes it, each takes a copy.
    with claim(tmp_path_factory.getbasetemp().parent / "finished") as shared:
        if not (shared / "checkout").exists():
            finish(root, shared / "running")
            (shared / "running").rename(shared / "checkout")
        shutil.copytree(shared / "checkout", folder, symlinks=True, dirs_exist_ok=True)
    return Checkout(folder)


def finish(root: Path, folder: Path) -> Checkout:
    """Copy the checkout into `folder`, made anew, and run the small experiment there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for part in PARTS:
        source = root / part
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / part)
    checkout = Checkout(folder)
    result = checkout.run()
    assert result.returncode == 0, result.stdout + result.stderr
    return checkout


@pytest.fixture
def checkout(finished):
    """The finished checkout; configuration, library and results are restored after the test."""
    library = finished.folder / "workflow"
    before = {path: path.read_text() for path in library.rglob("*.py")}
    with results_kept(finished.folder):
        yield finished
    finished.write(SMALL)
    for path, text in before.items():
        if path.read_text() != text:
            path.write_text(text)


@pytest.fixture
def config():
    """A copy of the small experiment's configuration, free to be changed."""
    return copy.deepcopy(SMALL)
