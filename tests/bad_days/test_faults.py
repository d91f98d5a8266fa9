"""Bad days of extraction: killed jobs, killed workflows, killed workers, two jobs at once."""

import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from checkouts import SNAKEMAKE
from cladescope.files import claim

TARGETS = [
    f"trained/activations/train/{token}/L{layer}.json"
    for token in ("cls", "patches")
    for layer in (2, 8)
]
UNDISTURBED: dict[Path, bytes] = {}
"""What an extraction makes that nothing disturbs; filled by the first test that needs it."""


@pytest.fixture
def extraction(checkout, config, tmp_path):
    """The checkout with an extraction that has its own results and the finished run's images."""
    experiment = config["experiments"]["trained"]
    experiment["extraction"] = {
        "passes": [{"layers": [2, 8], "tokens": ["cls", "patches"]}],
        "shards": {"train": 16, "eval": 1},
        # Small, so that the job lasts for seconds, of which each victim is given a small part.
        "batch_size": 4,
        "threads": 2,
    }

    def configure(name, jobs=1):
        config["results"] = str(tmp_path / name)
        experiment["extraction"]["jobs"] = {"train": jobs}
        checkout.write(config)
        datasets = tmp_path / name / "datasets"
        shutil.copytree(checkout.folder / "results" / "small" / "datasets", datasets)
        return [str(tmp_path / name / target) for target in TARGETS]

    return checkout, configure


def stores(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted((folder / "trained" / "activations").rglob("*"))
        if path.is_file()
    }


def start(checkout, targets):
    """Start Snakemake, for two jobs at a time, in a process group of its own."""
    command = [SNAKEMAKE, "--cores", "4", "--configfile", str(checkout.config), "--", *targets]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.Popen(
        command,
        cwd=checkout.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def job_of(workflow):
    """An extraction job and its decoding workers, once the job computes."""
    deadline = time.monotonic() + 300
    seen = set()
    while time.monotonic() < deadline and workflow.poll() is None:
        time.sleep(0.02)
        # Processes come and go meanwhile.
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(workflow.pid).children(recursive=True):
                command = process.cmdline()
                seen.add(" ".join(command[-2:]))
                is_job = "python" in process.name() and "extract_" in " ".join(command[-2:])
                # Workers are forks; a job also asks git, for a moment.
                children = process.children() if is_job else []
                workers = [child for child in children if child.cmdline() == command]
                if workers:
                    return process, workers
    raise AssertionError(f"no extraction job was seen at work; {workflow.poll()=}, {seen=}")


@pytest.mark.parametrize("jobs", [1, 3])
def test_killed_workflow_job_and_worker(extraction, tmp_path, jobs):
    """Whether one job extracts or several, of which one is killed or outlives its workflow."""
    checkout, configure = extraction
    if not UNDISTURBED:
        targets = configure("undisturbed")
        result = checkout.run("--", *targets)
        assert result.returncode == 0, result.stdout + result.stderr
        UNDISTURBED.update(stores(tmp_path / "undisturbed"))
    expected = UNDISTURBED
    assert len(expected) > 60

    targets = configure("disturbed", jobs)
    rng = random.Random(0)
    for victim in ("workflow", "job", "worker", "workflow"):
        workflow = start(checkout, targets)
        job, workers = job_of(workflow)
        time.sleep(rng.uniform(0, 0.1))
        if victim == "workflow":
            # The job lives on as an orphan; the next one must not get in its way.
            workflow.kill()
        else:
            (job if victim == "job" else workers[0]).kill()
        assert workflow.wait(60) != 0, f"the run goes wrong when its {victim} is killed"
        assert checkout.run("--unlock").returncode == 0
    result = checkout.run("--", *targets)
    assert result.returncode == 0, result.stdout + result.stderr
    assert stores(tmp_path / "disturbed") == expected
    assert checkout.planned("--", *targets) == {}
    chunk = tmp_path / "disturbed/trained/activations/train/cls/L8.zarr/values/c/9/0/0"
    chunk.unlink()
    repaired = checkout.command("verify", "small.yaml", "--repair")
    assert "1 of" in repaired.stdout, repaired.stdout + repaired.stderr
    assert stores(tmp_path / "disturbed") == expected


def hold(folder, held, release, part=None):
    with claim(folder, part):
        held.set()
        release.wait(30)


def test_second_process_waits_for_the_first(tmp_path):
    context = multiprocessing.get_context("fork")
    # Events of its own: one that a killed process waits for can never be set again.
    held, never = context.Event(), context.Event()
    first = context.Process(target=hold, args=(tmp_path / "f", held, never))
    first.start()
    assert held.wait(30)
    second_held, release = context.Event(), context.Event()
    second = context.Process(target=hold, args=(tmp_path / "f", second_held, release))
    second.start()
    assert not second_held.wait(0.3)
    os.kill(first.pid, signal.SIGKILL)
    assert second_held.wait(30), "a killed process holds nothing"
    release.set()
    for process in (first, second):
        process.join(30)


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [
        (range(4), range(4, 6), False),
        (range(4, 6), range(1), False),
        (range(4), range(3, 6), True),
        (range(1, 2), None, True),
        (None, range(300, 301), True),
    ],
)
def test_processes_with_the_same_numbers_wait(tmp_path, first, second, waits):
    # A forked process would hold its parent's lock.
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    with claim(tmp_path / "f", first):
        other = context.Process(target=hold, args=(tmp_path / "f", held, release, second))
        other.start()
        assert held.wait(1 if waits else 30) is not waits
    assert held.wait(30)
    release.set()
    other.join(30)


def test_claim_of_a_folder_that_its_holder_removed(tmp_path):
    # A forked process would hold its parent's lock.
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    with claim(tmp_path / "f"):
        second = context.Process(target=hold, args=(tmp_path / "f", held, release))
        second.start()
        assert not held.wait(1)
        shutil.rmtree(tmp_path / "f")
    assert held.wait(30)
    assert (tmp_path / "f" / "lock").exists()
    release.set()
    second.join(30)
