"""What the rules need of Snakemake that it does not offer; written for Snakemake 9.27.

The test suite fails here first after an upgrade.
"""

from collections.abc import Callable
from typing import Any


def has_module_prefix(workflow: Any) -> bool:
    """Say whether the workflow is used as a module whose paths Snakemake would change."""
    modifier = workflow.modifier.path_modifier
    return bool(modifier.prefix or modifier.modifies_prefixes)


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


def is_forced(arguments: list[str]) -> bool:
    """Say whether Snakemake was told to make everything again."""
    return bool({"--forceall", "-F"} & {*arguments})
