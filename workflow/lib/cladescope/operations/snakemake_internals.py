"""What the rules need of Snakemake that it does not offer; written for Snakemake 9.27.

The test suite fails here first after an upgrade.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snakemake.io import IOFile, flag, get_flag_value, is_flagged
from snakemake.iocontainers import Wildcards
from snakemake.persistence import MetadataRecord, PersistenceBase

PART = "part_of"
JOINED_F = re.compile("-[A-Za-z]*F[A-Za-z]*")
"""`-F`, also among other options of one letter."""


def has_module_prefix(workflow: Any) -> bool:
    """Say whether the workflow is used as a module whose paths Snakemake would change."""
    modifier = workflow.modifier.path_modifier
    return bool(modifier.prefix or modifier.modifies_prefixes)


def check_storage(workflow: Any) -> None:
    """Refuse a storage that Snakemake copies files to and from by what rules name.

    Raises
    ------
    ValueError
        Says what would be missing there.
    """
    if provider := workflow.storage_settings.default_storage_provider:
        raise ValueError(
            f"--default-storage-provider {provider}: jobs read and write more than their rules "
            "name (arrays beside manifests, seals, folders of images), which would not be there; "
            "keep everything on a file system (docs/elsewhere.md)"
        )


def threads_of(workflow: Any, rule: str) -> int:
    """Return what `--set-threads` says of a rule, for rules whose generated names begin so."""
    return workflow.resource_settings.overwrite_threads.get(rule, 1)


def resources_of(workflow: Any, rule: str) -> dict[str, Callable[..., Any]]:
    """Return what a profile's `set-resources` says of a rule, for generated rules likewise."""

    def evaluated(resource: Any) -> Callable[..., Any]:
        def value(wildcards: Any, input: Any, attempt: int, threads: int) -> Any:
            result = resource.evaluate(
                wildcards,
                input=input,
                attempt=attempt,
                threads=threads,
                rulename=rule,
                async_run=workflow.async_run,
            )
            return result.value

        return value

    chosen = workflow.resource_settings.overwrite_resources.get(rule, {})
    return {key: evaluated(resource) for key, resource in chosen.items()}


def is_forced(workflow: Any) -> bool:
    """Say whether Snakemake was told to make everything again, by the command or a profile.

    While rules are read only the command is known.
    """
    if workflow.dag_settings:
        return bool(workflow.dag_settings.forceall)
    return any(said == "--forceall" or JOINED_F.fullmatch(said) for said in sys.argv[1:])


def part_of(whole: str, path: str) -> str:
    """Mark a temporary file as part of what is made from it, in however many parts.

    Snakemake then plans the same for any number of parts: it records no part as an input of the
    whole, and what it knows of the whole holds for a part that is gone.
    """
    return flag(path, PART, whole)


_inputs, _record = PersistenceBase._input, PersistenceBase.metadata


def _inputs_without_parts(self: PersistenceBase, job: Any) -> list[str]:
    parts = {str(path) for path in job.input if is_flagged(path, PART)}
    return [path for path in _inputs(self, job) if str(path) not in parts]


def _record_of_whole(self: PersistenceBase, path: Any) -> MetadataRecord | None:
    whole = get_flag_value(path, PART)
    gone = whole is not None and not Path(path).exists()
    return _record(self, IOFile(whole, rule=path.rule) if gone else path)


PersistenceBase._input, PersistenceBase.metadata = _inputs_without_parts, _record_of_whole


_log = PersistenceBase.log


def _log_of_job(self: PersistenceBase, path: Any) -> list[str]:
    """Return the log of the job that makes a file, also where it was never made.

    Snakemake's summary names no other thing by which the files of a job can be told.
    """
    wildcards = Wildcards(fromdict=path.rule.get_wildcards(path))
    return _log(self, path) or [str(log) for log in path.rule.expand_log(wildcards)]


PersistenceBase.log = _log_of_job
