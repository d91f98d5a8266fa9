"""Random configurations, and random faults in random files of a finished run.

A configuration is used or refused with its key. After a fault the tables are made with equal bytes
or the file is named; what is left damaged, `verify` names. Few examples, always the same, in the
tests; `make fuzz` tries many others.
"""

import copy
import random
import re
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from checkouts import SMALL, results_kept
from cladescope.config import ConfigError, check_keys, complete_config
from cladescope.operations.verify import outputs_of, verify_seals
from cladescope.sweep import expand_passes, expand_sweep

UNUSUAL = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["../x", "a/b", "{x}", "all", "4-2", "1-3", "1e400", "-0", "null", "\x00", "ß"]
    ),
    st.lists(st.integers(-3, 9), max_size=3),
    st.dictionaries(st.sampled_from(["width", "seed", "x"]), st.integers(-1, 3), max_size=2),
)


def places(value, at=()):
    """Every key of nested dictionaries and lists."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in parts:
        yield (*at, key)
        if isinstance(part, dict | list):
            yield from places(part, (*at, key))


@st.composite
def configurations(draw):
    """The small configuration with up to three of its values replaced, removed or added to."""
    config = copy.deepcopy(SMALL)
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from([*places(config)] or [("results",)]))
        section = config
        for key in above:
            section = section[key]
        change = draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "remove" and not isinstance(section, list):
            section.pop(last, None)
        elif change == "add" and isinstance(section, dict):
            section[draw(st.text(min_size=1, max_size=6))] = draw(UNUSUAL)
        else:
            section[last] = draw(UNUSUAL)
    return config


@given(configurations())
def test_a_configuration_is_used_or_refused_by_key(config):
    try:
        completed = complete_config(copy.deepcopy(config))
    except ConfigError as error:
        listed = str(error).splitlines()[1:]
        assert listed
        assert all(re.match(r"  - (the configuration|[^:]+(\.[^:]+)*): ?", line) for line in listed)
        return
    # What is used means the same when it is written out and read again, and can be expanded.
    assert complete_config(copy.deepcopy(completed)) == completed
    assert expand_sweep(completed)
    assert expand_passes(completed)


@given(st.binary(max_size=200), st.integers(0, 2**32))
def test_a_configuration_file_is_read_or_refused_by_name(tmp_path_factory, noise, seed):
    """The file with some of its bytes overwritten, dropped or doubled."""
    content = bytearray(yaml.safe_dump(SMALL).encode())
    draw = random.Random(seed)
    for byte in noise[: draw.randrange(4)]:
        at = draw.randrange(len(content))
        content[at : at + draw.randrange(3)] = bytes([byte]) * draw.randrange(3)
    path = tmp_path_factory.mktemp("fuzz") / "my.yaml"
    path.write_bytes(content)
    if refusal := refused(check_keys, path):
        assert str(path) in refusal
        return
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    if isinstance(loaded, dict) and (refusal := refused(complete_config, loaded)):
        assert "\n  - " in refusal


def refused(check, value) -> str | None:
    try:
        check(value)
    except ConfigError as error:
        return str(error)
    return None


def damage(path: Path, fault: str, seed: int) -> None:
    """Damage a file in place in one of several ways."""
    content = bytearray(path.read_bytes())
    draw = random.Random(seed)
    if fault == "bit" and content:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    elif fault == "cut":
        del content[draw.randrange(len(content) + 1) :]
    elif fault == "zeros":
        content = bytearray(len(content))
    elif fault == "noise":
        content = bytearray(draw.randbytes(len(content)))
    elif fault == "longer":
        content += draw.randbytes(draw.randrange(1, 100))
    replace(path, bytes(content))


def replace(path: Path, content: bytes) -> None:
    """Write a new file: the old one may have another name, too."""
    path.unlink()
    path.write_bytes(content)


@pytest.fixture(scope="module")
def fuzzed(finished, tmp_path_factory):
    """A copy of the finished checkout of its own, and all files in it that are read again."""
    folder = tmp_path_factory.mktemp("fuzzed")
    shutil.copytree(finished.folder, folder, symlinks=True, dirs_exist_ok=True)
    results = folder / "results" / "small"
    files = [path for path in outputs_of(results) if path.is_file()]
    files += sorted(path for path in results.glob("**/*.zarr/**/c/**/*") if path.is_file())
    return type(finished)(folder), [path.relative_to(folder) for path in files]


FAULTS = ("bit", "cut", "zeros", "noise", "longer", "gone", "swapped")
# A dictionary alone would not be made again, as Snakemake has it, while tables of it are there.
TABLE = "tables/metrics.csv"
REMADE = ((TABLE,), ("tables/trends.csv",), (TABLE, "trained/dictionaries/cls/L8/topk/w48_k4_s0"))


# Each example runs the workflow: few, and a failing one is not made smaller.
@settings(max_examples=max(1, settings.default.max_examples // 7), phases=[Phase.generate])
@given(st.data())
def test_after_a_fault_bytes_are_equal_or_the_file_is_named(fuzzed, data):
    checkout, files = fuzzed
    name = data.draw(st.sampled_from(files), "file")
    fault = data.draw(st.sampled_from(FAULTS), "fault")
    gone = data.draw(st.sampled_from(REMADE), "made again")
    victim, results = checkout.folder / name, checkout.folder / "results" / "small"
    with results_kept(checkout.folder):
        before = contents(results)
        whole = victim.read_bytes()
        if fault == "gone":
            victim.unlink()
        elif fault == "swapped":
            like = [n for n in files if n.name == name.name and n != name] or [name]
            other = data.draw(st.sampled_from(like), "copy of")
            replace(victim, (checkout.folder / other).read_bytes())
        else:
            damage(victim, fault, data.draw(st.integers(0, 2**16), "seed"))
        for path in [results / each for each in gone]:
            for file in [path] if path.is_file() else path.glob("*"):
                file.unlink(missing_ok=True)
        result = checkout.run()
        printed = result.stdout + result.stderr
        named = name.name in printed or str(name.parent) in printed
        if result.returncode:
            assert named, printed
        else:
            made = contents(results)
            assert {n: c for n, c in made.items() if n != name} == {
                n: c for n, c in before.items() if n != name
            }
            # What is gone and not needed stays away, as Snakemake has it.
            if victim.exists() and victim.read_bytes() != whole:
                left = verify_seals(results)
                assert named or any(name.name in line for line in left) or _in_store(name), printed


def contents(results: Path) -> dict[Path, bytes]:
    """Tables, scores and weights, but what differs from run to run."""
    patterns = ("tables/*", "trained/dictionaries/**/*")
    paths = [path for pattern in patterns for path in results.glob(pattern) if path.is_file()]
    return {
        path.relative_to(results.parents[1]): path.read_bytes()
        for path in paths
        if path.suffix != ".seal" and path.name != "costs.csv"
    }


def _in_store(name: Path) -> bool:
    return ".zarr" in str(name)
