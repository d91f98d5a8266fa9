"""Part of the small experiment through `--profile slurm` on a real Slurm, against a local run."""

import os
import re
import shutil
import subprocess

import pytest

from checkouts import SNAKEMAKE, Checkout
from cluster import missing, running_cluster

# Asked for by name (`make test-slurm`): the cases after the first are still being written.
REASON = missing() if os.getenv("CLADESCOPE_SLURM") else "run by `make test-slurm`"
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with running_cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def submitted(finished, config, tmp_path):
    """A copy of the finished checkout, free to be spoilt."""
    folder = tmp_path / "checkout"
    shutil.copytree(finished.folder, folder, symlinks=True)
    (folder / "slurm").symlink_to("profiles/slurm")
    checkout = Checkout(folder)
    # A second thread decodes images, so it changes no byte.
    config["experiments"]["trained"]["extraction"]["threads"] = 2
    checkout.write(config)
    return checkout


def submit(cluster, checkout, *arguments):
    """Start `snakemake --profile slurm`, with short waits."""
    options = ["--slurm-init-seconds-before-status-checks=1", "--latency-wait=5"]
    environment = {k: v for k, v in cluster.environment.items() if k != "PYTHONPATH"}
    return subprocess.Popen(
        [SNAKEMAKE, "--profile", "slurm", "--configfile", checkout.config, *options, *arguments],
        cwd=checkout.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def results(checkout, *patterns):
    """Every file of the patterns, by its path below the results."""
    folder = checkout.folder / "results" / "small"
    paths = sorted(path for pattern in patterns for path in folder.glob(pattern))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}


def remove(checkout, *patterns):
    for pattern in patterns:
        for path in list((checkout.folder / "results" / "small").glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def allotted(checkout, pattern):
    """What the logs of jobs say that they were given."""
    logs = sorted((checkout.folder / "results" / "small" / "logs").glob(pattern))
    assert logs
    return [dict(re.findall(r"(\w+)=(\S+)", log.read_text().splitlines()[0])) for log in logs]


def test_sweep_gives_the_tables_of_a_local_run(cluster, submitted, finished):
    tables = [f"results/small/{table}" for table in results(finished, "tables/*")]
    one = "trained/dictionaries/cls/L8/topk/w48_k4_s0"
    remove(submitted, "trained/activations/eval", one, "tables", "logs")
    run = submit(cluster, submitted, "--", *tables)
    output, _ = run.communicate(timeout=300)
    assert run.returncode == 0, output

    files = ("tables/*", "trained/dictionaries/**/*.safetensors", "trained/dictionaries/**/*.json")
    expected = results(finished, *files)
    assert len(expected) > 20
    assert results(submitted, *files) == expected

    for given in allotted(submitted, "extract_activations/*"):
        assert given["SLURM_JOB_PARTITION"] == "gpu"
        assert given["CUDA_VISIBLE_DEVICES"] in ("0", "1")
        assert given["OMP_NUM_THREADS"] == "2"
    for rule in ("train_sae/*", "encode/*", "score_dictionary/*", "tabulate.log"):
        for given in allotted(submitted, rule):
            assert given["SLURM_JOB_PARTITION"] == "cpu"
            assert "CUDA_VISIBLE_DEVICES" not in given
            assert given["OMP_NUM_THREADS"] == "1"
    allocations = {
        given["SLURM_JOB_ID"]
        for rule in ("encode/*", "score_dictionary/*")
        for given in allotted(submitted, rule)
    }
    assert len(allocations) == 1, "short jobs share an allocation"


def dictionary_files(*names):
    folder = "results/small/trained/dictionaries/cls"
    return [f"{folder}/{name}/sae.safetensors" for name in names]


def job_of(cluster, checkout, comment, states="running"):
    """The newest Slurm job of a rule in a state, once there is one."""

    def find():
        jobs = cluster.jobs("%i", "%k", "%Z", states=states)
        return [
            job for job, what, place in jobs if comment in what and place == str(checkout.folder)
        ]

    cluster.wait(find, f"{comment} {states}")
    return max(find(), key=int)


def test_disturbed_run_gives_the_same_results(cluster, submitted, finished):
    remove(submitted, "trained/activations/eval", "trained/dictionaries/cls/*/topk")
    names = [f"L{layer}/topk/w48_k{k}_s0" for layer in (2, 8) for k in (2, 4)]
    # Jobs of block 2 get too little memory at first.
    memory = "4000 if attempt > 1 or wildcards.layer != '2' else 60"
    run = submit(
        cluster,
        submitted,
        "--set-resources",
        f"train_sae:mem_mb={memory}",
        "extract_activations:slurm_partition=gpu",
        "extract_activations:gpu=1",
        "--",
        *dictionary_files(*names),
        "results/small/trained/activations/eval/cls/L2.json",
    )
    cancelled = job_of(cluster, submitted, "cls_8_topk_w48_k2")
    cluster("scancel", cancelled)

    cluster.stop("slurmctld")
    cluster.start("slurmctld", "slurmctld", "-D")
    cluster.wait(cluster.answers, "the controller answers")

    job_of(cluster, submitted, "extract_activations")
    cluster.kill("g1")

    moved = job_of(cluster, submitted, "cls_8_topk_w48_k4")
    node = cluster.field(moved, "NodeList")
    cluster("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    cluster.wait(
        lambda: cluster.field(moved, "Restarts") == "1", "job leaves the node that is down"
    )

    job_of(cluster, submitted, "cls_2_topk_w48_k2", "failed")
    preempted = job_of(cluster, submitted, "cls_2_topk_w48_k2")
    node = f"--nodelist={cluster.field(preempted, 'NodeList')}"
    urgent = ("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", node)
    cluster(*urgent, "--wrap", "sleep 1")
    cluster.wait(lambda: cluster.field(preempted, "Restarts") == "1", "job makes way")

    lost = ("sinfo", "--noheader", "--nodes=g1", "--states=down", "--format=%N")
    cluster.wait(lambda: cluster(*lost), "the dead slurmd is noticed")
    cluster.start_node("g1")
    output, _ = run.communicate(timeout=240)
    assert run.returncode == 0, output
    assert (cancelled, "CANCELLED") in cluster.jobs("%i", "%T")
    short = (submitted.folder / ".snakemake" / "slurm_logs").glob("rule_train_sae/*_2_*/*.log")
    assert any("exceeded memory limit" in log.read_text() for log in short)

    files = ("trained/activations/eval/**/*", "trained/dictionaries/**/sae.*")
    expected = results(finished, *files)
    assert len(expected) > 10
    assert results(submitted, *files) == expected


def test_jobs_that_outlive_snakemake_are_waited_for(cluster, submitted, finished):
    names = ("w48_k2", "w48_k4")
    targets = dictionary_files(*(f"L8/topk/{name}_s0" for name in names))
    remove(submitted, "trained/dictionaries/cls/L8/topk")
    run = submit(cluster, submitted, "--", *targets)
    for name in names:
        job_of(cluster, submitted, f"cls_8_topk_{name}")
    run.kill()
    run.communicate(timeout=30)
    refused = submit(cluster, submitted, "--", *targets)
    assert "--unlock" in refused.communicate(timeout=60)[0]

    waited = submitted.command("wait_for_jobs", environment=cluster.environment)
    assert waited.returncode == 0, waited.stderr
    assert "waiting for Slurm jobs" in waited.stdout
    assert submitted.run("--unlock").returncode == 0
    assert submitted.planned("--", *targets) == {}, "nothing is made twice"
    files = ("trained/dictionaries/cls/L8/topk/**/sae.*",)
    assert results(submitted, *files) == results(finished, *files)
