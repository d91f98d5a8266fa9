"""Hugging Face datasets from the local cache, through timm's reader (`hfds/`).

Offline: the user fetches a dataset once with `datasets.load_dataset`, or has it as a folder of
parquet files. No code of a dataset is ever run.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from cladescope.images.index import ImageIndex
from cladescope.images.sources.base import ImageSource, Listing


@dataclass(frozen=True)
class HuggingFace(ImageSource):
    """One split of a dataset; an image's path is `{split}/{row}`."""

    name: str
    """Name on the hub, or the path of a folder of parquet files."""
    split: str
    cache: str | None = None
    """Folder of the cache; the library's own by default."""
    image_column: str = "image"
    label_column: str = "label"

    def read(self, images: ImageIndex | Listing, row: int) -> bytes:
        """Return the undecoded bytes of a row's image."""
        reader = _reader(self)
        number = int(images.paths[row].rpartition("/")[2])
        if number >= len(reader):
            raise FileNotFoundError(f"{self.locate(images.paths[row])} does not exist")
        try:
            file, _ = reader[number]
        except (AssertionError, TypeError) as error:
            raise OSError("the row holds no image") from error
        with file:
            return file.read()

    @property
    def root(self) -> str:
        """The dataset's name."""
        return self.name


def list_rows(source: HuggingFace) -> Listing:
    """List a split's rows with their labels, without reading an image.

    A label is the value of the label column as text; the names of a class column go with it.

    Raises
    ------
    FileNotFoundError, ValueError
        If the dataset is not in the cache, or lacks the split or a column; says what it has.
    """
    dataset = _reader(source).dataset
    label = source.label_column
    # Where there is no image column, the reader adds an empty one.
    without_images = dataset.data.column(source.image_column).null_count == len(dataset)
    missing = {source.image_column} if without_images else set()
    missing |= {label} - set(dataset.column_names)
    if missing:
        columns = [name for name in dataset.column_names if name not in missing]
        raise ValueError(
            f"dataset {source.name} has no column {', '.join(sorted(missing))}; correct the "
            f"dataset's columns (it has {', '.join(columns)})"
        )
    table = dataset.select_columns([label]).with_format("arrow")[:]
    # Rows of a test split may have no label, or -1.
    column = table[label].cast(pa.string()).fill_null("").combine_chunks().dictionary_encode()
    classes = column.dictionary.to_pylist()
    named = dict(enumerate(getattr(dataset.features[label], "names", [])))
    return Listing(
        paths=np.array(
            [f"{source.split}/{row}" for row in range(len(column))], dtype=np.dtypes.StringDType()
        ),
        labels=column.indices.to_numpy(),
        classes=classes,
        names={text: named[int(text)] for text in classes if named and int(text or -1) in named},
    )


@lru_cache(4)
def _reader(source: HuggingFace) -> Any:
    """Return timm's reader, made once in each process; it maps the cached files into memory."""
    # Imported here: both take seconds, and other sources do not need them.
    import datasets
    from timm.data.readers import create_reader

    # Only this library's switch: the hub stays open for weights.
    datasets.config.HF_HUB_OFFLINE = True
    try:
        return create_reader(
            f"hfds/{source.name}",
            root=source.cache,
            split=source.split,
            input_key=source.image_column,
            target_key=source.label_column,
        )
    except (ConnectionError, FileNotFoundError) as error:
        cache = source.cache or datasets.config.HF_DATASETS_CACHE
        raise FileNotFoundError(
            f"the dataset {source.name} is not in the cache {cache} ({error}); "
            "fetch it once with datasets.load_dataset, or correct the dataset's name and cache"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"dataset {source.name}, split {source.split!r}: {error}; correct the dataset's "
            "hub_splits"
        ) from error
