"""Records that are lost, folders that were copied in part, clocks: docs/bad_days.md.

Killed jobs are in test_faults.py, full disks in test_bad_input.py and below.
"""

import os
import shutil
import time
from pathlib import Path

import pytest

from checkouts import SMALL, SUMMARY, Checkout, edit
from disks import needs_root, small_disk

TOPK = "trained/dictionaries/cls/L8/topk"


@pytest.fixture
def copy(finished, tmp_path) -> Checkout:
    """A copy of the finished checkout, free to be damaged."""
    folder = tmp_path / "checkout"
    shutil.copytree(finished.folder, folder, symlinks=True)
    return Checkout(folder)


def outcome(checkout, *arguments):
    result = checkout.run(*arguments)
    return result.returncode, result.stdout + result.stderr


def test_results_without_records_are_refused_until_accepted(copy):
    shutil.rmtree(copy.folder / ".snakemake")
    code, printed = outcome(copy, "-n")
    assert code != 0
    assert "no record of results/small" in printed and "--touch --forceall" in printed
    code, printed = outcome(copy, "--touch", "--forceall")
    assert code == 0, printed
    assert copy.planned() == {}
    copy.write(edit(SMALL, {"scores.top_n": 6}))
    assert copy.planned() == {"score_dictionary": 6} | SUMMARY


def test_checkout_copied_with_results_and_records_reruns_nothing(copy):
    assert copy.planned() == {}


def test_results_under_another_name_are_refused(copy):
    (copy.folder / "results" / "small").rename(copy.folder / "results" / "renamed")
    copy.write(edit(SMALL, {"results": "results/renamed"}))
    code, printed = outcome(copy, "-n")
    assert code != 0
    assert "no record of results/renamed" in printed


def test_half_copied_results_are_completed(copy):
    results = copy.folder / "results" / "small"
    shutil.rmtree(results / TOPK / "w48_k2_s0")
    for path in (results / "tables", results / "figures"):
        shutil.rmtree(path)
    planned = copy.planned()
    assert planned["train_sae"] == planned["encode"] == planned["score_dictionary"] == 1
    assert not {"probe_layer", *(rule for rule in planned if "extract" in rule)} & {*planned}


@pytest.mark.parametrize(
    ("name", "rule", "target"),
    [
        (f"{TOPK}/w48_k2_s0/sae.safetensors", "encode", f"{TOPK}/w48_k2_s0/codes.parquet"),
        (f"{TOPK}/w48_k2_s0/codes.parquet", "score_dictionary", f"{TOPK}/w48_k2_s0/scores.json"),
        (f"{TOPK}/w48_k2_s0/latents.parquet", "tabulate", "tables/metrics.csv"),
    ],
)
def test_truncated_file_is_named(copy, name, rule, target):
    path = copy.folder / "results" / "small" / name
    os.truncate(path, path.stat().st_size // 2)
    code, printed = outcome(copy, "--forcerun", rule, "--", f"results/small/{target}")
    assert code != 0
    assert f"{name} is not what was sealed" in printed and "delete results" in printed


def test_what_slurm_says_of_memory_stands_at_the_end(copy):
    """The log is what Slurm would have written of the job; the real one is in tests/slurm."""
    log = copy.folder / ".snakemake" / "slurm_logs" / "rule_score" / "7.log"
    log.parent.mkdir(parents=True)
    log.write_text("slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch.\n")
    later = time.time() + 3600
    os.utime(log, (later, later))
    codes = copy.folder / "results" / "small" / TOPK / "w48_k2_s0" / "codes.parquet"
    os.truncate(codes, 10)
    target = str(codes.with_name("scores.json").relative_to(copy.folder))
    code, printed = outcome(copy, "--forcerun", "score_dictionary", "--", target)
    assert code != 0
    assert "rule_score: out of memory" in printed and "raise its mem_mb in the profile" in printed


def test_clock_that_was_ahead(copy):
    """What takes days is refused at once; what takes seconds, by Snakemake when it has run."""
    results = copy.folder / "results" / "small"
    manifest = results / "trained/activations/train/cls/L8.json"
    metrics, trends = results / "tables" / "metrics.csv", results / "tables" / "trends.csv"
    tomorrow = time.time() + 86400
    for path in (manifest, metrics):
        os.utime(path, (tomorrow, tomorrow))
    code, printed = outcome(copy, "-n")
    assert code != 0
    assert f"touch {manifest.relative_to(copy.folder)} (nothing" in printed
    os.utime(manifest)
    assert copy.planned() == {}
    before = trends.read_bytes()
    rule = "tabulate_trends"
    code, printed = outcome(copy, "--forcerun", rule, "--until", rule)
    assert code != 0
    assert "clock skew" in printed
    assert not trends.exists()
    os.utime(metrics)
    code, printed = outcome(copy, "--until", rule)
    assert code == 0, printed
    assert trends.read_bytes() == before


def test_read_only_results(copy):
    results = copy.folder / "results" / "small"
    before = (results / "tables" / "trends.csv").read_bytes()
    copy.write(edit(SMALL, {"scores.fdr": 0.1}))
    folders = [path for path in (results, *results.rglob("*")) if path.is_dir()]
    for path in folders:
        path.chmod(0o555)
    # Permissions mean nothing to root, unless it gives that up.
    mortal = ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override")
    try:
        result = copy.run("--until", "tabulate_trends", prefix=mortal if os.geteuid() == 0 else ())
    finally:
        for path in folders:
            path.chmod(0o755)
    assert result.returncode != 0
    assert "Permission denied" in result.stdout + result.stderr
    assert "make the folder writable" in result.stdout + result.stderr
    assert (results / "tables" / "trends.csv").read_bytes() == before


@needs_root
def test_full_disk_at_every_stage_after_extraction(copy):
    """Training, encoding, scoring and the tables in turn; each goes on once there is room."""
    folder = copy.folder / "results/small" / TOPK / "w48_k4_s0"
    tables = copy.folder / "results/small/tables"
    scores, metrics = (
        str(path.relative_to(copy.folder))
        for path in (folder / "scores.json", tables / "metrics.csv")
    )
    expected, expected_tables = contents(folder), contents(tables)

    def fails(target, full):
        code, printed = outcome(copy, "--", target)
        assert code != 0
        assert f"No space left on device: '{Path(target).parent}/{full}" in printed
        assert "free some space and start again" in printed
        assert not list(Path(copy.folder, target).parent.glob(".*.partial"))

    with small_disk(folder) as room_for, small_disk(tables) as room_for_tables:
        for size, full, left in (
            ("32k", "sae.safetensors", 0),
            ("72k", "codes.parquet", 3),
            ("138k", "nodes.parquet", 5),
        ):
            room_for(size)
            fails(scores, full)
            assert len(contents(folder)) == left
            assert contents(folder).items() <= expected.items()
        room_for("50m")
        room_for_tables("60k")
        fails(metrics, "")
        assert contents(folder) == expected
        assert contents(tables) == {}
        room_for_tables("50m")
        code, printed = outcome(copy, "--", metrics)
        assert code == 0, printed
        assert contents(tables)["metrics.csv"] == expected_tables["metrics.csv"]
        assert contents(tables).items() <= expected_tables.items()


def contents(folder):
    """The files of a dictionary, without what training keeps for a restart."""
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*")}
