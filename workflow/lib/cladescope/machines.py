"""What a job ran on: results are the same to the last bit on the same hardware only."""

import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

GPU = "GPU"
_CPUINFO = Path("/proc/cpuinfo")


def choose_device() -> "torch.device":
    """Return the GPU, with torch's deterministic algorithms switched on, or the processor.

    Where torch has none for an operation, the job's log says so and it goes on.
    On the processor they are as good as on: what is used here is deterministic, and switching
    would import torch's compiler, which takes seconds.
    """
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    # Without it cuBLAS may add in another order, and torch refuses to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    return torch.device("cuda")


def fast_in_bfloat16() -> bool:
    """Say whether the processor has AMX, with which it multiplies bfloat16 several times as fast.

    Known on Linux only. The older instructions for bfloat16 are no faster than float32.
    """
    return _CPUINFO.is_file() and "amx_bf16" in _CPUINFO.read_text()


def machine(threads: int) -> str:
    """Name the GPU that this process has used, or else the processor, and the number of threads.

    For example `GPU NVIDIA H200, 4 threads` or `CPU Intel(R) Xeon(R) Processor with AMX, 2
    threads`: virtual machines call all processors by such a name, and training rounds otherwise
    with AMX. Call it after the work: a GPU counts once torch has started to use it.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
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
