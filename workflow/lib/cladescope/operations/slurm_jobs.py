"""Slurm jobs that are still there after the Snakemake that submitted them is gone."""

import re
import shutil
import subprocess
import time
from pathlib import Path

POLL_SECONDS = 10
LOGS = Path(".snakemake") / "slurm_logs"
"""Where Snakemake keeps the logs of the jobs that it submits, below the folder it started in."""
OUT_OF_MEMORY = re.compile("exceeded memory limit|oom.kill|out of memory", re.IGNORECASE)
"""What Slurm writes into the log of a job that it ends because of its memory."""
NO_CLUSTER = "Could not establish a configuration source"
"""What Slurm's clients say where they are installed and no cluster is."""


def submitted_jobs(folder: str | Path) -> list[str]:
    """Return the ids of the user's Slurm jobs, waiting or running, that Snakemake submitted here.

    Parameters
    ----------
    folder
        Folder in which Snakemake was started. Its jobs have it as their working directory, and the
        name of the rule or group as their comment.

    Returns
    -------
    list of str
        Empty, too, where nothing was ever submitted from, or where there is no Slurm.

    Raises
    ------
    OSError
        If jobs were submitted and Slurm does not answer.
    """
    if shutil.which("squeue") is None or not (Path(folder) / LOGS).is_dir():
        return []
    result = subprocess.run(
        ["squeue", "--me", "--noheader", "--format", "%i\t%k\t%Z"],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        said = result.stderr.strip()
        if NO_CLUSTER in said:
            return []
        raise OSError(
            "jobs were submitted from this folder and Slurm does not answer; try again later or, "
            f"if that cluster is no more, delete {LOGS}: {said}"
        )
    jobs = [line.split("\t", 2) for line in result.stdout.splitlines()]
    here = str(Path(folder).resolve())
    return [
        job for job, comment, workdir in jobs if workdir == here and comment.startswith("rule_")
    ]


def wait_for_jobs(folder: str | Path) -> None:
    """Wait until no Slurm job that Snakemake submitted from `folder` is left; say which there are.

    The files of such a job are complete, so the next run uses them. A run that starts while the job
    is at work would make the same files again.
    """
    if not (Path(folder) / LOGS).is_dir():
        print("no job was ever submitted to Slurm from this folder")
        return
    named: list[str] = []
    while jobs := submitted_jobs(folder):
        if jobs != named:
            print(f"waiting for Slurm jobs of an earlier run: {' '.join(jobs)}", flush=True)
            named = jobs
        time.sleep(POLL_SECONDS)
    print("no Slurm job of an earlier run is left")


def killed_for_memory(folder: str | Path, since: float) -> list[str]:
    """Return what Slurm's logs say of jobs that it has ended because of their memory.

    Snakemake itself says so only where Slurm reports the state OUT_OF_MEMORY.

    Parameters
    ----------
    folder
        Folder in which Snakemake was started.
    since
        Logs that were written to after this time count (seconds since the epoch).
    """
    found = []
    for log in sorted((Path(folder) / LOGS).rglob("*.log")):
        if log.stat().st_mtime >= since and OUT_OF_MEMORY.search(log.read_text(errors="replace")):
            rule = log.relative_to(Path(folder) / LOGS).parts[0]
            found.append(f"{rule}: out of memory ({log}); raise its mem_mb in the profile")
    return found
