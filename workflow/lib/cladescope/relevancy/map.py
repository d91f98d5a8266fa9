"""Maps of a study's chosen latents, with the tests that say whether the maps are right."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cladescope.backbone.backbone import Backbone
from cladescope.codes.codes import Codes
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.files import write_aside
from cladescope.images.index import ImageIndex, decode_image
from cladescope.images.sources import ImageSource
from cladescope.jobs import progress
from cladescope.machines import make_deterministic, torch_device
from cladescope.relevancy.choose import (
    BEST,
    DRAWN,
    NAMED,
    best_latents,
    named_latents,
    random_latents,
    strongest_images,
)
from cladescope.relevancy.faithfulness import grid_of, measure_curves, object_coverage, share_inside
from cladescope.relevancy.methods import Target, contrast, map_saliency, methods_of
from cladescope.relevancy.objects import ReadObject

CONTRAST = "contrast"
SHUFFLED, RANDOM = "shuffled", "random"
"""Controls of the methods: the map of another latent on the same image; patches at random."""
COLUMNS = pa.schema(
    [
        ("chosen", pa.string()),
        ("latent", pa.int32()),
        ("image", pa.int32()),
        ("method", pa.string()),
        ("relevancy", pa.list_(pa.float32())),
        ("deletion", pa.list_(pa.float32())),
        ("insertion", pa.list_(pa.float32())),
        ("object_share", pa.float32()),
        ("object_area", pa.float32()),
    ]
)


@dataclass(frozen=True)
class RelevancySpec:
    """Which latents and images, and how they are tested."""

    latents: int
    """Number of best latents by MCC, each of another internal node."""
    random_latents: int
    """Number of scored latents drawn at random in addition."""
    images: int
    """Number of strongest images of each latent."""
    pairs_per_batch: int
    """(latent, image) pairs computed together; bounds the memory."""
    steps: int
    """Steps of a deletion curve, which has a point more."""
    seed: int
    nodes: tuple[str, ...] = ()
    """Nodes (wnids), named beforehand, whose best latents are mapped whatever their scores."""


@dataclass(frozen=True, eq=False)
class Reading:
    """A dictionary, and the place in a backbone that it reads."""

    dictionary: Dictionary
    backbone: Backbone
    layer: int
    """From 1."""
    token: str

    def tokens(self, images: Tensor) -> Tensor:
        """Return (images, tokens, d): what the dictionary reads of images."""
        return self.backbone.read(images, [self.layer], [self.token])[self.layer, self.token]


@dataclass(frozen=True, eq=False)
class Pictures:
    """The evaluation images, decoded when they are needed."""

    index: ImageIndex
    source: ImageSource
    read_object: ReadObject | None = None
    """None if there are no masks."""


def map_relevancy(
    reading: Reading, pairs: pd.DataFrame, pictures: Pictures, spec: RelevancySpec, path: str | Path
) -> None:
    """Write the maps of chosen latents on their strongest images; columns in docs/relevancy.md.

    Parameters
    ----------
    pairs
        What `choose_pairs` returns.

    Raises
    ------
    ValueError
        From the backbone; if an image is not the indexed one; or if no method fits the model.
    """
    make_deterministic()
    device = torch_device()
    backbone, index = reading.backbone, pictures.index
    backbone.model.to(device)
    logging.info("%d pairs of a latent and an image, on %s", len(pairs), device)
    n_patches = backbone.layers[reading.layer - 1].tokens["patches"]
    starts = range(0, len(pairs), spec.pairs_per_batch)
    mean = Target.mean_of(reading.dictionary, str(device))
    tables = [COLUMNS.empty_table()]
    for start in progress(starts, len(starts), "mapping"):
        part = pairs.iloc[start : start + spec.pairs_per_batch]
        rows = part["image"].to_numpy()
        images = torch.stack(
            [
                backbone.transform(decode_image(pictures.source.read_checked(index, row)))
                for row in rows
            ]
        ).to(device)
        coverage = None
        if pictures.read_object is not None:
            coverage = _coverage(backbone, pictures.read_object, rows, n_patches).to(device)
        target = Target.of(reading.dictionary, part["latent"].to_numpy(), str(device))
        for method, maps in _maps(reading, images, part, mean, spec.seed):
            curves = measure_curves(reading.tokens, images, target, maps, spec.steps)
            columns: dict[str, Any] = {
                **{name: part[name] for name in ("chosen", "latent", "image")},
                "method": [method] * len(part),
                "relevancy": maps.tolist(),
                "deletion": curves.deletion.tolist(),
                "insertion": curves.insertion.tolist(),
                "object_share": [None] * len(part),
                "object_area": [None] * len(part),
            }
            if coverage is not None:
                columns["object_share"] = _without_nan(share_inside(maps, coverage))
                columns["object_area"] = _without_nan(coverage.mean(1))
            tables.append(pa.table(columns, schema=COLUMNS))
    grid = grid_of(n_patches, *backbone.preprocessing["input_size"][1:])
    table = pa.concat_tables(tables).replace_schema_metadata(
        {name: str(size) for name, size in zip(("rows", "columns"), grid, strict=True)}
    )
    with write_aside(path) as aside:
        pq.write_table(table, aside, compression="zstd")


def choose_pairs(
    codes: Codes, latents: pd.DataFrame, nodes: pd.DataFrame, spec: RelevancySpec
) -> pd.DataFrame:
    """Return columns chosen (`named`, `best` or `random`), latent, other, image.

    `other` is the next latent of the same choice, whose map is the control `shuffled`.
    """
    best = best_latents(latents, spec.latents)["latent"].to_numpy()
    named = named_latents(nodes, spec.nodes)
    drawn = random_latents(latents, spec.random_latents, spec.seed, without=best)
    rows = [
        (chosen, latent, other, image)
        for chosen, group in ((NAMED, named), (BEST, best), (DRAWN, drawn))
        for latent, other in zip(group, np.roll(group, -1), strict=True)
        for image in strongest_images(codes, latent, spec.images)
    ]
    return pd.DataFrame(rows, columns=["chosen", "latent", "other", "image"])


def _maps(
    reading: Reading,
    images: Float[Tensor, "pairs 3 height width"],
    pairs: pd.DataFrame,
    mean: Target,
    seed: int,
) -> Iterator[tuple[str, Float[Tensor, "pairs patches"]]]:
    device, backbone = str(images.device), reading.backbone
    place = (reading.layer, reading.token)
    target, other = (
        Target.of(reading.dictionary, pairs[name].to_numpy(), device)
        for name in ("latent", "other")
    )
    methods = methods_of(backbone)
    maps = {name: map_saliency(backbone, images, target, *place, name) for name in methods}
    yield from maps.items()
    of_mean = map_saliency(backbone, images, mean, *place, methods[0])
    yield CONTRAST, contrast(maps[methods[0]], of_mean)
    shuffled = map_saliency(backbone, images, other, *place, methods[0])
    yield SHUFFLED, shuffled
    drawn = [
        np.random.default_rng([seed, latent, image]).random(shuffled.shape[1])
        for latent, image in zip(pairs["latent"], pairs["image"], strict=True)
    ]
    yield RANDOM, torch.tensor(np.array(drawn), dtype=torch.float32, device=device)


def _coverage(
    backbone: Backbone, read_object: ReadObject, rows: Int[np.ndarray, " pairs"], n_patches: int
) -> Float[Tensor, "pairs patches"]:
    """Return the share of each patch that the object covers; NaN for an image without one."""
    # One by one: photographs differ in size.
    covered = [
        object_coverage(backbone.transform, read_object(int(row))[None], n_patches) for row in rows
    ]
    coverage = torch.cat(covered)
    return coverage.masked_fill((coverage.sum(1) == 0)[:, None], torch.nan)


def _without_nan(values: Tensor) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]
