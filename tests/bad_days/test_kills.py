"""Training jobs killed at random moments: the next go on, and end with the bytes of a calm one.

Long trainings in small: the state is kept every few milliseconds, not every five minutes. As many
kills a case as Hypothesis takes examples: 20 in the tests, 1,000 by `make fuzz`.
"""

import io
import multiprocessing
import os
import random
import runpy
import shutil
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import settings
from safetensors import safe_open
from tqdm import tqdm

from cladescope.dictionaries.training import batches, loop
from cladescope.jobs import progress
from cladescope.kept import FOLDER
from cladescope.seals import check_seal, seal
from disks import needs_root, small_disk
from stores import write

KILLS = 20
CASES = {
    "a training": ("topk", [0]),
    "a training by torch": ("batchtopk", [0]),
    "a job of three dictionaries": ("topk", [0, 1, 2]),
}
RECIPE = {
    "images": 32_000,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "warmup_share": 0.05,
    "decay_share": 0.2,
    "lift_share": 0.01,
    "dead_share": 0.02,
    "aux_coefficient": 0.1,
}
LAST = 32_000 * 2 // 128


class Files(dict):
    """Files as Snakemake hands them over: by name, and one after another."""

    __getattr__ = dict.__getitem__

    def __iter__(self):
        for files in self.values():
            yield from [files] if isinstance(files, str) else files


class Job:
    """What Snakemake gives the script that trains: the dictionaries of some seeds."""

    def __init__(self, root: Path, results: Path, variant: str, seeds: list[int]):
        folders = [results / variant / f"w32_k3_s{seed}" for seed in seeds]
        files = {"weights": "sae.safetensors", "about": "sae.json", "log": "training.parquet"}
        point = {"variant": variant, "width": 32, "sparsity": 3}
        self.script = root / "workflow" / "scripts" / "train_sae.py"
        self.kept = results / FOLDER
        self.folders = folders
        self.input = Files(manifest=str(results / "L3.json"))
        self.output = Files(
            {name: [str(folder / file) for folder in folders] for name, file in files.items()}
        )
        self.params = SimpleNamespace(
            spec={"recipe": RECIPE},
            dictionaries=[{**point, "seed": seed} for seed in seeds],
            code="the same",
            results=str(results),
        )
        self.log = [str(results / "log")]
        self.config, self.threads = {"results": str(results)}, 1

    def run(self) -> None:
        """Run the script."""
        loop.CHECKPOINT_SECONDS = 0.02
        # Five blocks a pass.
        batches.BLOCK_ROWS = 800
        runpy.run_path(str(self.script), {"snakemake": self})

    def killed_after(self, seconds: float | None) -> int:
        """Run as Snakemake does, which deletes outputs first; return the exit code."""
        for path in self.output:
            Path(path).unlink(missing_ok=True)
        process = multiprocessing.get_context("fork").Process(target=self.run)
        process.start()
        process.join(seconds)
        process.kill()
        process.join()
        return process.exitcode

    def steps(self) -> list[int]:
        """How far each dictionary is by what is kept of it."""
        return [self._step(folder) for folder in self.folders]

    def _step(self, folder: Path) -> int:
        if (self.kept / folder.relative_to(self.kept.parent) / "sae.safetensors").exists():
            return LAST
        state = folder / ".checkpoint.safetensors"
        if not state.exists():
            return 0
        with safe_open(state, "numpy") as file:
            return int(file.metadata()["step"])

    def forget(self) -> None:
        """Remove what an earlier job has kept."""
        shutil.rmtree(self.kept, ignore_errors=True)

    def contents(self) -> dict[str, bytes]:
        for path in map(Path, self.output):
            check_seal(path)
        return {f"{Path(p).parent.name}/{Path(p).name}": Path(p).read_bytes() for p in self.output}


def own_process() -> ProcessPoolExecutor:
    """Return a process that has no threads yet when it forks."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


@pytest.mark.parametrize("case", CASES)
def test_killed_trainings_end_with_the_bytes_of_a_calm_one(root, tmp_path, case):
    kills = max(KILLS, settings.default.max_examples)
    with own_process() as pool:
        pool.submit(kill_trainings, root, tmp_path, case, kills).result()


def test_a_process_killed_while_it_shows_progress_stops_no_other():
    with own_process() as pool:
        assert pool.submit(progress_after_a_kill).result(300) == [0, 1, 2]


def progress_after_a_kill() -> list[int]:
    """Kill a fork that has the lock of all progress bars, then make progress."""
    sys.stderr = io.StringIO()
    # Made before the fork, as by a job's first bar.
    tqdm.get_lock()
    child = multiprocessing.get_context("fork").Process(target=lock_and_die)
    child.start()
    child.join()
    return [*progress(range(3), 3, "counting")]


def lock_and_die() -> None:
    tqdm.get_lock().acquire()
    os.kill(os.getpid(), signal.SIGKILL)


@needs_root
def test_a_full_disk_leaves_the_last_state_of_a_training(root, tmp_path):
    folder = tmp_path / "killed" / "topk" / "w32_k3_s0"
    folder.mkdir(parents=True)
    with small_disk(folder) as room_for, own_process() as pool:
        pool.submit(begin_training, root, tmp_path).result()
        (state,) = folder.glob(".checkpoint*")
        before = state.read_bytes()
        # The next state is written beside it.
        room_for(str(len(before) + 10_000))
        with pytest.raises(OSError, match=r"No space left on device: '.*checkpoint.safetensors'"):
            pool.submit(end_training, root, tmp_path).result()
        assert state.read_bytes() == before
        assert sorted(path.name for path in folder.iterdir()) == [state.name, ".keep"]
        room_for("1m")
        assert pool.submit(end_training, root, tmp_path).result()


def begin_training(root: Path, folder: Path) -> None:
    """Train until something is kept of it."""
    _, killed, length, _ = two_jobs(root, folder, "a training")
    while not sum(killed.steps()):
        killed.killed_after(length / 2)


def end_training(root: Path, folder: Path) -> bool:
    calm, killed = (Job(root, folder / name, *CASES["a training"]) for name in ("calm", "killed"))
    killed.run()
    return killed.contents() == calm.contents()


def two_jobs(root: Path, folder: Path, case: str) -> tuple[Job, Job, float, dict[str, bytes]]:
    """Return a job that is done and one that is not, how long it takes and what it makes."""
    torch.set_num_threads(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    rows = np.random.default_rng(0).standard_normal((2000, 2, 16))
    jobs = []
    for name in ("calm", "killed"):
        seal(write(folder / name, rows, 5))
        jobs.append(Job(root, folder / name, *CASES[case]))
    calm, killed = jobs
    calm.run()
    expected = calm.contents()
    calm.forget()
    # The first one has loaded what is compiled.
    started = time.monotonic()
    assert calm.killed_after(None) == 0
    length = time.monotonic() - started
    assert calm.contents() == expected
    return calm, killed, length, expected


def kill_trainings(root: Path, folder: Path, case: str, wanted: int) -> None:
    """Train again and again until there were enough kills."""
    _, killed, length, expected = two_jobs(root, folder, case)
    draw = random.Random(case)
    kills = resumed = 0
    while kills < wanted:
        killed.forget()
        before, longest = killed.steps(), length / 2
        while (code := killed.killed_after(draw.uniform(0, longest))) == -signal.SIGKILL:
            kills += 1
            resumed += any(0 < step < LAST for step in before)
            steps = killed.steps()
            assert all(now >= then for now, then in zip(steps, before, strict=True))
            # What comes before and after the steps may take longer than half of it all.
            longest *= 1 if steps > before else 1.2
            before = steps
        assert code == 0
        assert killed.contents() == expected
        assert not list((folder / "killed").rglob(".checkpoint*"))
    assert resumed > kills / 4, "many go on from what is kept of them"


def test_the_documents_say_how_many(root):
    text = (root / "docs" / "bad_days.md").read_text()
    for case in CASES:
        assert f"| {case} | {KILLS} | equal bytes |" in text
