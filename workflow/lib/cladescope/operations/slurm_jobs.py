"""Slurm jobs that outlived the Snakemake that submitted them."""

import shutil
import subprocess
import time
from pathlib import Path

POLL_SECONDS = 10


def submitted_jobs(folder: str | Path) -> list[str]:
    """Return the ids of the user's Slurm jobs, waiting or running, that Snakemake submitted here.

    Parameters
    ----------
    folder
        Where Snakemake was started. Its jobs have it as their working directory, and the rule's or
        the group's name as their comment.

    Raises
    ------
    OSError
        If Slurm does not answer.
    """
    if shutil.which("squeue") is None:
        return []
    result = subprocess.run(
        ["squeue", "--me", "--noheader", "--format", "%i\t%k\t%Z"],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise OSError(f"squeue failed, try again later: {result.stderr.strip()}")
    jobs = [line.split("\t", 2) for line in result.stdout.splitlines()]
    here = str(Path(folder).resolve())
    return [job for job, comment, place in jobs if place == here and comment.startswith("rule_")]


def wait_for_jobs(folder: str | Path, poll_seconds: float = POLL_SECONDS) -> None:
    """Wait until no Slurm job that Snakemake submitted from `folder` is left; say which there are.

    What such a job still makes is complete, so the next run takes it as it is. Started while it
    works, the next run would make the same again.
    """
    told: list[str] = []
    while jobs := submitted_jobs(folder):
        if jobs != told:
            print(f"waiting for Slurm jobs of an earlier run: {' '.join(jobs)}", flush=True)
            told = jobs
        time.sleep(poll_seconds)
