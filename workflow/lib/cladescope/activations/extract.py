"""Extraction: one forward pass over a split fills the activation stores of several layers."""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cladescope import layout
from cladescope.activations.statistics import Statistics, measure
from cladescope.activations.store import ShardPlan
from cladescope.activations.writer import ActivationWriter, assemble, scratch_of
from cladescope.backbone.backbone import MODEL_WEIGHTS, Backbone, BackboneSpec, load_backbone
from cladescope.files import claim, read_json, write_json
from cladescope.images.index import ImageIndex, decode_image
from cladescope.images.sources import ImageSource
from cladescope.jobs import progress
from cladescope.machines import make_deterministic, own_device

Place = tuple[int, str]
"""Layer (from 1) and token kind: what one store holds."""
VERSIONS = ("torch", "torchvision", "timm", "pillow")
"""Libraries whose version can change a value."""
SAMPLE_BLOCK = 1024
"""Images whose patch positions are drawn together."""


@dataclass(frozen=True)
class PatchSample:
    """A random sample of each image's patches, the same for every layer with as many patches."""

    per_image: int
    seed: int

    def positions(self, images: range, n_patches: int) -> Int[np.ndarray, "images per_image"]:
        """Return int32 patch numbers, sorted, for consecutive image ids.

        Raises
        ------
        ValueError
            If an image has fewer patches than `per_image`.
        """
        if self.per_image > n_patches:
            raise ValueError(
                f"extraction.patches.per_image: {self.per_image} exceeds the {n_patches} patches "
                f"that a layer has; the largest valid value is {n_patches}"
            )
        first, last = images.start // SAMPLE_BLOCK, (images.stop - 1) // SAMPLE_BLOCK
        drawn = [
            np.random.default_rng([self.seed, block]).random((SAMPLE_BLOCK, n_patches))
            for block in range(first, last + 1)
        ]
        offset = images.start - first * SAMPLE_BLOCK
        rows = np.concatenate(drawn)[offset : offset + len(images)]
        return np.sort(rows.argsort(1)[:, : self.per_image], axis=1).astype(np.int32)


@dataclass(frozen=True)
class ExtractionSpec:
    """How activations are computed and stored."""

    shards: int
    precision: str
    """`float16` or `float32`, of the stored values."""
    batch_size: int
    autocast: str | None = None
    """Mixed precision of the forward pass; None runs it in float32."""
    patches: PatchSample | None = None
    """None stores every patch."""

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "ExtractionSpec":
        """Make a specification from plain values, as the configuration gives them."""
        patches = plain.get("patches")
        return cls(**{**plain, "patches": PatchSample(**patches) if patches else None})


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


def extract_activations(
    index: ImageIndex,
    source: ImageSource,
    backbone_spec: BackboneSpec,
    spec: ExtractionSpec,
    manifests: dict[Place, Path],
    code: str = "",
    threads: int = 1,
) -> None:
    """Write the stores of `manifests`: its layers and token kinds, for every image.

    Shards that an earlier, interrupted call finished are kept, if all that they depend on is the
    same; so are whole stores that another process finished while this one waited for it.

    Parameters
    ----------
    manifests
        Where each store's manifest goes; its zarr group lies beside it.
    code
        Fingerprint of the code, part of what shards depend on.
    threads
        One computes and the others decode; without a GPU, one decodes and the others compute.

    Raises
    ------
    ValueError
        From the backbone (checkpoint, layers, tokens); if an image is not the indexed one; or if a
        value does not fit the precision (names layer, image and value). No manifest is written.
    """
    with _extracted(
        index, source, backbone_spec, spec, manifests, range(spec.shards), code, threads
    ) as (backbone, made):
        for place, (writer, made_from) in made.items():
            positions = _positions(backbone, spec, place, range(len(index)))
            writer.finish(made_from, index, positions)


def extract_shards(
    index: ImageIndex,
    source: ImageSource,
    backbone_spec: BackboneSpec,
    spec: ExtractionSpec,
    partials: dict[Place, Path],
    shards: range,
    code: str = "",
    threads: int = 1,
) -> None:
    """Compute a part of what `extract_activations` does: some shards of every store.

    Jobs that compute other shards of the same stores may run at the same time.

    Parameters
    ----------
    partials
        Where each store's manifest of these shards goes: `layout.PARTIAL`, beside its manifest.

    Raises
    ------
    ValueError
        As `extract_activations`.
    """
    manifests = {place: Path(layout.whole(str(path))) for place, path in partials.items()}
    with _extracted(index, source, backbone_spec, spec, manifests, shards, code, threads) as (
        backbone,
        made,
    ):
        for place, (writer, made_from) in made.items():
            layer, token = place
            part = {
                "first": shards.start,
                "shards": [writer.done[shard] for shard in shards],
                "made_from": made_from,
                "layer_tokens": backbone.layers[layer - 1].tokens[token],
            }
            write_json(partials[place], part)


def join_shards(index: ImageIndex, partials: dict[Path, list[Path]]) -> None:
    """Assemble stores whose shards are all there: files are linked, not read.

    Parameters
    ----------
    partials
        What `extract_shards` wrote of each store, by where the store's manifest goes.

    Raises
    ------
    ValueError
        If the parts are not all the shards of one store, or a shard is gone.
    """
    with ExitStack() as claims:
        for manifest in sorted(partials):
            claims.enter_context(claim(scratch_of(manifest)))
        for manifest, paths in partials.items():
            parts = sorted(map(read_json, paths), key=lambda part: part["first"])
            shards = [shard for part in parts for shard in part["shards"]]
            plan = ShardPlan(len(index), len(shards))
            made_from = parts[0]["made_from"]
            if any(part["made_from"] != made_from for part in parts):
                raise ValueError(
                    f"{manifest}: shards were made by different models, images or libraries; "
                    f"delete {' '.join(map(str, paths))} and start again"
                )
            positions = None
            if "patches" in made_from:
                sample = PatchSample(**made_from["patches"])
                positions = sample.positions(range(len(index)), parts[0]["layer_tokens"])
            assemble(manifest, plan, shards, made_from, index, positions, shards[0]["key"])
        # Not before all are there: a job that is killed here starts again with the same parts.
        for manifest in partials:
            shutil.rmtree(scratch_of(manifest))


@contextmanager
def _extracted(
    index: ImageIndex,
    source: ImageSource,
    backbone_spec: BackboneSpec,
    spec: ExtractionSpec,
    manifests: dict[Place, Path],
    shards: range,
    code: str,
    threads: int,
) -> Iterator[tuple[Backbone, dict[Place, tuple[ActivationWriter, dict[str, Any]]]]]:
    """Compute shards, unless they are there; yield each store's writer and what made it.

    The shards are this process's until the block ends.
    """
    plan = ShardPlan(len(index), spec.shards)
    backbone = load_backbone(backbone_spec)
    backbone.check_tokens(sorted({token for _, token in manifests}))
    data = index.digest()
    writers, identities = {}, {}
    with ExitStack() as claims:
        for place, manifest in sorted(manifests.items()):
            identities[place] = _identity(place, backbone, backbone_spec, spec, data)
            about = json.dumps([identities[place], asdict(spec), code], sort_keys=True)
            key = hashlib.sha256(about.encode()).hexdigest()
            claims.enter_context(claim(scratch_of(manifest), shards))
            writers[place] = ActivationWriter(manifest, plan, key, threads, shards)
        _compute(index, source, backbone, spec, writers, threads)
        yield backbone, {place: (writers[place], identities[place]) for place in writers}


def repair_activations(
    index: ImageIndex,
    source: ImageSource,
    backbone_spec: BackboneSpec,
    spec: ExtractionSpec,
    damaged: dict[Place, tuple[Path, list[int]]],
    threads: int = 1,
) -> list[str]:
    """Compute damaged shards again and put them back if they come out as their manifest says.

    Parameters
    ----------
    damaged
        Manifest and damaged shards of each store; all of one pass.

    Returns
    -------
    list of str
        What could not be repaired: shards that come out differently on this machine.
    """
    backbone = load_backbone(backbone_spec)
    plan = ShardPlan(len(index), spec.shards)
    writers, faults = {}, []
    with ExitStack() as claims:
        for place, (manifest, shards) in sorted(damaged.items()):
            claims.enter_context(claim(scratch_of(manifest)))
            writers[place] = ActivationWriter(manifest, plan, "repair", shards=shards)
        _compute(index, source, backbone, spec, writers, threads)
        for place, (_, shards) in damaged.items():
            faults += writers[place].replace(shards)
    return faults


def _compute(
    index: ImageIndex,
    source: ImageSource,
    backbone: Backbone,
    spec: ExtractionSpec,
    writers: dict[Place, ActivationWriter],
    threads: int,
) -> None:
    """Compute the shards that the writers lack."""
    plan = ShardPlan(len(index), spec.shards)
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
            _Images(index, source, backbone),
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
            positions = _positions(backbone, spec, place, rows)
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


def _positions(
    backbone: Backbone, spec: ExtractionSpec, place: Place, images: range
) -> np.ndarray | None:
    """Return which patches of the images are stored; None for all patches and for other tokens."""
    layer, token = place
    if token != "patches" or spec.patches is None:
        return None
    return spec.patches.positions(images, backbone.layers[layer - 1].tokens["patches"])


def _identity(
    place: Place,
    backbone: Backbone,
    backbone_spec: BackboneSpec,
    spec: ExtractionSpec,
    data: str,
) -> dict[str, Any]:
    """Return what made the activations, with a checkpoint's hash in place of its path."""
    layer, token = place
    settings = {key: value for key, value in asdict(backbone_spec).items() if value is not None}
    if backbone_spec.weights not in MODEL_WEIGHTS:
        settings["weights"] = "file"
    identity = {
        "layer": layer,
        "module": backbone.layers[layer - 1].name,
        "token": token,
        "backbone": settings,
        "weights_sha256": backbone.weights_sha256,
        "images_sha256": data,
        "preprocessing": backbone.preprocessing,
        "autocast": spec.autocast,
        "batch_size": spec.batch_size,
        "versions": {name: version(name) for name in VERSIONS},
    }
    if token == "patches" and spec.patches is not None:
        identity["patches"] = asdict(spec.patches)
    # As it is read from a file, so that a store does not tell whether its parts were joined.
    return json.loads(json.dumps(identity, sort_keys=True))
