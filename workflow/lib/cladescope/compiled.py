"""Loops compiled to machine code by numba.

Compiled code is kept beside the module, or in the user's cache folder where that cannot be written.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numba


def compiled(
    function: Callable[..., Any] | None = None, *, fastmath: bool | set[str] = False
) -> Callable[..., Any]:
    """Compile a function at its first call; it runs without the interpreter's lock.

    Use as `@compiled`, which reorders no sum, or as `@compiled(fastmath={...})` with the liberties
    in arithmetic that LLVM may take. Either way the same machine gives the same bytes every time.
    """
    if function is None:
        return partial(compiled, fastmath=fastmath)
    options: dict[str, Any] = {"nogil": True, "fastmath": fastmath, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder can be written: compile in every process
        return numba.njit(**options)(function)
