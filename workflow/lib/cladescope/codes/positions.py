"""Codes with their places: which latents fire on which patches, kept of some of the images."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from cladescope.codes.encode import encoder_of
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.files import reading, write_aside

SCHEMA = pa.schema(
    {"image": pa.int32(), "patch": pa.int32(), "latent": pa.int32(), "activation": pa.float32()}
)
_STREAM = 17


@dataclass(frozen=True)
class PositionsSpec:
    """Of which images the codes of every patch are kept."""

    images: int
    """Evaluation images of each class, at random; all if there are fewer."""
    seed: int

    def chosen(self, labels: Int[np.ndarray, " images"]) -> Int[np.ndarray, " chosen"]:
        """Return ids, ascending. With fewer images of a class it is a part of the same ones."""
        order = np.random.default_rng((self.seed, _STREAM)).permutation(len(labels))
        by_class = order[np.argsort(labels[order], kind="stable")]
        of = labels[by_class]
        place = np.arange(len(of)) - np.searchsorted(of, of)
        return np.sort(by_class[place < self.images])


class Firings(NamedTuple):
    """Activations z > 0, sorted by image, patch and latent."""

    image: Int[np.ndarray, " nonzeros"]
    """Id in the evaluation split."""
    patch: Int[np.ndarray, " nonzeros"]
    """Row by row from the top left."""
    latent: Int[np.ndarray, " nonzeros"]
    activation: Float[np.ndarray, " nonzeros"]


def keep_positions(
    dictionary: Dictionary,
    blocks: Iterable[Float[np.ndarray, "images tokens d"]],
    images: Int[np.ndarray, " images"],
    grid: tuple[int, int],
    path: str | Path,
    stored: Int[np.ndarray, "images tokens"] | None = None,
) -> None:
    """Write the codes of all stored patches of some images (Parquet, a row group for each block).

    Parameters
    ----------
    blocks
        Raw activations of these images in their order, cut as memory allows.
    images
        Ids, ascending.
    grid
        Rows and columns of the backbone's patches.
    stored
        Which patches of each image the store has; None for all.

    Raises
    ------
    ValueError
        As `Dictionary.normalise` does.
    """
    encode = encoder_of(dictionary)
    about = {"grid": grid, "images": images.tolist(), "width": dictionary.width}
    schema = SCHEMA.with_metadata({"about": json.dumps(about)})
    start = 0
    with write_aside(path) as aside, pq.ParquetWriter(aside, schema, compression="zstd") as writer:
        for x in blocks:
            n, tokens, d = x.shape
            z = encode(dictionary.normalise(x.reshape(-1, d)))
            row, latent = np.nonzero(z)
            of, patch = np.divmod(row, tokens)
            columns = {
                "image": images[start + of],
                "patch": patch if stored is None else stored[start + of, patch],
                "latent": latent,
                "activation": z[row, latent],
            }
            arrays = [pa.array(columns[field.name], field.type) for field in schema]
            writer.write_table(pa.table(arrays, schema), row_group_size=max(1, len(row)))
            start += n


@dataclass(frozen=True, eq=False)
class Positions:
    """What `keep_positions` wrote; firings are read when they are asked for."""

    path: Path
    images: Int[np.ndarray, " images"]
    """Ids of those that were looked at, ascending."""
    grid: tuple[int, int]
    """Rows and columns of patches."""
    width: int

    @classmethod
    def open(cls, path: str | Path) -> "Positions":
        """Read what the file says of itself."""
        with reading(path):
            about = json.loads(pq.read_schema(path).metadata[b"about"])
        rows, columns = about["grid"]
        return cls(Path(path), np.array(about["images"], int), (rows, columns), about["width"])

    def __iter__(self) -> Iterator[Firings]:
        """Yield the firings of a few images at a time."""
        with reading(self.path), pq.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                yield _firings(file.read_row_group(group))

    def of_image(self, image: int) -> csr_array:
        """Return float32 (patches, latents) of one image; only its part of the file is read.

        Raises
        ------
        ValueError
            If nothing was kept of the image.
        """
        if image not in self.images:
            raise ValueError(
                f"{self.path} holds {len(self.images)} images, {image} is none of them"
            )
        with reading(self.path):
            part = _firings(pq.read_table(self.path, filters=[("image", "==", image)]))
        shape = (self.grid[0] * self.grid[1], self.width)
        return csr_array((part.activation, (part.patch, part.latent)), shape)


def _firings(table: pa.Table) -> Firings:
    return Firings(*(table[name].to_numpy() for name in Firings._fields))
