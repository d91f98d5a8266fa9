"""What a job ran on: results are the same to the last bit on the same hardware only."""

import platform
import sys
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def machine(threads: int) -> str:
    """Name the GPU that this process has used, or else the processor, and the number of threads.

    For example `NVIDIA H200, 4 threads`. Call it after the work: a GPU counts once torch has
    started to use it.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        name = torch.cuda.get_device_name()
    else:
        name = _processor()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"


def _processor() -> str:
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()
