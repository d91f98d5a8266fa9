"""Fixtures that several test files share."""

import copy
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture
def default_config() -> dict:
    """A copy of the embedded configuration, free to be changed."""
    return copy.deepcopy(yaml.safe_load((ROOT / "config" / "config.yaml").read_text()))
