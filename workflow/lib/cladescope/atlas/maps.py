"""Relevancy maps as the atlas shows them: one chunk for each latent that has maps."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cladescope.atlas.chunks import smallest, write_chunk
from cladescope.atlas.wire import MAP_MEASURES, MAP_VALUES


def write_maps(path: str | Path, crop: float | None, folder: Path) -> list[int]:
    """Write `{latent}.js` for each latent of a `relevancy.parquet`; return the latents.

    A map is written as shares of its largest value, in 255 steps. Deletion and insertion are
    written as areas under the curves.

    Parameters
    ----------
    crop
        Side of the central square that the maps cover, as a share of the image's shorter side;
        None if they cover something else.
    """
    table = pq.read_table(path)
    grid = {key.decode(): int(value) for key, value in (table.schema.metadata or {}).items()}
    latents = sorted(pc.unique(table["latent"]).to_pylist())
    folder.mkdir()
    for latent in latents:
        mine = table.filter(pc.equal(table["latent"], latent))
        methods = pc.unique(mine["method"]).to_pylist()
        images = pc.unique(mine["image"]).to_pylist()
        cell = {
            (method, image): row
            for row, (method, image) in enumerate(
                zip(mine["method"].to_pylist(), mine["image"].to_pylist(), strict=True)
            )
        }
        order = [cell[method, image] for method in methods for image in images]
        rows = mine.take(order)
        values = _matrix(rows["relevancy"])
        largest = values.max(1, keepdims=True)
        share = np.divide(values, largest, out=np.zeros_like(values), where=largest > 0)
        write_chunk(
            folder / f"{latent}.js",
            **grid,
            crop=crop,
            chosen=mine["chosen"][0].as_py(),
            methods=methods,
            images=smallest(np.array(images), 2**32 - 1),
            values=MAP_VALUES.write(share, 1),
            **{name: _measure(rows[name]) for name in MAP_MEASURES},
        )
    return latents


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    """float64 (rows, entries) of a column of lists of one length."""
    return np.array(column.to_pylist(), np.float64)


def _measure(column: pa.ChunkedArray) -> np.ndarray:
    """float32 (rows,): a number as it is, a curve as the area under it; NaN where missing."""
    if pa.types.is_list(column.type):
        curves = _matrix(column)
        return np.trapezoid(curves, dx=1 / (curves.shape[1] - 1), axis=1).astype(np.float32)
    return column.to_numpy().astype(np.float32)
