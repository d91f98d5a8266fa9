"""What a job runs on: results are the same to the last bit on the same hardware only."""

import fcntl
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import torch

GPU = "GPU"
DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/kfd"))
"""One of these is there where torch can find a GPU, of NVIDIA's or AMD's."""
GPU_POLL_SECONDS = 1
_CPUINFO = Path("/proc/cpuinfo")


def has_gpu() -> bool:
    """Say whether torch can compute on a GPU; without a driver torch is not imported to ask."""
    if not any(driver.exists() for driver in DRIVERS):
        return False
    import torch

    return torch.cuda.is_available()


def torch_device() -> "torch.device":
    """Return what torch computes on: the GPU, if there is one, else the processor."""
    import torch

    return torch.device("cuda" if has_gpu() else "cpu")


@contextmanager
def own_device() -> Iterator["torch.device"]:
    """Yield what torch computes on; among several GPUs, one that no other job has.

    Of those that CUDA_VISIBLE_DEVICES leaves, which under Slurm is the one that the job was given.
    Waits while other jobs of this user, which take theirs in the same way, have them all.
    """
    import torch

    if not has_gpu():
        yield torch.device("cpu")
        return
    # Numbers depend on CUDA_VISIBLE_DEVICES, names do not.
    names = [
        str(torch.cuda.get_device_properties(number).uuid)
        for number in range(torch.cuda.device_count())
    ]
    while True:
        for number, name in enumerate(names):
            if lock := _lock_gpu(name):
                with lock:
                    torch.cuda.set_device(number)
                    yield torch.device("cuda", number)
                return
        time.sleep(GPU_POLL_SECONDS)


def _lock_gpu(name: str) -> IO[str] | None:
    """Return an open file that holds a GPU until it is closed; None if another process has it."""
    path = Path(tempfile.gettempdir()) / f"cladescope-{os.getuid()}-{name}.lock"
    file = path.open("w")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


@contextmanager
def own_gpu() -> Iterator[None]:
    """Hold a GPU that no other job has, where there is one; else torch is not even imported."""
    if has_gpu():
        with own_device():
            yield
    else:
        yield


def check_compiler() -> None:
    """Refuse to go on where Triton finds no C compiler, which it needs to reach the GPU's driver.

    Raises
    ------
    ValueError
        Says what to do.
    """
    if not any(map(shutil.which, (os.getenv("CC", "cc"), "gcc", "clang"))):
        raise ValueError(
            "training on a GPU needs a C compiler on this node (gcc or clang, for Triton); load "
            "the cluster's module for one in the profile's `precommand`, or set CC"
        )


def free_memory(device: "torch.device") -> int:
    """Return the bytes of a GPU that are free, for torch at least, which keeps what it had."""
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def make_deterministic() -> None:
    """Have torch's algorithms on a GPU give the same bits every time; call it before they run.

    Where torch has no such algorithm for an operation, the job's log says so and it goes on.
    On the processor they are as good as on: what is used here is deterministic, and switching
    would import torch's compiler, which takes seconds.
    """
    if not has_gpu():
        return
    import torch

    # Without it cuBLAS may add in another order, and torch refuses to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Memory is written before it is read here; torch would fill it with NaN first.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def fast_in_bfloat16() -> bool:
    """Say whether the processor has AMX, with which it multiplies bfloat16 several times as fast.

    Known on Linux only. The older instructions for bfloat16 are no faster than float32.
    """
    return _CPUINFO.is_file() and "amx_bf16" in _CPUINFO.read_text()


def machine(threads: int, gpu: bool = False) -> str:
    """Name the GPU, where the work was done there, or else the processor, and the threads.

    For example `GPU NVIDIA H200, 4 threads` or `CPU Intel(R) Xeon(R) Processor with AMX, 2
    threads`: virtual machines call all processors by such a name, and training rounds otherwise
    with AMX.
    """
    if gpu:
        import torch

        name = f"{GPU} {torch.cuda.get_device_name()}"
    else:
        name = f"CPU {_processor()}{' with AMX' if fast_in_bfloat16() else ''}"
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"


def _processor() -> str:
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()
