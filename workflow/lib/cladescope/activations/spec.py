"""What is extracted, and how."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from cladescope.backbone.backbone import BackboneSpec
from cladescope.images.index import ImageIndex
from cladescope.images.sources import ImageSource

Place = tuple[int, str]
"""Layer (from 1) and token kind: what one store holds."""
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


@dataclass(frozen=True, eq=False)
class Extraction:
    """A pass over a split: what is read by which network, and what depends on it."""

    index: ImageIndex
    source: ImageSource
    backbone: BackboneSpec
    spec: ExtractionSpec
    code: str = ""
    """Fingerprint of the code, part of what shards depend on."""
    threads: int = 1
    """One computes and the others decode; without a GPU, one decodes and the others compute."""
