"""The planted world: images of 64 ImageNet classes whose shared parts we chose ourselves.

An image is a leaf's drawing placed in a scene. The scene (background, clutter, texture, colours,
pose, noise) is the nuisance: it is drawn from a random stream that depends on the world's seed, the
split and the scene's number, and on nothing else. In a rendered split every image has a scene of
its own, so that images are independent; and any two leaves in one scene are a matched pair that
differs only in the object. Nothing random happens inside an object.
"""

import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from cladescope.files import write_aside
from cladescope.jobs import progress
from cladescope.planted.drawing import Drawing
from cladescope.planted.leaves import DRAWINGS, LEAF_NAMES, LEAF_WNIDS
from cladescope.planted.scenes import (
    SPLITS,
    SUPERSAMPLING,
    Nuisance,
    PlantedSpec,
    Scene,
    check_split,
    draw_scene,
    placement_of,
)

__all__ = [
    "LEAF_NAMES",
    "LEAF_WNIDS",
    "SPLITS",
    "Nuisance",
    "PlantedImage",
    "PlantedSpec",
    "masks_by_path",
    "read_masks",
    "render_beside",
    "render_image",
    "render_split",
    "scene_number",
]

MASK_COVERAGE = 128  # of 255: a pixel is the object's if the object covers at least half of it

BESIDE_SCALE = 0.5
"""Of each of two objects beside each other: as small as a single one gets."""


class PlantedImage(NamedTuple):
    """One image of the planted world.

    Attributes
    ----------
    image : ndarray, shape (size, size, 3), uint8
    mask : ndarray, shape (size, size), bool
        The object's silhouette.
    factors : Nuisance
    """

    image: np.ndarray
    mask: np.ndarray
    factors: Nuisance


class FactorsRow(NamedTuple):
    """One row of the factors table."""

    path: str
    wnid: str
    scene: int
    factors: Nuisance
    mask: bytes


def render_image(leaf: str, spec: PlantedSpec, split: str, scene: int) -> PlantedImage:
    """Render a leaf in a scene.

    Parameters
    ----------
    leaf : str
        One of `LEAF_WNIDS`.
    spec : PlantedSpec
    split : str
        "train" or "eval".
    scene : int
        Number of the scene within the split; another leaf in the same scene has the same nuisance.

    Raises
    ------
    ValueError
        If the leaf or the split is not one of the planted world's.
    """
    if leaf not in DRAWINGS:
        raise ValueError(f"{leaf!r} is not a leaf of the planted world; see LEAF_WNIDS")
    drawn = draw_scene(spec, split, scene)
    image, mask = compose(drawn, DRAWINGS[leaf])
    return PlantedImage(image, mask, drawn.factors)


def scene_number(leaf: str, index: int) -> int:
    """Number of the scene that image `index` of a leaf has in a rendered split; all differ."""
    return index * len(LEAF_WNIDS) + LEAF_WNIDS.index(leaf)


def render_split(
    spec: PlantedSpec,
    split: str,
    images_per_class: int,
    folder: str | Path,
    factors_path: str | Path,
    workers: int = 1,
) -> None:
    """Render a split to PNG files and a table of its factors.

    Both are written under another name and renamed when complete. The bytes depend only on `spec`,
    `split` and `images_per_class`.

    Parameters
    ----------
    spec : PlantedSpec
    split : str
        "train" or "eval".
    images_per_class : int
        At least 1; more images only add indices, those already there keep their bytes.
    folder : path
        Gets `{wnid}/{split}_{index:05d}.png`; what was there is replaced.
    factors_path : path
        Gets a parquet file, one row per image by wnid and index: `path` (relative to the folder),
        `wnid`, `scene`, the fields of `Nuisance`, and `mask` (`np.packbits` of the row-major mask).
    workers : int
        Processes to render with.

    Raises
    ------
    ValueError
        If the split is unknown or a count is below 1.
    OSError
        If a file cannot be written, with its path.
    """
    if images_per_class < 1 or workers < 1:
        raise ValueError(
            f"images_per_class and workers must be at least 1, not {images_per_class}, {workers}"
        )
    check_split(split)
    with write_aside(folder) as aside, write_aside(factors_path) as factors_aside:
        for wnid in LEAF_WNIDS:
            (aside / wnid).mkdir(parents=True)
        # More blocks than workers, so that none waits long for the last one.
        n_blocks = min(images_per_class, max(10, 4 * workers))
        blocks = [range(i, images_per_class, n_blocks) for i in range(n_blocks)]
        rows: list[FactorsRow] = []
        done = _render_blocks(spec, split, blocks, aside, workers)
        for rendered in progress(done, len(blocks), f"rendering {split}"):
            rows.extend(rendered)
        table = _factors_table(spec, split, sorted(rows, key=lambda row: row.path))
        pq.write_table(table, factors_aside)


def read_masks(factors_path: str | Path) -> np.ndarray:
    """Read the objects' masks from a factors table.

    Returns
    -------
    ndarray, shape (n_images, size, size), bool
        In the order of the table's rows.

    Raises
    ------
    ValueError
        If the file is not a factors table of `render_split`.
    """
    table = pq.read_table(factors_path, columns=["mask"])
    metadata = table.schema.metadata or {}
    if b"image_size" not in metadata:
        raise ValueError(f"{factors_path} is not a factors table: it does not state image_size")
    size = int(metadata[b"image_size"])
    packed = b"".join(table.column("mask").to_pylist())
    bits = np.frombuffer(packed, np.uint8).reshape(table.num_rows, -1)
    return np.unpackbits(bits, axis=1, count=size * size).reshape(-1, size, size).astype(bool)


def masks_by_path(factors_path: str | Path) -> dict[str, np.ndarray]:
    """Read the objects' masks, (size, size) bool, by the path of their image; as `read_masks`."""
    paths = pq.read_table(factors_path, columns=["path"])["path"].to_pylist()
    return dict(zip(paths, read_masks(factors_path), strict=True))


def _render_blocks(
    spec: PlantedSpec, split: str, blocks: list[range], folder: Path, workers: int
) -> Iterable[list[FactorsRow]]:
    arguments = [(spec, split, block, folder) for block in blocks]
    if workers == 1:
        yield from map(_render_block, arguments)
        return
    # Forked: a spawned child would import the main module, a Snakemake job's script, and run it.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(min(workers, len(blocks)), context) as pool:
        yield from pool.map(_render_block, arguments)


def _render_block(arguments: tuple[PlantedSpec, str, range, Path]) -> list[FactorsRow]:
    """Write all leaves' images of some indices and return their rows of the factors table."""
    spec, split, indices, folder = arguments
    rows = []
    for index in indices:
        for wnid in LEAF_WNIDS:
            scene = scene_number(wnid, index)
            path = f"{wnid}/{_file_name(split, index)}"
            image, mask, factors = render_image(wnid, spec, split, scene)
            write_png(folder / path, image)
            rows.append(FactorsRow(path, wnid, scene, factors, np.packbits(mask).tobytes()))
    return rows


def _factors_table(spec: PlantedSpec, split: str, rows: list[FactorsRow]) -> pa.Table:
    columns: dict[str, list] = {
        "path": [row.path for row in rows],
        "wnid": [row.wnid for row in rows],
        "scene": [row.scene for row in rows],
    }
    for field, name in enumerate(Nuisance._fields):
        columns[name] = [row.factors[field] for row in rows]
    columns["mask"] = [row.mask for row in rows]
    metadata = {"image_size": str(spec.image_size), "seed": str(spec.seed), "split": split}
    return pa.table(columns).replace_schema_metadata(metadata)


def _file_name(split: str, index: int) -> str:
    return f"{split}_{index:05d}.png"


def write_png(path: Path, image: np.ndarray) -> None:
    """Write an image, (size, size, 3) uint8."""
    png = BytesIO()
    # Noise hardly compresses: the best level saves 1% more than this one.
    Image.fromarray(image).save(png, "PNG", compress_level=1)
    path.write_bytes(png.getbuffer())


def render_beside(
    leaves: tuple[str | None, str | None], spec: PlantedSpec, split: str, scene: int
) -> tuple[np.ndarray, np.ndarray]:
    """Render two leaves beside each other in a scene, half as large as the image, in its colours.

    Parameters
    ----------
    leaves
        On the left and on the right; None leaves the place empty, and all else as it is.
    spec, split, scene
        As for `render_image`. The left object is as high as the scene's would be, the right one as
        low.

    Returns
    -------
    Image (size, size, 3) uint8; masks (2, size, size) bool, of which the left object's leaves out
    what the right one covers.
    """
    drawn, size = draw_scene(spec, split, scene), spec.image_size
    places = (0.25 * size, drawn.factors.y), (0.75 * size, size - drawn.factors.y)
    masks = np.zeros((2, size, size), bool)
    painted = []
    for side, (leaf, (x, y)) in enumerate(zip(leaves, places, strict=True)):
        if leaf is not None:
            factors = drawn.factors._replace(scale=BESIDE_SCALE, x=x, y=y)
            painted.append((side, DRAWINGS[leaf], placement_of(factors, size)))
    image, found = _compose(drawn, [(drawing, placement) for _, drawing, placement in painted])
    for (side, *_), mask in zip(painted, found, strict=True):
        masks[side] = mask
    masks[0] &= ~masks[1]
    return image, masks


def compose(scene: Scene, drawing: Drawing) -> tuple[np.ndarray, np.ndarray]:
    """Paint a drawing into a scene: image (size, size, 3) uint8, mask (size, size) bool."""
    image, (mask,) = _compose(scene, [(drawing, scene.placement)])
    return image, mask


def _compose(
    scene: Scene, drawings: Sequence[tuple[Drawing, np.ndarray]]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Paint drawings at their places into a scene, the last one in front."""
    side = len(scene.background) * SUPERSAMPLING
    clean, masks = scene.background, []
    for drawing, placement in drawings:
        roles = drawing.paint(side, placement)
        coverage = np.asarray(roles.point([0] + [255] * 255).reduce(SUPERSAMPLING))
        roles.putpalette(scene.palette)
        # Black where nothing is drawn, so the average is already weighted by the coverage.
        weighted = np.asarray(roles.convert("RGB").reduce(SUPERSAMPLING), np.float32)
        uncovered = 1 - coverage[..., None].astype(np.float32) / 255
        clean = clean * uncovered + weighted
        masks.append(coverage >= MASK_COVERAGE)
    clean = clean + scene.texture
    image = clean * np.float32(scene.factors.brightness) + scene.noise
    return np.clip(image, 0, 255).astype(np.uint8), masks
