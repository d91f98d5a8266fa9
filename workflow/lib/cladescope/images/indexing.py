"""Making the index of a split: every image is read, decoded and hashed once."""

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cladescope.images.classes import wnids_of
from cladescope.images.index import SHA256_BYTES, ImageIndex, decode_image, sha256_of
from cladescope.images.sources.base import ImageSource, Listing
from cladescope.images.sources.faults import raise_faults
from cladescope.images.sources.huggingface import HuggingFace, list_rows
from cladescope.images.sources.image_folder import ImageFolder, list_folder
from cladescope.images.sources.webdataset import WebDataset, list_tars
from cladescope.jobs import progress

BLOCK = 256
"""Images per task of a thread: with one task per image, a million tasks would be in memory."""


class _Checked(NamedTuple):
    sha256: bytes
    reason: str
    """Why the image is bad; empty if it is not."""


def list_images(source: ImageSource, **options: Any) -> Listing:
    """List a source's images without opening them; `options` are those of the source's kind."""
    match source:
        case ImageFolder():
            return list_folder(source, **options)
        case WebDataset():
            return list_tars(source, **options)
        case HuggingFace():
            return list_rows(source, **options)
    raise TypeError(f"no way to list the images of a {type(source).__name__}")


def index_images(
    source: ImageSource,
    wnid_map: Mapping[str, str] | None = None,
    own_ids: bool = False,
    expected: int | None = None,
    on_bad_image: str = "fail",
    threads: int = 1,
    **options: Any,
) -> tuple[ImageIndex, pd.DataFrame]:
    """List a source's images, give each a wnid, and read, decode and hash each once.

    Parameters
    ----------
    wnid_map
        Wnid of each label that is not a wnid itself.
    own_ids
        Whether classes are those of the user's own taxonomy, whose ids may be any text.
    expected
        Number of images that the split must have.
    on_bad_image
        `fail`, or `skip` to leave bad images out.
    options
        Passed on to `list_images`.

    Returns
    -------
    index, skipped
        `skipped` has the columns path, wnid, reason of the images that were left out.

    Raises
    ------
    FileNotFoundError, ValueError
        From the listing; or lists every label without a wnid; or, unless they are skipped, lists
        every image that does not decode.
    """
    listing = list_images(source, **options)
    where = source.root
    wnids = np.array(wnids_of(listing, wnid_map or {}, where, own_ids))
    if expected is not None and len(listing) != expected:
        raise ValueError(
            f"{where} holds {len(listing)} images, expected_images says {expected}; complete the "
            "dataset or correct the number"
        )
    hashes = np.empty((len(listing), SHA256_BYTES), np.uint8)
    reasons: dict[int, str] = {}
    for row, checked in enumerate(_check_all(source, listing, threads)):
        hashes[row] = np.frombuffer(checked.sha256, np.uint8)
        if checked.reason:
            reasons[row] = checked.reason
    bad = [f"{source.locate(listing.paths[row])}: {reason}" for row, reason in reasons.items()]
    if on_bad_image == "fail":
        raise_faults(
            where,
            [f"{fault}; replace or remove it, or set on_bad_image: skip" for fault in bad],
        )
    for fault in bad:
        logging.warning("skipped: %s", fault)
    rows = np.array(list(reasons), dtype=np.int64)
    skipped = pd.DataFrame(
        {
            "path": listing.paths[rows].astype(object),
            "wnid": wnids[listing.labels[rows]],
            "reason": list(reasons.values()),
        }
    )
    kept = np.ones(len(listing), bool)
    kept[rows] = False
    if not kept.any():
        raise ValueError(f"{where} holds no image that decodes; see the log")
    classes, labels = np.unique(wnids[listing.labels[kept]], return_inverse=True)
    index = ImageIndex(
        paths=listing.paths[kept],
        labels=labels.astype(np.int32),
        wnids=classes.tolist(),
        sha256=hashes[kept],
        spans=None if listing.spans is None else listing.spans[kept],
    )
    logging.info("%d images of %d classes, %d skipped", len(index), len(index.wnids), len(skipped))
    return index, skipped


def _check_all(source: ImageSource, listing: Listing, threads: int) -> Iterator[_Checked]:
    def check(start: int) -> list[_Checked]:
        rows = range(start, min(start + BLOCK, len(listing)))
        return [_check(source, listing, row) for row in rows]

    with ThreadPoolExecutor(threads) as pool:
        blocks = pool.map(check, range(0, len(listing), BLOCK))
        yield from progress(chain.from_iterable(blocks), len(listing), "indexing images")


def _check(source: ImageSource, listing: Listing, row: int) -> _Checked:
    try:
        content = source.read(listing, row)
        decode_image(content)
    except OSError as error:
        return _Checked(bytes(SHA256_BYTES), f"cannot be read ({error.strerror or error})")
    except ValueError as error:
        return _Checked(bytes(SHA256_BYTES), str(error))
    return _Checked(sha256_of(content), "")
