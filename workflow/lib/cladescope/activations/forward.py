"""The forward pass of an extraction: images to the device, tokens to the writers."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cladescope.activations.spec import Extraction, ExtractionSpec, Place
from cladescope.activations.statistics import Statistics, measure
from cladescope.activations.store import ShardPlan
from cladescope.activations.writer import ActivationWriter
from cladescope.backbone.backbone import Backbone
from cladescope.images.index import ImageIndex, decode_image
from cladescope.images.sources import ImageSource
from cladescope.jobs import progress
from cladescope.machines import make_deterministic, own_device
from cladescope.sites import kind_of


class _Images(Dataset):
    """Decoded and preprocessed images, checked against their index."""

    def __init__(self, index: ImageIndex, source: ImageSource, backbone: Backbone):
        self.index = index
        self.source = source
        self.transform = backbone.transform

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, row: int) -> Tensor:
        # Layers of one store may be extracted months apart: they must see the same images.
        return self.transform(decode_image(self.source.read_checked(self.index, row)))


def compute_shards(
    extraction: Extraction, backbone: Backbone, writers: dict[Place, ActivationWriter]
) -> None:
    """Compute the shards that the writers lack."""
    spec, threads = extraction.spec, extraction.threads
    plan = ShardPlan(len(extraction.index), spec.shards)
    todo = {
        shard: [place for place, writer in writers.items() if writer.lacks(shard)]
        for shard in range(spec.shards)
    }
    batches = [
        (shard, rows)
        for shard in range(spec.shards)
        if todo[shard]
        for rows in _cut(plan.rows(shard), spec.batch_size)
    ]
    logging.info("%d of %d shards to compute", sum(map(bool, todo.values())), spec.shards)
    if not batches:
        return
    make_deterministic()
    with own_device() as device:
        workers = threads - 1 if device.type == "cuda" else min(threads - 1, 1)
        torch.set_num_threads(max(1, threads - workers))
        backbone.model.to(device)
        loader = DataLoader(
            _Images(extraction.index, extraction.source, backbone),
            batch_sampler=[list(rows) for _, rows in batches],
            num_workers=workers,
            pin_memory=device.type == "cuda",
        )
        images = progress(loader, len(batches), "extracting")
        work = (
            (shard, rows, batch, todo[shard])
            for (shard, rows), batch in zip(batches, images, strict=True)
        )
        for shard, rows, computed in _one_behind(_launch(backbone, spec, device, work)):
            for place in todo[shard]:
                values, statistics = computed[place].arrive(place, rows, spec.precision)
                writers[place].append(shard, values, statistics)
            if rows.stop == plan.rows(shard).stop:
                size = len(plan.rows(shard))
                logging.info("shard %d of %d: %d images", shard + 1, spec.shards, size)


@dataclass(frozen=True)
class _Computed:
    """One batch of one layer and token, on its way from the device."""

    raw: Tensor
    values: Tensor
    measured: dict[str, Tensor]
    arrived: Any
    """CUDA event after the copies; None on a CPU."""

    def arrive(self, place: Place, rows: range, precision: str) -> tuple[np.ndarray, Statistics]:
        """Wait for the copies and return what is to be stored.

        Raises
        ------
        ValueError
            If a value does not fit the precision or is not finite.
        """
        if self.arrived is not None:
            self.arrived.synchronize()
        if not self.measured["finite"]:
            row, token, dimension = torch.argwhere(~self.values.isfinite())[0].tolist()
            raise ValueError(
                f"layer {place[0]}, token {place[1]} {token}: image {rows[row]} has the value "
                f"{self.raw[row, token, dimension].item():g} in dimension {dimension}, beyond "
                f"{precision} (largest {np.finfo(precision).max:g}); set extraction.precision to "
                "float32, or check the weights and extraction.autocast if it is not finite"
            )
        return self.values.numpy(), Statistics.of(self.measured)


def _launch(
    backbone: Backbone,
    spec: ExtractionSpec,
    device: torch.device,
    work: Iterable[tuple[int, range, Tensor, list[Place]]],
) -> Iterator[tuple[int, range, dict[Place, _Computed]]]:
    """Start each batch's computation; on a GPU nothing here waits for it."""
    mixed: AbstractContextManager = nullcontext()
    if spec.autocast:
        mixed = torch.autocast(device.type, getattr(torch, spec.autocast))
    for shard, rows, batch, places in work:
        layers = sorted({layer for layer, _ in places})
        kinds = sorted({token for _, token in places})
        with torch.inference_mode(), mixed:
            read = backbone.read(batch.to(device, non_blocking=True), layers, kinds)
        computed = {}
        for place in places:
            positions = positions_of(backbone, spec, place, rows)
            with torch.inference_mode():
                raw = read[place]
                if positions is not None:
                    chosen = torch.from_numpy(positions).to(device).long()[:, :, None]
                    raw = raw.take_along_dim(chosen, 1)
                values = raw.to(getattr(torch, spec.precision))
                computed[place] = _send(raw, values, measure(values))
        yield shard, rows, computed


def _send(raw: Tensor, values: Tensor, measured: dict[str, Tensor]) -> _Computed:
    """Copy a batch to the CPU, without waiting."""
    if values.device.type != "cuda":
        return _Computed(raw, values, measured, None)

    def copy(tensor: Tensor) -> Tensor:
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return host.copy_(tensor, non_blocking=True)

    values = copy(values)
    measured = {name: copy(tensor) for name, tensor in measured.items()}
    arrived = torch.cuda.Event()
    arrived.record()
    return _Computed(raw, values, measured, arrived)


def _one_behind(items: Iterator[Any]) -> Iterator[Any]:
    """Yield each item only after the next one has started, so that a GPU is never without work."""
    waiting = next(items, None)
    for item in items:
        yield waiting
        waiting = item
    if waiting is not None:
        yield waiting


def _cut(rows: range, size: int) -> Iterator[range]:
    """Cut a shard into batches; none crosses its end, so that a shard can be made on its own."""
    for start in range(rows.start, rows.stop, size):
        yield range(start, min(start + size, rows.stop))


def positions_of(
    backbone: Backbone, spec: ExtractionSpec, place: Place, images: range
) -> np.ndarray | None:
    """Return which patches of the images are stored; None for all patches and for other tokens."""
    layer, token = place
    if kind_of(token) != "patches" or spec.patches is None:
        return None
    return spec.patches.positions(images, backbone.layers[layer - 1].n_tokens(token))
