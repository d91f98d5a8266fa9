"""What is recorded of the machine, and what is known of its processor."""

import pytest

from cladescope import machines

CPUINFO = "processor\t: 0\nmodel name\t: Some  Processor @ 2 GHz\nflags\t\t: fpu {}\n"


@pytest.mark.parametrize(
    ("flags", "fast", "name"),
    [
        ("avx512_bf16 amx_bf16 amx_tile", True, "CPU Some Processor @ 2 GHz with AMX, 2 threads"),
        ("avx512_bf16", False, "CPU Some Processor @ 2 GHz, 2 threads"),
    ],
)
def test_a_processor_is_named_with_what_rounds_otherwise(monkeypatch, tmp_path, flags, fast, name):
    monkeypatch.setattr(machines, "_CPUINFO", tmp_path / "cpuinfo")
    machines._CPUINFO.write_text(CPUINFO.format(flags))
    assert machines.fast_in_bfloat16() is fast
    assert machines.machine(2) == name


def test_elsewhere_nothing_is_known_of_bfloat16(monkeypatch, tmp_path):
    monkeypatch.setattr(machines, "_CPUINFO", tmp_path / "absent")
    assert not machines.fast_in_bfloat16()
    assert machines.machine(1).endswith(", 1 thread")


def test_a_processor_without_a_name_is_called_by_its_architecture(monkeypatch, tmp_path):
    """As Linux describes those of Arm."""
    monkeypatch.setattr(machines, "_CPUINFO", tmp_path / "cpuinfo")
    machines._CPUINFO.write_text("processor\t: 0\nFeatures\t: fp asimd bf16\nCPU part\t: 0xd4f\n")
    monkeypatch.setattr(machines.platform, "processor", lambda: "")
    monkeypatch.setattr(machines.platform, "machine", lambda: "aarch64")
    assert not machines.fast_in_bfloat16()
    assert machines.machine(2) == "CPU aarch64, 2 threads"
