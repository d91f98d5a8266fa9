"""Extraction: one forward pass over a split fills the activation stores of several layers."""

import hashlib
import io
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cladescope.backbone import Backbone, BackboneSpec, load_backbone
from cladescope.images import ImageIndex
from cladescope.jobs import progress
from cladescope.store import ActivationWriter, ShardPlan


class _Images(Dataset):
    """Decoded and preprocessed images of one shard."""

    def __init__(self, folder: Path, index: ImageIndex, rows: range, backbone: Backbone):
        self.folder = folder
        self.paths = index.paths[rows.start : rows.stop]
        self.sha256 = index.sha256[rows.start : rows.stop]
        self.transform = backbone.transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, item: int) -> Tensor:
        path = self.folder / self.paths[item]
        content = path.read_bytes() if path.is_file() else b""
        # Layers of one store may be extracted months apart: they must see the same images.
        if hashlib.sha256(content).hexdigest() != self.sha256[item]:
            raise ValueError(
                f"{path} {'is not the image that was indexed' if content else 'is gone'}; put it "
                "back, or delete the dataset's images/*.parquet to index the images again and redo "
                "what depends on them"
            )
        with Image.open(io.BytesIO(content)) as image:
            return self.transform(image.convert("RGB"))


def extract_activations(
    index: ImageIndex,
    folder: Path,
    spec: BackboneSpec,
    manifests: dict[int, Path],
    n_shards: int,
    precision: str,
    batch_size: int,
    threads: int = 1,
) -> None:
    """Write the class token after each layer of `manifests` for every image.

    Parameters
    ----------
    index, folder
        The images, and the folder that their paths are relative to.
    manifests
        Where each layer's manifest goes; its array `L{layer}.zarr` lies beside it.
    precision
        `float16` or `float32`, of the stored values; the forward pass runs in float32.

    Raises
    ------
    ValueError
        From the backbone (checkpoint, blocks) or the store (overflow), before or while writing;
        no manifest is written then.
    """
    layers = sorted(manifests)
    backbone = load_backbone(spec)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone.model.to(device)
    plan = ShardPlan(len(index), n_shards)
    writers = {
        layer: ActivationWriter(
            manifests[layer].with_suffix(".zarr"), plan, 1, backbone.width, precision
        )
        for layer in layers
    }
    for shard in range(n_shards):
        rows = plan.rows(shard)
        images = _Images(folder, index, rows, backbone)
        # One thread computes; the others decode.
        loader = DataLoader(images, batch_size=batch_size, num_workers=threads - 1)
        title = f"shard {shard + 1}/{n_shards}"
        values = _forward(backbone, progress(loader, len(loader), title), layers, device)
        for layer in layers:
            writers[layer].write_shard(shard, values[layer][:, None, :])
        logging.info("shard %d of %d: %d images", shard + 1, n_shards, len(rows))
    for layer in layers:
        identity = {
            "layer": layer,
            "token": "cls",
            "backbone": _identity(spec),
            "weights_sha256": backbone.weights_sha256,
            "preprocessing": backbone.preprocessing,
        }
        writers[layer].finish(manifests[layer], identity)


def _forward(
    backbone: Backbone, batches: Iterable[Tensor], layers: Sequence[int], device: torch.device
) -> dict[int, np.ndarray]:
    """Return float32 (images, width) per layer."""
    captured: dict[int, list[np.ndarray]] = {layer: [] for layer in layers}
    for batch in batches:
        tokens = backbone.class_tokens(batch.to(device), layers)
        for layer in layers:
            captured[layer].append(tokens[layer].cpu().numpy())
    return {layer: np.concatenate(parts) for layer, parts in captured.items()}


def _identity(spec: BackboneSpec) -> dict[str, Any]:
    """What made the activations, without the path of a checkpoint: its hash says which it was."""
    known = {key: value for key, value in asdict(spec).items() if value is not None}
    return known if spec.weights in ("pretrained", "random") else {**known, "weights": "file"}
