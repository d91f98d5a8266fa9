"""Commands about a whole study: is it complete, is it the same, pack it."""

import re
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from checkouts import SMALL
from cladescope.config import complete_config
from cladescope.jobs import DONE, FAILED
from cladescope.operations.archive import write_archive
from cladescope.operations.compare_runs import compare_results

DICTIONARY = "trained/dictionaries/cls/L8/topk/w48_k4_s0"


@pytest.fixture
def twin(finished, tmp_path):
    """Two copies of the small study's dictionaries and tables."""
    results = finished.folder / "results" / "small"
    for copy in ("first", "second"):
        for part in ("tables", "logs", f"{DICTIONARY}"):
            shutil.copytree(results / part, tmp_path / copy / part)
    return tmp_path / "first", tmp_path / "second"


def test_copies_are_the_same_but_for_logs_and_costs(twin):
    for name in ("logs/tabulate.log", "tables/costs.csv"):
        (twin[1] / name).write_text("other")
    assert list(compare_results(*twin)) == []


def test_first_different_value_of_a_tensor_is_told(twin):
    path = twin[1] / DICTIONARY / "sae.safetensors"
    tensors = load_file(path)
    tensors["decoder"][3, 5] = -0.5
    tensors["decoder"][7, 0] += 1
    save_file(tensors, path)
    (told,) = compare_results(*twin)
    assert told.startswith(f"{DICTIONARY}/sae.safetensors: decoder[3, 5] is ")
    assert " against -0.5; 2 of 4608 values differ, by up to 1" in told


def test_first_different_cell_of_a_table_is_told(twin):
    path = twin[1] / "tables" / "metrics.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    was = table.loc[4, "fve"]
    table.loc[4, "fve"] = f"{was}1"
    table.to_csv(path, index=False, lineterminator="\n")
    (told,) = compare_results(*twin)
    assert told == (
        f"tables/metrics.csv: row 4, column fve is {was} against {was}1; 1 of 6 rows differ there"
    )


def test_other_bytes_and_missing_files_are_told(twin):
    (twin[1] / DICTIONARY / "scores.json").unlink()
    text = (twin[1] / DICTIONARY / "quality.json").read_bytes()
    (twin[1] / DICTIONARY / "quality.json").write_bytes(text[:-2] + b" \n")
    told = list(compare_results(*twin))
    assert told == [
        f"{DICTIONARY}/quality.json: byte {len(text) - 2} of {len(text)}",
        f"{DICTIONARY}/scores.json: only in {twin[0]}",
    ]


# Archive.


@pytest.fixture
def archive(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(finished.folder)
    path = tmp_path / "study.tar.gz"
    write_archive(complete_config(SMALL), [], path)
    return path


def checked(archive, folder) -> subprocess.CompletedProcess:
    """Unpack into `folder` and compare the files with their checksums."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return sha256sum(folder / "study")


def sha256sum(folder) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_archive_holds_tables_figures_record_and_configuration(archive, finished, tmp_path):
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        assert all(member.isfile() and member.name.startswith("study/") for member in tar)
        sums = tar.extractfile("study/SHA256SUMS").read().decode()
    assert sorted(re.findall(r"  (.+)$", sums, re.MULTILINE)) == sorted(
        name.removeprefix("study/") for name in names if name != "study/SHA256SUMS"
    )
    assert {
        "study/tables/metrics.csv",
        "study/figures/scores.png",
        "study/trained/provenance.json",
        "study/config.yaml",
        "study/ro-crate-metadata.json",
        "study/SHA256SUMS",
    } < {*names}
    assert not any("activations" in name for name in names)
    before = archive.read_bytes()
    write_archive(complete_config(SMALL), [], tmp_path / "study.tar.gz")
    assert archive.read_bytes() == before


def test_damage_to_an_archive_is_told(archive, tmp_path):
    assert checked(archive, tmp_path).returncode == 0
    metrics, seeds = (tmp_path / "study/tables" / name for name in ("metrics.csv", "seeds.csv"))
    metrics.write_bytes(metrics.read_bytes().replace(b"topk", b"best", 1))
    seeds.unlink()
    told = sha256sum(tmp_path / "study")
    assert told.returncode == 1
    assert re.findall(r"^(\S+): FAILED", told.stdout, re.MULTILINE) == [
        "tables/metrics.csv",
        "tables/seeds.csv",
    ]


def test_archive_needs_a_finished_run(finished, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"tables.*finish the run"):
        write_archive(complete_config(SMALL), [], tmp_path / "a.tar.gz")
    assert not (tmp_path / "a.tar.gz").exists()


# Commands, on the real thing.


def test_status_says_what_is_there_what_is_missing_and_why(checkout, config):
    told = checkout.command("status", checkout.config.name)
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[-1] == "everything is there and up to date"
    (checkout.folder / "results" / "small" / DICTIONARY / "codes.parquet").unlink()
    config["scores"]["null_draws"] += 1
    checkout.write(config)
    told = checkout.command("status", checkout.config.name)
    stages = {line.split()[0]: line.split() for line in told.stdout.splitlines()}
    # Six dictionaries, one of which must be encoded again and all scored.
    assert stages["encode"][1:3] == ["6", "5"]
    assert "missing (1)" in " ".join(stages["encode"])
    assert stages["score_dictionary"][1:3] == ["6", "0"]
    assert "params changed" in " ".join(stages["score_dictionary"])
    assert stages["train_sae"][1:3] == ["6", "6"]
    assert "job-hours left" in told.stdout


def test_watched_status_ends_when_all_is_there(checkout):
    (checkout.folder / "results" / "small" / "tables" / "skipped_images.csv").unlink()
    command = [Path(sys.executable).with_name("cladescope"), "status", "--watch", "0.1"]
    with subprocess.Popen(
        [*command, checkout.config.name], cwd=checkout.folder, stdout=subprocess.PIPE, text=True
    ) as watching:
        lines = iter(watching.stdout.readline, "")
        assert any("missing (1)" in line for line in lines)
        assert any("missing (1)" in line for line in lines), "it is shown again"
        assert checkout.run().returncode == 0
        assert [*lines][-1] == "everything is there and up to date\n"
    assert watching.returncode == 0


def test_status_counts_jobs_that_never_ran_and_shows_those_that_run(checkout, config):
    config["results"] = "results/none"
    # Several outputs of a job, and jobs of several dictionaries, are one job each.
    config["experiments"]["trained"]["sweep"]["dictionaries_per_job"] = 2
    config |= {"ablation": {}, "uses": {"dictionaries": ["*/topk/*"]}, "atlas": {}}
    checkout.write(config)
    planned = checkout.planned()
    # Jobs that have begun, have failed, and are of an earlier run whose files are gone.
    logs = checkout.folder / "results" / "none" / "logs"
    ends = {"train": "shard 1 of 2", "eval": FAILED}
    for split, end in ends.items():
        log = logs / "extract_activations" / f"trained_{split}_0.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"on a machine\n{end}\n")
    (logs / "index_images").mkdir()
    (logs / "index_images" / "planted_train.log").write_text(f"on a machine\n{DONE}\n")
    told = checkout.command("status", checkout.config.name)
    assert told.returncode == 0, told.stderr
    counts = {}
    for line in told.stdout.splitlines()[1:]:
        if re.match(r"[a-z_]+(\s+\d+){5}", line):
            stage, *numbers = line.split()[:6]
            counts[stage] = [int(number) for number in numbers]
    expected = Counter()
    for rule, count in planned.items():
        expected[re.sub(r"_trained_\w+$", "", rule)] += count
    assert {stage: jobs for stage, (jobs, *_) in counts.items()} == expected
    # Jobs, done, begun, failed, left.
    assert counts["extract_activations"] == [2, 0, 1, 1, 0]
    assert counts["index_images"] == [2, 0, 0, 0, 2]
    assert counts["train_sae"] == [4, 0, 0, 0, 4]
    # Two dictionaries of either layer, a job for them.
    assert counts["measure_uses"] == [2, 0, 0, 0, 2]


def test_costs_add_up_what_snakemake_measured(finished):
    results = finished.folder / "results" / "small"
    costs = pd.read_csv(results / "tables" / "costs.csv").set_index("stage")
    measured = [
        pd.read_csv(file, sep="\t") for file in (results / "benchmarks" / "train_sae").iterdir()
    ]
    assert costs.loc["train_sae", "jobs"] == len(measured) == 6
    seconds = sum(table["s"].item() for table in measured)
    assert costs.loc["train_sae", "wall_hours"] == pytest.approx(seconds / 3600, abs=1e-6)
    on_gpu = costs["trained_on"].str.contains("GPU ").all()
    assert (costs.loc["train_sae", "gpu_hours"] > 0) == on_gpu
    assert {"extract_activations", "encode", "score_dictionary", "tabulate"} < {*costs.index}


def test_archive_of_what_is_no_result_is_refused(checkout, config, root, tmp_path):
    packed = tmp_path / "study.tar.gz"
    shutil.copytree(root / "docs", checkout.folder / "docs", dirs_exist_ok=True)

    def archive():
        return checkout.command("archive", "small.yaml", str(packed))

    done = archive()
    assert done.returncode == 0, done.stderr
    packed.unlink()
    checkout.write({**config, "scores": {**config["scores"], "top_n": 6}})
    done = archive()
    assert done.returncode == 2
    assert "not finished, or made with another configuration" in done.stderr
    assert "score_dictionary" in done.stderr and not packed.exists()
    checkout.write(config)
    results = checkout.folder / "results" / "small"
    # On which nothing depends, so that Snakemake does not see it.
    costs = results / "tables" / "costs.csv"
    content = costs.read_bytes()
    costs.write_bytes(content[:-2] + b"9\n")
    done = archive()
    assert done.returncode == 2
    assert "costs.csv is not what was sealed" in done.stderr and not packed.exists()
    costs.write_bytes(content)
    (results / "tables" / "probes.csv").unlink()
    done = archive()
    assert done.returncode == 2 and "tabulate_probes" in done.stderr
