"""What of a configuration exists, what is missing, and why something would be made again."""

import csv
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cladescope.jobs import DONE, FAILED
from cladescope.sweep import PACKED

_GENERATED = re.compile(
    rf"({'|'.join(('extract_activations', 'extract_shards', 'join_shards', *PACKED))})_.*"
)
"""Rules that the workflow generates, for each pass or pack; each kind is shown as one stage."""


@dataclass
class _Stage:
    """The jobs of one rule."""

    jobs: dict[str, bool] = field(default_factory=dict)
    """Whether each is done, by its log file."""
    missing: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def watch_status(config: Path, results: Path, seconds: float | None) -> Iterator[str]:
    """Yield a table of the stages: jobs done, begun, failed and left, and why those are left.

    Parameters
    ----------
    config
        The configuration's file.
    results
        The results folder, where measured times and logs lie.
    seconds
        After so many the next table, until nothing is left to do; None: one table.

    Raises
    ------
    ValueError
        With Snakemake's message, if it cannot read the configuration.
    """
    while True:
        stages = _summarise(config)
        yield "\n".join(_table(stages, results))
        if seconds is None or not _left(stages):
            return
        time.sleep(seconds)


def unfinished_stages(config: Path) -> list[str]:
    """Return the stages that have jobs left, missing or stale; raises as `watch_status` does."""
    return _left(_summarise(config))


def _left(stages: Mapping[str, _Stage]) -> list[str]:
    return [name for name, stage in stages.items() if not all(stage.jobs.values())]


def _summarise(config: Path) -> dict[str, _Stage]:
    """Ask Snakemake for the state of every output."""
    done = subprocess.run(
        [Path(sys.executable).with_name("snakemake"), "--configfile", config, "--summary"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ValueError(done.stderr.strip() or done.stdout.strip())
    lines = done.stdout.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("output_file\t"))
    return _stages(list(csv.DictReader(lines[first:], delimiter="\t")))


def _stages(files: Sequence[Mapping[str, str]]) -> dict[str, _Stage]:
    """Gather Snakemake's summary, a row for each output file, by stage."""
    stages: dict[str, _Stage] = {}
    for file in files:
        stage = stages.setdefault(_GENERATED.sub(r"\1", file["rule"]), _Stage())
        job, fresh = file["log-file(s)"], file["plan"] == "no update"
        stage.jobs[job] = stage.jobs.get(job, True) and fresh
        stage.missing += file["status"] == "missing"
        if not fresh:
            # Up to date itself, but something that it is made from will change.
            stage.reasons["inputs change" if file["status"] == "ok" else file["status"]] += 1
    return stages


def _table(stages: Mapping[str, _Stage], results: Path) -> Iterator[str]:
    heads = "".join(f" {head:>6}" for head in ("jobs", "done", "begun", "failed", "left", "s/job"))
    yield f"{'stage':<24}{heads}  why"
    hours, unknown, failures = 0.0, False, []
    for name, stage in stages.items():
        left = [Path(log) for log, fresh in stage.jobs.items() if not fresh]
        logs = {log: log.read_text() for log in left if log.is_file()}
        failed = [log for log, text in logs.items() if FAILED in text]
        # The log of a job that is done is of an earlier run.
        begun = sum(DONE not in text and FAILED not in text for text in logs.values())
        failures += failed
        seconds = _seconds_per_job(results / "benchmarks", name)
        if left and seconds is None:
            unknown = True
        hours += len(left) * (seconds or 0) / 3600
        time = "" if seconds is None else f"{seconds:.1f}"
        why = ", ".join(f"{reason} ({n})" for reason, n in stage.reasons.most_common())
        n_done = len(stage.jobs) - len(left)
        yield (
            f"{name:<24} {len(stage.jobs):>6} {n_done:>6} {begun:>6} {len(failed):>6} "
            f"{len(left) - begun - len(failed):>6} {time:>6}  {why}"
        ).rstrip()
    if not _left(stages):
        yield "everything is there and up to date"
        return
    more = ", and stages that were never measured" if unknown else ""
    yield f"{hours:.1f} job-hours left by the jobs measured so far{more}"
    for log in failures:
        yield f"failed: {log}"


def _seconds_per_job(benchmarks: Path, stage: str) -> float | None:
    """Return the mean time of a stage's finished jobs."""
    files = [benchmarks / f"{stage}.tsv", *(benchmarks / stage).glob("*.tsv")]
    times = [
        float(file.read_text().splitlines()[1].split("\t")[0]) for file in files if file.is_file()
    ]
    return sum(times) / len(times) if times else None
