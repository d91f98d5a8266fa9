"""The examples in the docstrings of the metrics."""

import doctest
import importlib
import pkgutil

import pytest

from cladescope import scores

# What is no metric has no example.
WITHOUT = {
    "by_size",
    "matched",
    "pairs",
    "passes",
    "schemas",
    "score",
    "sensitivity",
    "spec",
    "tables",
    "probes",
    "recurrence",
}
MODULES = sorted(module.name for module in pkgutil.iter_modules(scores.__path__))


@pytest.mark.parametrize(
    "module",
    ["codes.given", "codes.linear", "codes.ranking", *(f"scores.{name}" for name in MODULES)],
)
def test_examples_of(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"cladescope.{module}"))
    assert found.failed == 0
    assert (found.attempted == 0) == (module.split(".")[1] in WITHOUT)
