"""Dictionary variants, one module each.

A trained one has `begin`, which returns it before its first step, and `train`, which takes it to
the last; a baseline has `fit`, which returns the dictionary. Modules are imported by name, so that
a job loads only what its variant needs; a rule's code fingerprint names the module explicitly.
"""

from importlib import import_module
from types import ModuleType


def variant_module(variant: str) -> ModuleType:
    """Return the module of a variant."""
    return import_module(f"{__name__}.{variant}")
