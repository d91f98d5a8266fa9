"""What each stage cost, from the measurements that Snakemake takes of every job."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cladescope.machines import GPU
from cladescope.provenance.record import combine, read_records
from cladescope.summary.tables import write_csv

STAGES = {
    "extract_activations": "extracted_on",
    "extract_shards": "extracted_on",
    "train_sae": "trained_on",
    "encode": "encoded_on",
    "score_dictionary": "scored_on",
}
"""The column that says which machines a stage's jobs ran on."""


def tabulate_costs(benchmarks: str | Path, records: Sequence[str], path: str | Path) -> None:
    """Write one row per stage: its jobs and what they took.

    docs/reproducibility.md has the columns.

    Parameters
    ----------
    benchmarks
        Folder with one TSV file per job (Snakemake's `benchmark`), in a folder for each stage that
        has several. A job that ran again replaced its file: failed attempts are not counted.
    records
        The experiments' `provenance.json`.
    path
        CSV; unlike every other table it differs from run to run.
    """
    made = read_records(records)
    jobs: dict[str, list[pd.DataFrame]] = {}
    for file in sorted(Path(benchmarks).rglob("*.tsv")):
        stage = file.relative_to(benchmarks).with_suffix("").parts[0]
        jobs.setdefault(stage, []).append(pd.read_csv(file, sep="\t", na_values="-"))
    rows = []
    for stage, parts in jobs.items():
        measured = pd.concat(parts)
        hours = measured["s"].sum() / 3600
        machines = made[STAGES[stage]].dropna() if stage in STAGES else pd.Series(dtype=str)
        rows.append(
            {
                "stage": stage,
                "jobs": len(measured),
                "wall_hours": hours,
                "cpu_hours": measured["cpu_time"].sum() / 3600,
                "gpu_hours": hours if machines.str.contains(f"{GPU} ").any() else 0.0,
                "longest_job_s": measured["s"].max(),
                "max_rss_mb": measured["max_rss"].max(),
                **combine(made),
            }
        )
    write_csv([pd.DataFrame(rows).round(6)], path)
