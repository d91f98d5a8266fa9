"""What the profile asks of partitions. scontrol is a script; the real one is in tests/slurm."""

import pytest

from cladescope.operations.slurm_partitions import Request, check_partitions

SHOWN = """\
PartitionName=cpu AllowGroups=ALL MaxTime=UNLIMITED State=UP TotalNodes=2
PartitionName=gpu AllowGroups=ALL MaxTime=1-02:30:00 State=UP TotalNodes=2
PartitionName=short AllowGroups=ALL MaxTime=00:30:00 State=UP TotalNodes=1
PartitionName=old AllowGroups=ALL MaxTime=UNLIMITED State=DRAIN TotalNodes=1
"""
HOURS = 60


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """Put an scontrol on the path that prints partitions."""
    (tmp_path / "shown").write_text(SHOWN)
    script = tmp_path / "scontrol"
    script.write_text(f"#!/bin/sh\ncat {tmp_path}/shown\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return script


def test_every_rule_that_cannot_run_is_listed(scontrol):
    requests = [
        Request("index_images", "cpu", 10_000 * HOURS),
        Request("train_sae", "gpu", 27 * HOURS),
        Request("extract", "gpu", 26 * HOURS),
        Request("encode", "short", 31),
        Request("tabulate", "short", 30),
        Request("plot", "none", None),
        Request("map", "old", 1),
        Request("score", None, 10_000 * HOURS),
    ]
    with pytest.raises(ValueError, match="the profile asks for") as raised:
        check_partitions(requests)
    # 1-02:30:00 is a day and two and a half hours, 1590 minutes.
    assert str(raised.value).splitlines()[1:] == [
        "  - train_sae: partition gpu ends jobs after 1590 minutes, runtime is 1620",
        "  - encode: partition short ends jobs after 30 minutes, runtime is 31",
        "  - plot: there is no partition none, but cpu, gpu, old, short",
        "  - map: partition old is DRAIN",
    ]


def test_one_of_several_partitions_is_enough(scontrol):
    check_partitions([Request("encode", "short,gpu", 60)])
    with pytest.raises(ValueError, match=r"short ends .*; partition gpu ends"):
        check_partitions([Request("encode", "short,gpu", 2000)])


def test_a_slurm_that_does_not_say_stops_nothing(scontrol):
    scontrol.write_text("#!/bin/sh\nexit 1\n")
    check_partitions([Request("encode", "none", 60)])
