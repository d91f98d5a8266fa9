"""Writing results so that a partial file is never mistaken for a complete one."""

import errno
import fcntl
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def write_aside(path: str | Path) -> Iterator[Path]:
    """Yield a sibling path to write to (a file or a folder); rename it to `path` on success.

    The rename is atomic on one file system, so `path` is either absent, the old or the whole new
    result. On an error what was written aside is removed and the error goes on.

    Raises
    ------
    OSError
        With the file's name when the disk is full or the folder is not writable.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    _remove(aside)
    try:
        yield aside
        if path.is_dir():
            shutil.rmtree(path)
        aside.replace(path)
    except BaseException as error:
        _remove(aside)
        # A full disk is noticed by write(), which knows no file name; safetensors has its own kind.
        if isinstance(error, OSError) and error.filename is None:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        if f"os error {errno.ENOSPC}" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


@contextmanager
def claim(folder: str | Path, part: range | None = None) -> Iterator[Path]:
    """Hold a folder, made if need be, for this process alone; wait while another one holds it.

    A job that outlived the workflow that started it may still be at work when it is started again.
    On a file system without locks nothing is waited for.

    Parameters
    ----------
    part
        Numbers that what is written has there; None holds all of the folder. Processes whose
        numbers differ do not wait for each other.
    """
    lock = Path(folder) / "lock"
    # A lock on bytes of the file, one a number; a length of 0 means to its end, however long.
    held = (len(part), part.start) if part else (0, 0)
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, *held)
            except BlockingIOError:
                logging.warning("waiting for another process that writes to %s", folder)
                fcntl.lockf(file, fcntl.LOCK_EX, *held)
            except OSError as error:
                logging.warning("%s cannot be locked (%s)", folder, error)
            # Whoever held the lock may have removed the folder, and the lock with it.
            if lock.exists() and lock.stat().st_ino == os.fstat(file.fileno()).st_ino:
                yield lock.parent
                return


@contextmanager
def reading(path: str | Path, remedy: str = "delete it and run again") -> Iterator[None]:
    """Say which file it was, and what to do, when the block cannot make sense of its content.

    Parameters
    ----------
    remedy
        What to do; a file of the user's is not to be deleted.

    Raises
    ------
    ValueError
        For a damaged file. What the system says of a file that it cannot open goes on as it is.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read ({error}): damaged, or copied in part; {remedy}"
        ) from error


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as readable, deterministic JSON (sorted keys, no NaN).

    Raises
    ------
    ValueError
        If a number is not finite; names the file and the number.
    """
    for name, number in numbers_of(value):
        if not math.isfinite(number):
            raise ValueError(f"{path}: {name or 'the value'} is {number}, no number to report")
    with write_aside(path) as aside:
        aside.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: str | Path, remedy: str = "delete it and run again") -> Any:
    """Read a JSON file; ValueError names the file, and the remedy, if it is not JSON."""
    with reading(path, remedy):
        return json.loads(Path(path).read_text())


def read_text(path: str | Path) -> str:
    """Read a text file of the user's; ValueError names the file and the line that is not UTF-8."""
    content = Path(path).read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from error


def numbers_of(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield every floating-point number of nested dictionaries and lists, with its dotted name."""
    if isinstance(value, float):
        yield name, value
    elif isinstance(value, dict | list | tuple):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            yield from numbers_of(part, f"{name}.{key}" if name else str(key))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
