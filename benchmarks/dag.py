"""What Snakemake needs to plan the paper's experiment: processor seconds of dry runs.

    .venv/bin/python benchmarks/dag.py [--rounds 3]

The configuration is `config/dinov2_imagenet.yaml`, 40 blocks and 256 image shards, with growing
parts of its grid; the baselines and the random backbone come on top. `cold` plans from nothing,
`no-op` finds everything made: empty files, with the records that Snakemake keeps of finished jobs.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from cladescope.config import complete_config
from cladescope.sweep import expand_sweep

ROOT = Path(__file__).parents[1]
GRIDS: list[dict[str, list[int]]] = [
    {"width": [16384], "sparsity": [32], "seed": [0, 1, 2]},
    {"width": [8192, 16384], "sparsity": [32, 64], "seed": [0, 1, 2]},
    {"width": [4096, 8192, 16384, 24576], "sparsity": [16, 32, 64, 128], "seed": [0, 1, 2]},
]
"""TopK dictionaries of a block: 3, 12, and the 48 of the committed configuration."""


def paper_config(grid: dict[str, list[int]]) -> dict[str, Any]:
    """Return the paper's configuration with another grid of TopK dictionaries."""
    config = yaml.safe_load((ROOT / "config" / "dinov2_imagenet.yaml").read_text())
    config["experiments"]["dinov2"]["sweep"]["variants"]["topk"] = grid
    return config


def write_inputs(folder: Path, config: dict[str, Any]) -> None:
    """Write the configuration, and empty folders and tables where the images would be."""
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    dataset = config["datasets"]["imagenet"]
    for path in dataset["folders"].values():
        (folder / path).mkdir(parents=True)
    for path in dataset["label_files"].values():
        (folder / path).touch()


def options(folder: Path) -> list[str]:
    """Options with which this checkout's workflow runs in `folder`."""
    parts = {
        "--snakefile": ROOT / "Snakefile",
        "--workflow-profile": ROOT / "profiles" / "default",
        "--directory": folder,
        "--configfile": folder / "config.yaml",
        "--cores": 1,
    }
    return [str(part) for pair in parts.items() for part in pair]


def dry_run(folder: Path, *arguments: str) -> tuple[float, str]:
    """Plan a run in `folder`; return processor seconds and what Snakemake printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = _run(Path(sys.executable).parent / "snakemake", *options(folder), "-n", *arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, printed


def pretend_finished(folder: Path) -> str:
    """Make every output as an empty file and record it as made; return what Snakemake printed.

    `snakemake --touch` does the same, at ten jobs a second.
    """
    return _run(sys.executable, __file__, "--pretend", *options(folder), "-n", "--quiet", "rules")


def pretend(arguments: list[str]) -> None:
    """Run Snakemake with a scheduler that runs nothing and declares every job finished."""
    from snakemake import cli
    from snakemake.scheduling.job_scheduler import JobScheduler

    def schedule(scheduler: JobScheduler) -> bool:
        workflow = scheduler.workflow
        # What it saw before is outdated as soon as a file is made.
        workflow.iocache.deactivate()

        async def finish() -> None:
            for level in workflow.dag.toposorted():
                for file in (Path(file) for job in level for file in job.output):
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.touch()
                for job in level:
                    await workflow.persistence.finished(job)

        workflow.async_run(finish())
        return True

    JobScheduler.schedule = schedule
    cli.main(arguments)


def _run(*command: str | Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow" / "lib")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return done.stdout + done.stderr


def main() -> None:
    """Print processor seconds for each size: the median of the rounds and their range."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = range(parser.parse_args().rounds)
    for grid in GRIDS:
        config = paper_config(grid)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            write_inputs(folder, config)
            seconds = {"cold": [dry_run(folder, "--quiet", "rules")[0] for _ in rounds]}
            pretend_finished(folder)
            done = [dry_run(folder) for _ in rounds]
            assert all("Nothing to be done" in printed for _, printed in done)
            seconds["no-op"] = [used for used, _ in done]
            files = sum(len(names) for _, _, names in os.walk(folder / "results"))
        print(f"{len(expand_sweep(complete_config(config)))} dictionaries, {files} files: ", end="")
        print(
            *(
                f"{kind} {statistics.median(values):.1f} s ({min(values):.1f}-{max(values):.1f})"
                for kind, values in seconds.items()
            ),
            sep=", ",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--pretend"]:
        pretend(sys.argv[2:])
    else:
        main()
