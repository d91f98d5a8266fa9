"""What `make unlock` says of Slurm; a mock: squeue is a script. The real one is in tests/slurm."""

import os

import pytest

from cladescope.operations.slurm_jobs import LOGS, killed_for_memory, submitted_jobs, wait_for_jobs


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """Put a squeue on the path that prints something and ends with a status."""

    def install(script):
        path = tmp_path / "bin" / "squeue"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")

    return install


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run" / LOGS).mkdir(parents=True)
    return tmp_path / "run"


FATAL = "squeue: fatal: Could not establish a configuration source"
AWAY = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"


def test_clients_without_a_cluster_have_no_jobs(squeue, folder, capsys):
    squeue(f"echo '{FATAL}' >&2; exit 1")
    assert submitted_jobs(folder) == []
    wait_for_jobs(folder)
    assert "no Slurm job of an earlier run is left" in capsys.readouterr().out


def test_a_folder_that_never_submitted_does_not_ask(squeue, tmp_path, capsys):
    squeue(f"echo '{AWAY}' >&2; exit 1")
    wait_for_jobs(tmp_path)
    assert "no job was ever submitted to Slurm" in capsys.readouterr().out


def test_a_slurm_that_does_not_answer_is_no_empty_queue(squeue, folder):
    squeue(f"echo '{AWAY}' >&2; exit 1")
    with pytest.raises(OSError, match="does not answer; try again later"):
        wait_for_jobs(folder)


def test_only_jobs_of_this_folder_count(squeue, folder):
    lines = [
        f"7\trule_train_sae_wildcards\t{folder}",
        "8\trule_encode\t/other",
        f"9\tmine\t{folder}",
    ]
    squeue("printf '%s\\n' " + " ".join(f"'{line}'" for line in lines))
    assert submitted_jobs(folder) == ["7"]


def test_jobs_that_slurm_ended_for_their_memory_are_named(folder):
    """Lines of slurmstepd where memory is sampled and where control groups limit it."""
    for name, line, age in (
        ("rule_encode/1.log", "slurmstepd: error: StepId=1.batch exceeded memory limit (9 > 6)", 0),
        ("rule_train/2.log", "slurmstepd: error: Detected 1 oom_kill event in StepId=2.batch.", 0),
        ("rule_score/3.log", "MemoryError is not a word of Slurm's", 0),
        ("rule_probe/4.log", "slurmstepd: error: StepId=4.batch exceeded memory limit", 100),
    ):
        log = folder / LOGS / name
        log.parent.mkdir()
        log.write_text(f"before\n{line}\n")
        os.utime(log, (1000 - age, 1000 - age))
    named = killed_for_memory(folder, 950)
    assert [line.partition(":")[0] for line in named] == ["rule_encode", "rule_train"]
    assert all("raise its mem_mb" in line for line in named)
