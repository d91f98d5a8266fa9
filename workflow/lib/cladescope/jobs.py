"""What every script does: a dated log file, errors that reach it, seals checked and set."""

import errno
import gc
import logging
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from tqdm import tqdm

from cladescope.seals import check_seals, seal, unseal

Item = TypeVar("Item")

FAILED, DONE = "the job failed", "the job is done"
"""What the log of a job says at its end."""

ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and start again, finished files stay",
    errno.EDQUOT: "the quota is used up; free some space and start again, finished files stay",
    errno.EROFS: "the disk cannot be written to; set `results` to one that can, or mount it so",
    errno.EACCES: "no permission; make the folder writable, or set `results` to another",
}
"""What to do about errors of the system."""

ALLOTTED = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "SLURM_JOB_PARTITION")
"""Variables that say what a job was given: threads (torch and BLAS honour them), GPUs, a place."""


@contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Surround a script's work: log it, check what it reads first, seal what it has made.

    Parameters
    ----------
    snakemake
        What Snakemake gives a script.

    Raises
    ------
    ValueError
        If an input below the results is not what was sealed when it was made.
    """
    # All that is imported stays to the end, where looking through it for garbage takes a second.
    gc.freeze()
    start_log(snakemake.log[0])
    for path in snakemake.output:
        unseal(path)
    check_seals(snakemake.input, snakemake.config["results"])
    yield
    for path in snakemake.output:
        seal(path)
    logging.info(DONE)


def warn(message: str) -> None:
    """Tell a job's log, and who watches the terminal."""
    logging.warning(message)
    print(f"WARNING: {message}", file=sys.stderr)


def start_log(path: str) -> None:
    """Send log records, and the traceback of an uncaught exception, to the file at `path`.

    The first record says where the job runs and what it was given.
    The exception's last line also goes to the terminal, so that the reason is seen without
    opening the log, and what to do where the machine is to blame.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=path,
        filemode="w",
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        force=True,
    )
    logging.captureWarnings(True)
    allotted = [f"{name}={os.environ[name]}" for name in ALLOTTED if name in os.environ]
    logging.info("on %s %s", socket.gethostname(), " ".join(allotted))

    def report(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        logging.critical(FAILED, exc_info=(kind, error, trace))
        print(f"{kind.__name__}: {error}", file=sys.stderr)
        if (advice := _advice(error)) is not None:
            logging.critical(advice)
            print(advice, file=sys.stderr)

    sys.excepthook = report


def _advice(error: BaseException) -> str | None:
    """Return what to do about an error of the machine, whose own message only says what it is."""
    if isinstance(error, OSError):
        return ADVICE.get(error.errno or 0)
    if isinstance(error, MemoryError):
        return "the job has too little memory; on Slurm, raise mem_mb of its rule in the profile"
    # torch's own kind, of which a processor's job knows nothing.
    if type(error).__name__ == "OutOfMemoryError":
        return (
            "the GPU is full; let fewer dictionaries share a job (sweep.dictionaries_per_job), or "
            "name a larger card (gpu_model in the profile); make plan says what is needed"
        )
    return None


def progress(items: Iterable[Item], total: int, title: str) -> Iterator[Item]:
    """Iterate with a progress bar when a terminal watches, silently when not."""
    if not sys.stderr.isatty():
        # tqdm locks even what it does not show, and shares the lock with forked processes: one
        # that is killed while it has it would stop all others for ever.
        yield from items
        return
    yield from tqdm(items, total=total, desc=title, leave=False, mininterval=0.5)
