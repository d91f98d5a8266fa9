"""Sparse codes: which latents fire on which images, and how strongly. Never dense."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cladescope.files import reading, write_aside


@dataclass(frozen=True)
class Codes:
    """Activations z > 0 of a dictionary's latents, sorted by image, then latent."""

    image: np.ndarray
    """int32 (nonzeros,): image id."""
    latent: np.ndarray
    """int32 (nonzeros,)."""
    activation: np.ndarray
    """float32 (nonzeros,): z > 0, in units of the normalised activations."""
    n_images: int
    width: int

    def save(self, path: str | Path) -> None:
        """Write a parquet file: columns image, latent, activation; sizes in the metadata."""
        table = pa.table(
            {"image": self.image, "latent": self.latent, "activation": self.activation}
        ).replace_schema_metadata({"n_images": str(self.n_images), "width": str(self.width)})
        with write_aside(path) as aside:
            pq.write_table(table, aside, compression="zstd")

    @classmethod
    def load(cls, path: str | Path) -> "Codes":
        """Read what `save` wrote."""
        with reading(path):
            table = pq.read_table(path)
        metadata = table.schema.metadata
        return cls(
            image=table["image"].to_numpy(),
            latent=table["latent"].to_numpy(),
            activation=table["activation"].to_numpy(),
            n_images=int(metadata[b"n_images"]),
            width=int(metadata[b"width"]),
        )
