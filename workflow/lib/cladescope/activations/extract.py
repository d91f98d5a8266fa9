"""Extraction: one forward pass over a split fills the activation stores of several layers."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cladescope import layout
from cladescope.activations.forward import compute_shards, positions_of
from cladescope.activations.spec import Extraction, PatchSample, Place
from cladescope.activations.store import ShardPlan
from cladescope.activations.writer import ActivationWriter, assemble, remove_scratch, scratch_of
from cladescope.backbone.backbone import MODEL_WEIGHTS, Backbone, load_backbone
from cladescope.files import claim, read_json, write_json
from cladescope.images.index import ImageIndex
from cladescope.sites import kind_of

VERSIONS = ("torch", "torchvision", "timm", "pillow")
"""Libraries whose version can change a value."""


def extract_activations(extraction: Extraction, manifests: dict[Place, Path]) -> None:
    """Write the stores of `manifests`: its layers and token kinds, for every image.

    Shards that an earlier, interrupted call finished are kept, if all that they depend on is the
    same; so are whole stores that another process finished while this one waited for it.

    Parameters
    ----------
    manifests
        Where each store's manifest goes; its zarr group lies beside it.

    Raises
    ------
    ValueError
        From the backbone (checkpoint, layers, tokens); if an image is not the indexed one; or if a
        value does not fit the precision (names layer, image and value). No manifest is written.
    """
    index, spec = extraction.index, extraction.spec
    with _extracted(extraction, manifests, range(spec.shards)) as (backbone, made):
        for place, (writer, made_from) in made.items():
            positions = positions_of(backbone, spec, place, range(len(index)))
            writer.finish(made_from, index, positions)


def extract_shards(extraction: Extraction, partials: dict[Place, Path], shards: range) -> None:
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
    with _extracted(extraction, manifests, shards) as (backbone, made):
        for place, (writer, made_from) in made.items():
            layer, token = place
            part = {
                "first": shards.start,
                "shards": [writer.done[shard] for shard in shards],
                "made_from": made_from,
                "layer_tokens": backbone.layers[layer - 1].n_tokens(token),
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
            assemble(manifest, shards, made_from, index, positions, shards[0]["key"])
        # Not before all are there: a job that is killed here starts again with the same parts.
        for manifest in partials:
            remove_scratch(manifest)


@contextmanager
def _extracted(
    extraction: Extraction, manifests: dict[Place, Path], shards: range
) -> Iterator[tuple[Backbone, dict[Place, tuple[ActivationWriter, dict[str, Any]]]]]:
    """Compute shards, unless they are there; yield each store's writer and what made it.

    The shards are this process's until the block ends.
    """
    spec = extraction.spec
    plan = ShardPlan(len(extraction.index), spec.shards)
    backbone = load_backbone(extraction.backbone)
    backbone.check_tokens(sorted({token for _, token in manifests}))
    data = extraction.index.digest()
    writers, identities = {}, {}
    with ExitStack() as claims:
        for place, manifest in sorted(manifests.items()):
            identities[place] = _identity(place, backbone, extraction, data)
            about = json.dumps([identities[place], asdict(spec), extraction.code], sort_keys=True)
            key = hashlib.sha256(about.encode()).hexdigest()
            claims.enter_context(claim(scratch_of(manifest), shards))
            writers[place] = ActivationWriter(manifest, plan, key, extraction.threads, shards)
        compute_shards(extraction, backbone, writers)
        yield backbone, {place: (writers[place], identities[place]) for place in writers}


def repair_activations(
    extraction: Extraction, damaged: dict[Place, tuple[Path, list[int]]]
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
    backbone = load_backbone(extraction.backbone)
    plan = ShardPlan(len(extraction.index), extraction.spec.shards)
    writers, faults = {}, []
    with ExitStack() as claims:
        for place, (manifest, shards) in sorted(damaged.items()):
            claims.enter_context(claim(scratch_of(manifest)))
            writers[place] = ActivationWriter(manifest, plan, "repair", shards=shards)
        compute_shards(extraction, backbone, writers)
        for place, (_, shards) in damaged.items():
            faults += writers[place].replace(shards)
    return faults


def _identity(
    place: Place, backbone: Backbone, extraction: Extraction, data: str
) -> dict[str, Any]:
    """Return what made the activations, with a checkpoint's hash in place of its path."""
    layer, token = place
    spec, backbone_spec = extraction.spec, extraction.backbone
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
    if kind_of(token) == "patches" and spec.patches is not None:
        identity["patches"] = asdict(spec.patches)
    # As it is read from a file, so that a store does not tell whether its parts were joined.
    return json.loads(json.dumps(identity, sort_keys=True))
