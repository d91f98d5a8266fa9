"""Part of the small experiment through the profiles on a real Slurm, against a local run.

Everything that is known to go wrong on a cluster goes wrong here; the tables must be those of the
undisturbed local run, byte for byte.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading

import pytest
import yaml

from checkouts import SMALL, SNAKEMAKE, Checkout, edit
from cluster import missing, running_cluster

REASON = missing()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")
COSTS = "tables/costs.csv"
TOPK = "trained/dictionaries/cls/L8/topk"
WEIGHTS = [f"results/small/{TOPK}/w48_{k}_s0/sae.safetensors" for k in ("k2", "k4")]
STARTED: list[subprocess.Popen] = []
SHORT_OF_MEMORY = "60 if attempt == 1 and wildcards.name == 'w48_k4_s0' else 4000"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with running_cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def submitted(finished, tmp_path_factory):
    """A copy of the finished checkout, free to be spoilt: the tests take from it what they need."""
    folder = tmp_path_factory.mktemp("submitted")
    shutil.copytree(finished.folder, folder, symlinks=True, dirs_exist_ok=True)
    (folder / "slurm").symlink_to("profiles/slurm")
    return Checkout(folder)


@pytest.fixture(autouse=True)
def nothing_left_of_a_test_that_fails(cluster, submitted):
    """End what a test has started and not waited for: those after it use the same folder."""
    yield
    left = [run for run in STARTED if run.poll() is None]
    STARTED.clear()
    for run in left:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
    if left:
        cluster("scancel", "--user=root")
        cluster.wait(lambda: not cluster.jobs("%i", states="R,CG,PD"), "no job is left")
    if any((submitted.folder / ".snakemake" / "locks").glob("*")):
        submitted.run("--unlock")


def submit(cluster, checkout, *arguments, command=(SNAKEMAKE,), path=None, profile="slurm"):
    """Start `snakemake --profile slurm`, with short waits."""
    options = ["--slurm-init-seconds-before-status-checks=1", "--latency-wait=5"]
    environment = {k: v for k, v in cluster.environment.items() if k != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = path
    run = subprocess.Popen(
        [*command, "--profile", profile, "--configfile", checkout.config, *options, *arguments],
        cwd=checkout.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    STARTED.append(run)
    return run


def results(checkout, *patterns):
    """Every file of the patterns, by its path below the results."""
    folder = checkout.folder / "results" / "small"
    paths = sorted(path for pattern in patterns for path in folder.glob(pattern))
    files = (path for path in paths if path.is_file() and path.suffix != ".seal")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def tables(finished):
    """Every table but that of times and memory, which differ from run to run."""
    return [f"results/small/{t}" for t in results(finished, "tables/*") if t != COSTS]


def remove(checkout, *patterns):
    for pattern in patterns:
        for path in list((checkout.folder / "results" / "small").glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def assert_same_results(submitted, finished):
    files = ("tables/*", "trained/activations/eval/**/*", "trained/dictionaries/**/*")
    expected, found = (results(each, *files) for each in (finished, submitted))
    expected.pop(COSTS)
    found.pop(COSTS, None)
    assert len(expected) > 50
    assert found.keys() == expected.keys()
    assert [path for path, content in expected.items() if found[path] != content] == []


def allotted(checkout, pattern):
    """What the logs of jobs say that they were given."""
    logs = sorted((checkout.folder / "results" / "small" / "logs").glob(pattern))
    assert logs
    return [dict(re.findall(r"(\w+)=(\S+)", log.read_text().splitlines()[0])) for log in logs]


def assert_one_allocation(checkout, *patterns):
    allocations = {each["SLURM_JOB_ID"] for p in patterns for each in allotted(checkout, p)}
    assert len(allocations) == 1, "short jobs share an allocation"


def jobs_of(cluster, checkout, comment, states="all"):
    """Ids of the Slurm jobs of a checkout whose rule and wildcards contain a text, oldest first."""
    jobs = cluster.jobs("%i", "%k", "%Z", states=states)
    found = [job for job, what, place in jobs if comment in what and place == str(checkout.folder)]
    return sorted(found, key=int)


def newest(cluster, checkout, comment, states="running"):
    """The newest Slurm job of a rule in one of the states, once there is one."""
    cluster.wait(lambda: jobs_of(cluster, checkout, comment, states), f"{comment} {states}")
    return jobs_of(cluster, checkout, comment, states)[-1]


def wait_for_restart(cluster, job, what):
    cluster.wait(lambda: int(cluster.field(job, "Restarts")) > 0, what)


def test_sweep_survives_what_happens_on_a_cluster(cluster, submitted, finished):
    remove(submitted, "logs", "trained/activations/eval", f"{TOPK}/*")
    profile = submitted.folder / "profiles" / "slurm" / "config.yaml"
    before = profile.read_text()
    changed = yaml.safe_load(before)
    # On the CPU nodes: a GPU node dies at the same time.
    changed["set-resources"]["train_sae"] = {"mem_mb": SHORT_OF_MEMORY}
    profile.write_text(yaml.safe_dump(changed))
    scores = [f"results/small/{TOPK}/w48_{k}_s0/scores.json" for k in ("k2", "k4")]
    manifest = "results/small/trained/activations/eval/cls/L8.json"
    run = submit(cluster, submitted, "--", manifest, *scores, *WEIGHTS)

    # Snakemake submits a job again that was cancelled by hand.
    cancelled = newest(cluster, submitted, "train_sae_wildcards_trained_cls_8_topk_w48_k2")
    cluster("scancel", cancelled)

    # The controller is away for a moment.
    cluster.stop("slurmctld")
    assert not cluster.answers()
    cluster.start("slurmctld", "slurmctld", "-D")
    cluster.wait(cluster.answers, "the controller answers")

    # A slurmd dies.
    extraction = newest(cluster, submitted, "extract_activations")
    lost = cluster.field(extraction, "NodeList")
    assert lost in ("g1", "g2")
    cluster.kill(lost)

    # A job is out of memory, is submitted again with more, and then has to make way.
    large = "train_sae_wildcards_trained_cls_8_topk_w48_k4"
    newest(cluster, submitted, large, "failed,out_of_memory")
    preempted = newest(cluster, submitted, large)
    node = f"--nodelist={cluster.field(preempted, 'NodeList')}"
    urgent = ("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", node)
    cluster(*urgent, "--wrap", "sleep 1")
    wait_for_restart(cluster, preempted, "the job makes way")

    # The slurmd comes back. Its job went on without it, starts again or, if its step was about to
    # be launched, failed and is submitted again: all are in order.
    cluster.wait(lambda: "DOWN" in cluster.node_state(lost), "the dead slurmd is noticed")
    cluster.start_node(lost)
    cluster.wait(lambda: "DOWN" not in cluster.node_state(lost), "the node is back")

    # A node goes down when one of a group's jobs is at work.
    moved = newest(cluster, submitted, "rule_score")
    first = cluster.field(moved, "NodeList")
    started = submitted.folder / "results/small/logs/score_dictionary"
    cluster.wait(lambda: list(started.glob("*")), "a job of the group is at work")
    cluster("scontrol", "update", f"nodename={first}", "state=down", "reason=test")
    wait_for_restart(cluster, moved, "the group leaves the node that is down")

    output, _ = run.communicate(timeout=600)
    profile.write_text(before)
    cluster("scontrol", "update", f"nodename={first}", "state=idle")
    assert run.returncode == 0, output
    assert_same_results(submitted, finished)

    # All of it did happen.
    states = dict(cluster.jobs("%i", "%T"))
    assert states[cancelled] == "CANCELLED"
    killed, again = jobs_of(cluster, submitted, large)
    log = next((submitted.folder / ".snakemake" / "slurm_logs").rglob(f"{killed}.log"))
    assert "exceeded memory limit" in log.read_text()
    assert (again, states[again]) == (preempted, "COMPLETED")
    assert (cluster.field(killed, "MinMemoryNode"), cluster.field(again, "MinMemoryNode")) == (
        "60M",
        "4000M",
    )
    *_, extracted = jobs_of(cluster, submitted, "extract_activations")
    assert states[moved] == states[extracted] == "COMPLETED"
    assert cluster.field(moved, "NodeList") != first

    # Every job was where it belongs, with the devices and threads that it asked for.
    for rule in ("extract_activations/*", "encode/*"):
        for given in allotted(submitted, rule):
            assert given["SLURM_JOB_PARTITION"] == "gpu"
            assert given["CUDA_VISIBLE_DEVICES"] in ("0", "1")
            assert given["OMP_NUM_THREADS"] == ("2" if rule.startswith("extract") else "1")
    assert cluster.field(extraction, "NumCPUs") == "2"
    for rule in ("train_sae/*", "score_dictionary/*"):
        for given in allotted(submitted, rule):
            assert given["SLURM_JOB_PARTITION"] == "cpu"
            assert "CUDA_VISIBLE_DEVICES" not in given
            assert given["OMP_NUM_THREADS"] == "1"
    assert len(allotted(submitted, "score_dictionary/*")) == 2
    assert_one_allocation(submitted, "score_dictionary/*")


def test_extraction_over_several_gpu_nodes(cluster, submitted, finished):
    """Two jobs, each on a node of its own; one is cancelled, the other loses its node."""
    remove(submitted, "logs", "trained/activations/train")
    submitted.write(edit(SMALL, {"experiments.trained.extraction.jobs": {"train": 2}}))
    manifests = [f"results/small/trained/activations/train/cls/L{layer}.json" for layer in (2, 8)]
    earlier = jobs_of(cluster, submitted, "extract_shards")
    run = submit(cluster, submitted, "--", *manifests)

    def running():
        jobs = jobs_of(cluster, submitted, "extract_shards", "running")
        return [job for job in jobs if job not in earlier]

    cluster.wait(lambda: len(running()) == 2, "both jobs extract")
    cancelled, moved = running()
    nodes = {job: cluster.field(job, "NodeList") for job in (cancelled, moved)}
    assert set(nodes.values()) == {"g1", "g2"}
    cluster("scancel", cancelled)
    cluster("scontrol", "update", f"nodename={nodes[moved]}", "state=down", "reason=test")
    wait_for_restart(cluster, moved, "the job leaves the node that is down")
    output, _ = run.communicate(timeout=600)
    cluster("scontrol", "update", f"nodename={nodes[moved]}", "state=idle")
    assert run.returncode == 0, output
    folder = "trained/activations/train/**/*"
    assert results(submitted, folder) == results(finished, folder)

    states = dict(cluster.jobs("%i", "%T"))
    *_, again = jobs_of(cluster, submitted, "extract_shards")
    assert (states[cancelled], states[moved], states[again]) == (
        "CANCELLED",
        "COMPLETED",
        "COMPLETED",
    )
    assert cluster.field(moved, "NodeList") == nodes[cancelled]
    for given in allotted(submitted, "extract_shards/*"):
        assert given["SLURM_JOB_PARTITION"] == "gpu"
        assert given["CUDA_VISIBLE_DEVICES"] in ("0", "1")
    (joined,) = allotted(submitted, "join_shards/*")
    assert joined["SLURM_JOB_PARTITION"] == "cpu"
    assert "CUDA_VISIBLE_DEVICES" not in joined
    assert submitted.planned("--", *manifests) == {}
    submitted.write(SMALL)
    assert submitted.planned("--", *manifests) == {}


def test_dictionaries_of_one_job_on_a_gpu_node(cluster, submitted, finished):
    """A job of several is cancelled and submitted again."""
    remove(submitted, "logs", f"{TOPK}/*/sae.*")
    submitted.write(edit(SMALL, {"experiments.trained.sweep.dictionaries_per_job": 4}))
    run = submit(cluster, submitted, "--", *WEIGHTS)
    cancelled = newest(cluster, submitted, "train_sae_trained_cls_L8_topk_0")
    cluster("scancel", cancelled)
    output, _ = run.communicate(timeout=600)
    submitted.write(SMALL)
    assert run.returncode == 0, output
    weights = f"{TOPK}/*/sae.*"
    assert len(results(submitted, weights)) == 4
    assert results(submitted, weights) == results(finished, weights)
    assert dict(cluster.jobs("%i", "%T"))[cancelled] == "CANCELLED"
    assert_one_allocation(submitted, "train_sae/*")
    (given,) = allotted(submitted, "train_sae/*")
    assert given["SLURM_JOB_PARTITION"] == "gpu"
    assert given["CUDA_VISIBLE_DEVICES"] in ("0", "1")


def test_jobs_that_outlive_snakemake_are_waited_for(cluster, submitted, finished):
    remove(submitted, "logs", f"{TOPK}/*/sae.safetensors", "tables")
    targets = [*WEIGHTS, *tables(finished)]
    earlier = jobs_of(cluster, submitted, "train_sae")
    # So that none is done before it is waited for.
    cluster("scontrol", "update", "nodename=g1,g2", "state=drain", "reason=test")
    run = submit(cluster, submitted, "--", *targets)
    for name in ("k2", "k4"):
        newest(cluster, submitted, f"trained_cls_8_topk_w48_{name}", "pending")
    run.kill()
    run.communicate(timeout=30)
    refused = submit(cluster, submitted, "--", *targets)
    assert "--unlock" in refused.communicate(timeout=600)[0]

    free = threading.Timer(5, cluster, ("scontrol", "update", "nodename=g1,g2", "state=idle"))
    free.start()
    waited = submitted.command("wait", environment=cluster.environment)
    free.join()
    assert waited.returncode == 0, waited.stderr
    orphans = [job for job in jobs_of(cluster, submitted, "train_sae") if job not in earlier]
    assert f"waiting for Slurm jobs of an earlier run: {' '.join(orphans)}" in waited.stdout
    states = dict(cluster.jobs("%i", "%T"))
    assert [states[job] for job in orphans] == ["COMPLETED", "COMPLETED"]
    assert submitted.run("--unlock").returncode == 0
    run = submit(cluster, submitted, "--", *targets)
    output, _ = run.communicate(timeout=600)
    assert run.returncode == 0, output
    assert jobs_of(cluster, submitted, "train_sae") == [*earlier, *orphans], "none is doubled"
    assert_same_results(submitted, finished)
    assert_one_allocation(submitted, "tabulate*.log", "tabulate_trends.log")


def test_generic_profile_submits_again_what_was_cancelled(cluster, submitted, finished):
    pytest.importorskip("snakemake_executor_plugin_cluster_generic")
    remove(submitted, "logs", f"{TOPK}/w48_k2_s0/sae.safetensors", f"{TOPK}/w48_k2_s0/scores.json")
    cluster("scontrol", "update", "nodename=g1,g2", "state=drain", "reason=test")
    # One partition has all nodes.
    cluster("scontrol", "update", "partitionname=cpu", "nodes=n1,n2,g1,g2")
    earlier = {job for (job,) in cluster.jobs("%i")}
    scores = f"results/small/{TOPK}/w48_k2_s0/scores.json"
    generic = {"profile": "profiles/cluster-generic", "path": os.pathsep.join(sys.path)}
    run = submit(cluster, submitted, "--", WEIGHTS[0], scores, **generic)

    def new(states="all"):
        return [job for (job,) in cluster.jobs("%i", states=states) if job not in earlier]

    cluster.wait(lambda: new("pending"), "the training is submitted")
    (cancelled,) = new("pending")
    assert cluster.field(cancelled, "MinMemoryNode") == "32000M"
    assert cluster.field(cancelled, "TresPerNode") == "gres:gpu:1"
    cluster("scancel", cancelled)
    cluster("scontrol", "update", "nodename=g1,g2", "state=idle")
    output, _ = run.communicate(timeout=600)
    cluster("scontrol", "update", "partitionname=cpu", "nodes=n1,n2")
    assert run.returncode == 0, output
    assert_same_results(submitted, finished)
    jobs = sorted(new(), key=int)
    states = [cluster.field(job, "JobState") for job in jobs]
    assert states == ["CANCELLED", *["COMPLETED"] * (len(jobs) - 1)]
    # Twice as much, 64000 MB, as Slurm writes it.
    assert cluster.field(jobs[1], "MinMemoryNode") == "62.50G"
    (trained,) = allotted(submitted, "train_sae/*")
    assert trained["CUDA_VISIBLE_DEVICES"] in ("0", "1")


def test_partition_that_ends_jobs_too_early_stops_before_anything_is_submitted(cluster, submitted):
    remove(submitted, f"{TOPK}/*/sae.safetensors")
    profile = submitted.folder / "profiles" / "slurm" / "config.yaml"
    before = profile.read_text()
    changed = yaml.safe_load(before)
    changed["set-resources"]["train_sae"] = {"slurm_partition": "short", "runtime": 60}
    profile.write_text(yaml.safe_dump(changed))
    jobs = cluster.jobs("%i")
    output, _ = submit(cluster, submitted, "--", *WEIGHTS).communicate(timeout=600)
    profile.write_text(before)
    assert "train_sae: partition short ends jobs after 30 minutes, runtime is 60" in output
    assert cluster.jobs("%i") == jobs
    # The folder is free again.
    assert submitted.planned("--", *WEIGHTS)["train_sae"] == len(WEIGHTS)


def test_node_without_the_environment(cluster, submitted):
    """The interpreter that started Snakemake is gone when the job starts, as if on another disk."""
    python = submitted.folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    remove(submitted, f"{TOPK}/w48_k2_s0/sae.safetensors")
    cluster("scontrol", "update", "nodename=g1,g2", "state=drain", "reason=test")
    run = submit(
        cluster,
        submitted,
        "--retries=0",
        "--",
        WEIGHTS[0],
        command=(python, "-m", "snakemake"),
        path=os.pathsep.join(filter(None, sys.path)),
    )
    job = newest(cluster, submitted, "train_sae", "pending")
    python.unlink()
    cluster("scontrol", "update", "nodename=g1,g2", "state=idle")
    output, _ = run.communicate(timeout=600)
    assert run.returncode == 1
    assert cluster.field(job, "JobState") == "FAILED"
    assert "make .venv/synced must have been run" in output, output
