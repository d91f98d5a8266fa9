"""Disks that are full soon."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[str], None]]:
    """Mount an empty disk over a folder; yield a function that sets its size, such as `32k`."""
    mount = ("mount", "-t", "tmpfs", "tmpfs", str(folder))
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    # Snakemake removes folders that it leaves empty, which a mounted one cannot be.
    (folder / ".keep").touch()

    def resize(size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)

    try:
        yield resize
    finally:
        subprocess.run(["umount", str(folder)], check=True)
