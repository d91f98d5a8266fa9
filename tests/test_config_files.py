"""Files that are no configuration: each is refused by name, before YAML or Snakemake reads it."""

import copy

import pytest
import yaml

from checkouts import SMALL
from cladescope.config import ConfigError, check_keys, complete_config


def test_a_key_given_twice_is_named_with_its_lines(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("results: a\nscores:\n  top_n: 8\n  tau: 0.9\n  top_n: 16\n")
    with pytest.raises(ConfigError, match=r"my.yaml: top_n is given twice, in lines 3 and 5"):
        check_keys(path)
    path.write_text("a: &x {top_n: 1}\nb: {<<: *x, tau: 2}\nc: [{d: 1}, {d: 2}]\n")
    check_keys(path)


@pytest.mark.parametrize(
    ("content", "said"), [(b"a: \xe9\n", "is not UTF-8"), (b"a: [1\n", "is no YAML")]
)
def test_a_file_that_is_no_configuration_is_named(tmp_path, content, said):
    path = tmp_path / "my.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"my.yaml {said}"):
        check_keys(path)


def test_a_configuration_that_is_a_template_is_refused(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("__use_yte__: true\nresults: ?'a'\n")
    with pytest.raises(ConfigError, match=r"my.yaml: __use_yte__ runs code"):
        check_keys(path)


BOMB = "\n".join(
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)),
    ]
)
DEEP = "a: " + "[" * 5000 + "]" * 5000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (BOMB, "its aliases stand for more than 100000 keys"),
        ("results: &r [*r]\n", "its aliases stand for more than 100000 keys"),
        ("results: &r {scores: *r}\n", "its aliases stand for more than 100000 keys"),
        (DEEP, "is no YAML: maximum recursion depth"),
    ],
)
def test_what_would_not_end_is_refused(tmp_path, content, said):
    path = tmp_path / "my.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=f"my.yaml:? {said}"):
        check_keys(path)


def test_aliases_that_are_used_a_few_times_are_read(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("a: &a [1, 2]\nb: [*a, *a]\nc: {d: *a}\n")
    check_keys(path)
    assert yaml.safe_load(path.read_text())["b"] == [[1, 2], [1, 2]]


def test_what_is_missing_is_said_once():
    config = {"training": copy.deepcopy(SMALL["training"])}
    with pytest.raises(ConfigError) as raised:
        complete_config(config)
    missing = "  - the configuration: missing results, datasets, experiments; add it"
    assert str(raised.value).splitlines() == ["the configuration has a fault:", missing]
