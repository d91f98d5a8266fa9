"""The examples in the docstrings of the metrics."""

import doctest
import importlib
import pkgutil

import pytest

from cladescope import scores

# What is no metric has no example.
WITHOUT = {"halves", "score", "sensitivity", "spec", "tables"}
MODULES = sorted(module.name for module in pkgutil.iter_modules(scores.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"cladescope.scores.{name}"))
    assert found.failed == 0
    assert (found.attempted == 0) == (name in WITHOUT)
