"""What pages show of places: which latent finds a node's patches, and on which patches each fires.

Numbers are those of `segment` and `keep_positions`; docs/atlas.md describes the files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from cladescope.about import read_about
from cladescope.atlas.chunks import smallest, write_chunk
from cladescope.atlas.latents import Firing, images_by_band
from cladescope.atlas.wire import CHUNK_BYTES, LATENTS_PER_CHUNK, MAP_VALUES, SEGMENTED
from cladescope.codes.codes import Codes
from cladescope.codes.positions import Positions
from cladescope.files import read_json


@dataclass(frozen=True)
class Places:
    """What is known of where in images latents fire; None where it is not asked for."""

    maps: str | Path | None = None
    """`relevancy.parquet`."""
    segmentation: str | Path | None = None
    """`segmentation.parquet`."""
    positions: str | Path | None = None
    """`positions.parquet`."""
    crop: float | None = None
    """Side of the central square that the backbone sees, as a share of the image's shorter side;
    None if it sees something else."""

    @classmethod
    def of(cls, files: Mapping[str, Any], folder: Path) -> "Places":
        """Pick what is known of the dictionary in `folder`.

        Parameters
        ----------
        files
            Paths: `maps`, `segmentations` and `positions` of several dictionaries, as far as there
            are any, and the `manifest` of the activations that the first and the last are of.
        """
        maps, masks, positions = (
            next((path for path in files.get(name, ()) if Path(path).parent == folder), None)
            for name in ("maps", "segmentations", "positions")
        )
        seen = read_json(files["manifest"])["made_from"] if "manifest" in files else None
        crop = crop_of(seen["preprocessing"]) if seen else None
        return cls(maps, masks, positions, crop)


def crop_of(preprocessing: Mapping[str, Any]) -> float | None:
    """Return which central square of an image timm's preprocessing takes; None if it does not."""
    central = preprocessing.get("crop_mode", "center") == "center"
    return float(preprocessing["crop_pct"]) if central else None


def segmentation_chunk(
    path: str | Path, position: Mapping[str | None, int], width: int
) -> dict[str, Any]:
    """Return what `segmentation.js` holds: the latent of each node, and how well it finds patches.

    Masks may show what no image is labelled with; of that the pages have no node.

    Parameters
    ----------
    position
        Of each wnid in the tree.
    """
    table, about = read_about(path)
    table = table[table["wnid"].isin([*position]) & table["precision"].notna()]
    latent = table["latent"].fillna(width).to_numpy(int)
    return {
        "n_images": about["n_images"],
        "node": smallest(np.array([position[wnid] for wnid in table["wnid"]], int), len(position)),
        "latent": smallest(latent, width),
        "patches": smallest(table["patches"].to_numpy(int), 2**32 - 1),
        **{name: table[name].to_numpy(np.float32) for name in SEGMENTED},
    }


@dataclass(frozen=True, eq=False)
class FiringPlaces:
    """On which patches of its strongest images each latent fires, of those with known places."""

    images: Int[np.ndarray, "latents n"]
    """Strongest first; the number of images for none."""
    relative: Float[np.ndarray, "latents n"]
    """Activation on each, as a share of the latent's largest on any image."""
    values: UInt8[np.ndarray, "latents n patches"]
    """In 255ths of the largest of the image's patches."""
    grid: tuple[int, int]
    """Rows and columns of patches."""
    n_images: int
    """Of the evaluation split."""

    @classmethod
    def of(
        cls, positions: Positions, codes: Codes, firing: Firing, n: int, seed: int
    ) -> "FiringPlaces":
        """Choose `n` images of each latent, and look up where it fires on them.

        Parameters
        ----------
        codes, firing
            Of all evaluation images.
        seed
            Decides ties between images.
        """
        known = np.isin(codes.image, positions.images)
        parts = (codes.image[known], codes.latent[known], codes.activation[known])
        of_known = Firing.of(Codes(*parts, codes.n_images, codes.width), seed)
        images, share = (part[:, :n] for part in images_by_band(of_known, n))
        top = share * of_known.strongest[:, None]
        largest = firing.strongest[:, None]
        relative = np.divide(top, largest, out=np.zeros_like(top), where=largest > 0)
        values = _patch_values(positions, images, top, codes.n_images)
        return cls(images, relative, values, positions.grid, codes.n_images)

    def save(self, folder: Path, crop: float | None) -> int:
        """Write `places_{block}.js`; return how many latents a block has."""
        width, n, patches = self.values.shape
        step = min(LATENTS_PER_CHUNK, max(1, CHUNK_BYTES // (n * patches)))
        rows, columns = self.grid
        for start in range(0, width, step):
            block = slice(start, start + step)
            write_chunk(
                folder / f"places_{start // step}.js",
                rows=rows,
                columns=columns,
                crop=crop,
                images_of_latent=n,
                images=smallest(self.images[block], self.n_images),
                relative=MAP_VALUES.write(self.relative[block], 1),
                values=self.values[block],
            )
        return step


def _patch_values(
    positions: Positions,
    images: Int[np.ndarray, "latents n"],
    top: Float[np.ndarray, "latents n"],
    n_images: int,
) -> UInt8[np.ndarray, "latents n patches"]:
    """Go through all firings once, and keep those of the images of each latent."""
    latent, place = np.nonzero(images < n_images)
    key = latent * n_images + images[latent, place]
    order = np.argsort(key)
    key, slot = key[order], (latent * images.shape[1] + place)[order]
    rows, columns = positions.grid
    values = np.zeros((images.size, rows * columns), np.uint8)
    for part in positions:
        wanted = part.latent.astype(np.int64) * n_images + part.image
        at = np.minimum(np.searchsorted(key, wanted), max(len(key) - 1, 0))
        shown = key[at] == wanted if len(key) else np.zeros(len(wanted), bool)
        at = slot[at[shown]]
        # The image's largest came out of other batches, and may differ in the last digit.
        share = np.minimum(part.activation[shown] / top.ravel()[at], 1)
        values[at, part.patch[shown]] = np.rint(255 * share)
    return values.reshape(*images.shape, -1)
