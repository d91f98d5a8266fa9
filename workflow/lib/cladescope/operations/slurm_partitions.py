"""What jobs ask of Slurm's partitions, compared with what these permit, before any is submitted."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any, NamedTuple


class Request(NamedTuple):
    """What the first attempt of a rule's jobs requests."""

    rule: str
    partition: str | None
    minutes: int | None


def requests_of(workflow: Any) -> list[Request]:
    """Return what Snakemake is about to request of Slurm; empty if jobs run elsewhere.

    Of a rule's jobs the first stands for all: they differ by attempt and input at most.
    """
    plugin = workflow.executor_plugin
    if plugin is None or plugin.name != "slurm":
        return []
    first: dict[str, Any] = {}
    for job in workflow.dag.needrun_jobs():
        if not job.is_local:
            first.setdefault(job.rule.name, job)
    return [
        Request(rule, job.resources.get("slurm_partition"), job.resources.get("runtime"))
        for rule, job in first.items()
    ]


def check_partitions(requests: Iterable[Request]) -> None:
    """Compare requests with the cluster's partitions.

    Slurm would refuse such a job or, by default, let it wait in the queue for ever.

    Raises
    ------
    ValueError
        Lists every rule whose partition does not exist, is not up, or ends jobs before their time.
    """
    if not (partitions := _partitions()):
        return
    faults = []
    for request in requests:
        # Slurm takes the first of several that it can.
        named = request.partition.split(",") if request.partition else []
        reasons = [_reason(name, request.minutes, partitions) for name in named]
        if named and all(reasons):
            faults.append(f"{request.rule}: {'; '.join(map(str, reasons))}")
    if faults:
        raise ValueError(
            "the profile asks for what Slurm does not grant; correct slurm_partition or runtime "
            "there:\n" + "\n".join(f"  - {fault}" for fault in faults)
        )


def _reason(name: str, minutes: int | None, partitions: dict[str, dict[str, str]]) -> str | None:
    """Return why a job of some minutes cannot run in a partition, or None if it can."""
    if name not in partitions:
        return f"there is no partition {name}, but {', '.join(sorted(partitions))}"
    if (state := partitions[name]["State"]) != "UP":
        return f"partition {name} is {state}"
    limit = _minutes(partitions[name]["MaxTime"])
    if minutes and limit is not None and minutes > limit:
        return f"partition {name} ends jobs after {limit} minutes, runtime is {minutes}"
    return None


def _partitions() -> dict[str, dict[str, str]]:
    """Return the fields of each partition; none if Slurm does not say."""
    if shutil.which("scontrol") is None:
        return {}
    result = subprocess.run(
        ["scontrol", "show", "partition", "--oneliner"], capture_output=True, text=True, check=False
    )
    if result.returncode:
        return {}
    listed = (dict(re.findall(r"(\w+)=(\S*)", line)) for line in result.stdout.splitlines())
    return {fields["PartitionName"]: fields for fields in listed if "PartitionName" in fields}


def _minutes(limit: str) -> int | None:
    """Return what Slurm's `days-hours:minutes:seconds` is in minutes; None for no limit."""
    if not (found := re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", limit)):
        return None
    days, hours, minutes, _ = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + minutes
