"""What numba compiles: kept for the processor and the code that it was made for, and no other."""

import importlib
import json
import os
import pkgutil
import shutil
import subprocess
import sys

from numba.core.dispatcher import Dispatcher

import cladescope

PRODUCTS = """
import json, sys
import numpy as np
from cladescope.dictionaries.training.processor_kernels import products

rng = np.random.default_rng(0)
vector, matrix = rng.standard_normal(97, np.float32), rng.standard_normal((37, 97), np.float32)
out = np.empty(37, np.float32)
products(vector, matrix, np.arange(37, dtype=np.int32), out)
json.dump([sum(products.stats.cache_hits.values()), out.tolist()], sys.stdout)
"""
GENERIC = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}


def products(root, cache, processor):
    """How often compiled code was found in the cache (0 or 1), and the products."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_CPU_")}
    environment |= {"PYTHONPATH": str(root / "workflow" / "lib"), "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", PRODUCTS]
    run = subprocess.run(command, check=True, capture_output=True, env=environment | processor)
    return json.loads(run.stdout)


def test_code_compiled_for_another_processor_is_not_used(root, tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    found, generic = products(root, there, GENERIC)
    assert not found
    shutil.copytree(there, here)
    assert products(root, here, GENERIC) == [1, generic], "the copy is used by the same processor"
    found, own = products(root, here, {})
    assert not found
    assert own == products(root, tmp_path / "fresh", {})[1]
    assert products(root, here, {}) == [1, own]
    assert products(root, here, GENERIC) == [1, generic], "one cache serves both"


def test_compiled_code_calls_none_of_another_file():
    """Numba looks at a function's own file for changes, not at those of the functions it calls."""
    loops, calls = 0, []
    for module in pkgutil.walk_packages(cladescope.__path__, "cladescope."):
        if module.name.endswith("__main__"):
            continue
        for name, loop in vars(importlib.import_module(module.name)).items():
            if not isinstance(loop, Dispatcher):
                continue
            loops += 1
            function = loop.py_func
            used = [function.__globals__.get(word) for word in function.__code__.co_names]
            elsewhere = {u.py_func.__module__ for u in used if isinstance(u, Dispatcher)}
            calls += [(name, other) for other in elsewhere - {function.__module__}]
    assert loops > 10
    assert not calls
