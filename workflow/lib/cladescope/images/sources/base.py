"""What every source of images offers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from cladescope.images.index import ImageIndex, sha256_of


@dataclass(frozen=True, eq=False)
class Listing:
    """The images of one split before any of them is opened."""

    paths: np.ndarray
    """StringDType (images,): path of each image within its source, in the order of the index."""
    labels: np.ndarray
    """int (images,): position of each image's label in `classes`."""
    classes: list[str]
    """The labels as the source writes them, for example wnids or numbers."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The source's name of a label's class, where it has one besides the label."""
    spans: np.ndarray | None = None
    """int64 (images, 2): offset and size in bytes within a tar file; None for other sources."""

    def __len__(self) -> int:
        return len(self.paths)


class ImageSource(ABC):
    """Where the images of one split lie.

    It holds no open file, so it can be sent to worker processes and used by several threads.
    What only indexing needs is in functions outside the class: extraction depends on this class,
    and must not be run again because a label is parsed differently.
    """

    @abstractmethod
    def read(self, images: ImageIndex | Listing, row: int) -> bytes:
        """Return the undecoded bytes of one image; OSError if they cannot be read."""

    @property
    @abstractmethod
    def root(self) -> str:
        """Name of the source in messages; the paths of its images are relative to it."""

    def locate(self, path: str) -> str:
        """Return the full name of an image, for messages."""
        return f"{self.root}/{path}"

    def read_checked(self, index: ImageIndex, row: int) -> bytes:
        """Return the undecoded bytes of one image.

        Raises
        ------
        ValueError
            If the image is gone or is not the one that was indexed. Layers of one store may be
            extracted months apart: they must see the same images.
        """
        try:
            content = self.read(index, row)
        except FileNotFoundError:
            content = None
        if content is None or sha256_of(content) != index.sha256[row].tobytes():
            raise ValueError(
                f"{self.locate(index.paths[row])} "
                f"{'is gone' if content is None else 'is not the image that was indexed'}; put it "
                "back, or delete the dataset's images/*.parquet to index the images again and redo "
                "what depends on them"
            )
        return content
