"""Weights of a backbone: loading a local checkpoint, and the hash that says which they are."""

import hashlib
import sys
from pathlib import Path
from typing import Any

import torch
from timm.models import load_state_dict

from cladescope.files import read_json

MAX_LISTED = 10


def load_checkpoint(model: Any, name: str, path: str) -> None:
    """Load a local checkpoint, except a classifier, which the model does not need.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read; or does not fit the model, and lists what differs; or is not what its
        sidecar says.
    """
    state = _read_checkpoint(model, path)
    prefixes = _classifiers(model)
    state = {
        key: value for key, value in state.items() if not key.startswith(prefixes) or not prefixes
    }
    expected = model.state_dict()
    faults = [f"missing {key}" for key in expected if key not in state]
    faults += [f"unexpected {key}" for key in state if key not in expected]
    faults += [
        f"{key} has shape {tuple(state[key].shape)}, the model's is {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    faults += [
        f"{key} {reason}"
        for key, value in expected.items()
        if key in state and (reason := _unusable(state[key], value))
    ]
    if faults:
        shown = "\n  ".join(faults[:MAX_LISTED])
        raise ValueError(
            f"checkpoint {path} does not fit {name} ({len(faults)} differences); set "
            f"backbone.model to the architecture it was made with:\n  {shown}"
        )
    model.load_state_dict(state)


def read_classifier(model: Any, path: str) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return weight (outputs, width) and bias of a local checkpoint's classifier.

    None if it has none that is linear. Raises as `load_checkpoint` does for a file that cannot be
    read.
    """
    names = _classifiers(model)
    if len(names) != 1:
        return None
    state = _read_checkpoint(model, path)
    return linear_of(state.get(f"{names[0]}.weight"), state.get(f"{names[0]}.bias"))


def linear_of(
    weight: torch.Tensor | None, bias: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return weight and bias if they are those of a linear layer, as float32."""
    if weight is None or weight.ndim != 2:
        return None
    bias = torch.zeros(len(weight)) if bias is None else bias
    return weight.detach().float(), bias.detach().float()


def _classifiers(model: Any) -> tuple[str, ...]:
    """Return the names of a model's classifiers, usually one."""
    names = model.pretrained_cfg.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def _read_checkpoint(model: Any, path: str) -> dict[str, torch.Tensor]:
    """Read a local checkpoint under timm's names; raises as `load_checkpoint` does."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist; set backbone.weights")
    _check_sidecar(Path(path))
    try:
        # weights_only: a pickle checkpoint must not run code.
        state = load_state_dict(path, use_ema=False, weights_only=True)
        convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
        return state if convert is None else convert(state, model)
    except Exception as error:
        # Whatever safetensors, zipfile, pickle or timm raise on a cut or foreign file.
        raise ValueError(
            f"checkpoint {path} cannot be read ({error}): damaged, copied in part, of another "
            "model, or with more than weights in it; copy it again, or set backbone.weights"
        ) from error


def _unusable(given: torch.Tensor, expected: torch.Tensor) -> str | None:
    """Return why a tensor of a checkpoint cannot stand for one of the model, or None if it can.

    Half precision is exact in the model's float32.
    """
    if given.is_floating_point() != expected.is_floating_point():
        return f"is of {str(given.dtype).removeprefix('torch.')}"
    return None if given.isfinite().all() else "holds numbers that are not finite"


def _check_sidecar(path: Path) -> None:
    """Compare a checkpoint with the hash in the JSON file beside it, if there is one."""
    sidecar = path.with_suffix(".json")
    expected = read_json(sidecar).get("checkpoint_sha256") if sidecar.is_file() else None
    if expected is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise ValueError(f"checkpoint {path} is not the one that {sidecar} describes: damaged?")


def hash_weights(model: torch.nn.Module) -> str:
    """Return the SHA-256 of a model's state: names, types and values, in the order of the names."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + b"\0" + str(value.dtype).encode() + b"\0")
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
