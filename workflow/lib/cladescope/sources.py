"""Where a dataset's images come from."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cladescope.images import ImageIndex


@dataclass(frozen=True)
class ImageSource:
    """A folder of image files."""

    folder: Path

    def read_checked(self, index: ImageIndex, row: int) -> bytes:
        """Read an image file and compare it with the index."""
        path = self.folder / index.paths[row]
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != index.sha256[row]:
            raise ValueError(
                f"{path} {'is not the image that was indexed' if content else 'is gone'}; put it "
                "back, or delete the dataset's images/*.parquet to index the images again and redo "
                "what depends on them"
            )
        return content
