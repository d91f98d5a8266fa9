"""What is recorded of the machine, and what is known of its processor."""

import multiprocessing
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import torch

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


@pytest.fixture
def gpus(monkeypatch, tmp_path):
    """Four GPUs of which CUDA_VISIBLE_DEVICES leaves the last two; for torch only, and faked."""
    names = ["GPU-c", "GPU-d"]
    chosen = []
    monkeypatch.setattr(machines, "has_gpu", lambda: True)
    monkeypatch.setattr(machines, "GPU_POLL_SECONDS", 0.01)
    monkeypatch.setattr(machines.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid=names[number])
    )
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    return names, chosen


def hold_gpu(queue, release):
    with machines.own_device() as device:
        queue.put(device.index)
        release.wait(30)


def test_jobs_take_a_gpu_each_and_wait_for_one(gpus):
    names, chosen = gpus
    context = multiprocessing.get_context("fork")
    queue, release, never = context.Queue(), context.Event(), context.Event()
    first = context.Process(target=hold_gpu, args=(queue, never))
    first.start()
    assert queue.get(timeout=30) == 0
    second = context.Process(target=hold_gpu, args=(queue, release))
    second.start()
    assert queue.get(timeout=30) == 1
    third = context.Process(target=hold_gpu, args=(queue, release))
    third.start()
    third.join(0.3)
    assert third.is_alive() and queue.empty(), "both are taken"
    first.kill()
    assert queue.get(timeout=30) == 0, "a killed job has none"
    # The same GPU, under the number that it has for a job that sees only this one.
    names[:] = ["GPU-b", "GPU-d"]
    with machines.own_device() as device:
        assert device == torch.device("cuda", 0)
    assert chosen == [0]
    release.set()
    for process in (first, second, third):
        process.join(30)


def test_without_a_gpu_nothing_is_taken(monkeypatch, tmp_path):
    monkeypatch.setattr(machines, "has_gpu", lambda: False)
    monkeypatch.setattr(machines.tempfile, "gettempdir", lambda: str(tmp_path))
    with ExitStack() as jobs:
        devices = {jobs.enter_context(machines.own_device()) for _ in range(2)}
    assert devices == {torch.device("cpu")}
    assert not list(tmp_path.iterdir())
