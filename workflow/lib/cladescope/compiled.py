"""Loops compiled to machine code by numba.

Compiled code is kept beside the module, or in the user's cache folder where that cannot be written.
"""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call, without reordering sums: the same bytes every time."""
    try:
        return numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # no folder can be written: compile in every process
        return numba.njit(error_model="numpy")(function)
