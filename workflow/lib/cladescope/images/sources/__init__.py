"""Sources of images: folders, tar shards and Hugging Face datasets behind one interface.

Each source has a file, with the class that reads images, which is sent to worker processes, and the
function that lists the images for the index.
"""

from pathlib import Path
from typing import Any

from cladescope.files import read_json
from cladescope.images.sources.base import ImageSource
from cladescope.images.sources.huggingface import HuggingFace
from cladescope.images.sources.image_folder import ImageFolder
from cladescope.images.sources.webdataset import WebDataset
from cladescope.seals import check_seal, seal_of

_KINDS: dict[str, type[ImageSource]] = {
    "image_folder": ImageFolder,
    "webdataset": WebDataset,
    "huggingface": HuggingFace,
}


def make_source(kind: str, **where: Any) -> ImageSource:
    """Return the source of a kind; `where` holds the fields of its class."""
    return _KINDS[kind](**where)


def source_path(index_path: str | Path) -> Path:
    """Return where the rule `index_images` writes the source's description, beside the index."""
    return Path(index_path).with_suffix(".source.json")


def open_source(index_path: str | Path) -> ImageSource:
    """Return the source that an index was made from.

    Its description lies beside the index and is not an input of the jobs that read images: when a
    dataset moves to another path with the same content, only the index is made again.
    """
    path = source_path(index_path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; delete {index_path} and run again")
    if seal_of(path).exists():
        check_seal(path)
    return make_source(**read_json(path))
