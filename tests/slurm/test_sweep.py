"""Part of the small experiment through `--profile slurm` on a real Slurm, against a local run."""

import re
import shutil
import subprocess

import pytest

from checkouts import SNAKEMAKE, Checkout
from cluster import missing, running_cluster

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")


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
    folder = checkout.folder / "results" / "small"
    paths = sorted(path for pattern in patterns for path in folder.glob(pattern))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


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
    stages = ("trained/activations/eval", "trained/dictionaries/cls/L8/topk", "tables", "logs")
    remove(submitted, *stages)
    run = submit(cluster, submitted)
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
    scored = {given["SLURM_JOB_ID"] for given in allotted(submitted, "score_dictionary/*")}
    assert len(scored) == 1, "short jobs share an allocation"
