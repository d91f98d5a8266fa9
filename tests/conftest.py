"""Fixtures that several test files share."""

import copy
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from checkouts import PARTS, SMALL, Checkout
from cladescope.files import claim

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


@contextmanager
def results_kept(folder: Path) -> Iterator[None]:
    """Put the results and Snakemake's records back, if a test has made anything else of them."""
    results, records, kept = folder / "results", folder / ".snakemake" / "metadata", folder / "kept"
    shutil.copytree(results, kept / "results", symlinks=True, copy_function=copy_but_images)
    shutil.copytree(records, kept / "records")
    before = state_of(results)
    try:
        yield
    finally:
        if state_of(results) != before:
            shutil.rmtree(results)
            (kept / "results").rename(results)
            shutil.rmtree(records)
            (kept / "records").rename(records)
        shutil.rmtree(kept)


def copy_but_images(source: str, target: str) -> None:
    """Copy a file; thousands of images get a second name only."""
    (os.link if source.endswith(".png") else shutil.copy2)(source, target)


def state_of(folder: Path) -> dict[Path, tuple[int, int]]:
    states = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {path: (state.st_ino, state.st_mtime_ns) for path, state in states.items()}


@pytest.fixture
def config():
    """A copy of the small experiment's configuration, free to be changed."""
    return copy.deepcopy(SMALL)
