"""Tar shards: WebDataset samples (`key.jpg` beside `key.cls` or `key.json`), or class folders.

timm reads such shards as a stream (`wds/`), shuffled and without ids. Extraction needs images by
id, a restart at any shard and a hash per image. So the headers are read once, for the index, and
every image is then read at its offset. Nothing is ever unpacked.
"""

import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from cladescope.images.index import ImageIndex, is_image
from cladescope.images.sources.base import ImageSource, Listing
from cladescope.images.sources.faults import is_utf8, raise_faults
from cladescope.jobs import progress

DEFAULT_PATTERN = "*.tar"
OPEN_TARS = 32
MAX_LABEL_BYTES = 1 << 20


@dataclass(frozen=True)
class WebDataset(ImageSource):
    """Plain tar files below one folder; an image's path is `{tar}/{member}`."""

    folder: str

    def read(self, images: ImageIndex | Listing, row: int) -> bytes:
        """Return the bytes of the member at the image's offset."""
        assert images.spans is not None, "an index of tar files has offsets"
        tar = images.paths[row].partition(".tar/")[0] + ".tar"
        offset, size = images.spans[row].tolist()
        # pread leaves the file's position alone, which forked workers share.
        return os.pread(_open(Path(self.folder, tar)).fileno(), size, offset)

    @property
    def root(self) -> str:
        """The folder of the tar files."""
        return self.folder


@lru_cache(OPEN_TARS)
def _open(path: Path) -> FileIO:
    """Return an open file; it closes when it leaves the cache and no thread reads from it."""
    return FileIO(path)


class _Member(NamedTuple):
    name: str
    offset: int
    size: int


def list_tars(source: WebDataset, pattern: str = DEFAULT_PATTERN) -> Listing:
    """List the images of every tar file that matches `pattern`, in the order in which they lie.

    A tar file that has label members (`.cls`, `.json`) holds WebDataset samples: the label of
    `key.jpg` is the text of `key.cls`, or `wnid` or `label` of the object in `key.json`. In any
    other, a label is the name of the member's folder or, without a folder, of the tar file.

    Raises
    ------
    FileNotFoundError
        If no file matches.
    ValueError
        Lists every file that is not a complete, uncompressed tar file and every image without a
        label.
    """
    folder = Path(source.folder)
    tars = sorted(path.relative_to(folder).as_posix() for path in folder.glob(pattern))
    if not tars:
        raise FileNotFoundError(
            f"{folder / pattern} matches no tar file; set the dataset's folders or patterns"
        )
    paths: list[str] = []
    spans: list[tuple[int, int]] = []
    codes: list[int] = []
    classes: dict[str, int] = {}
    faults: list[str] = []
    for tar in progress(tars, len(tars), "reading tar headers"):
        try:
            members = list(_members(folder / tar))
            for member, label in _labelled(folder / tar, members, faults):
                paths.append(f"{tar}/{member.name}")
                spans.append((member.offset, member.size))
                codes.append(classes.setdefault(label, len(classes)))
        except (tarfile.TarError, ValueError, OSError) as error:
            faults.append(f"{folder / tar}: {error}; replace the file")
    raise_faults(str(folder / pattern), faults)
    return Listing(
        paths=np.array(paths, dtype=np.dtypes.StringDType()),
        labels=np.array(codes, dtype=np.int64),
        classes=list(classes),
        spans=np.array(spans, dtype=np.int64).reshape(-1, 2),
    )


def _members(path: Path) -> Iterator[_Member]:
    """Yield the files of a tar file; ValueError if it is compressed, damaged or cut short."""
    if path.suffix != ".tar":
        raise ValueError("not named .tar; images in a compressed file have no offsets; unpack it")
    n_bytes = path.stat().st_size
    with tarfile.open(path, "r:") as tar:
        while (member := tar.next()) is not None:
            if member.isreg() and not 0 <= member.size <= n_bytes - member.offset_data:
                raise ValueError(f"{member.name} reaches beyond the end of the file")
            if PurePosixPath(member.name).name.startswith("."):
                # macOS's tar adds ._7.jpg to 7.jpg: a part of no dataset.
                continue
            if not is_utf8(member.name):
                raise ValueError(f"{os.fsencode(member.name)!r} is no UTF-8 name")
            if member.isreg() and not member.issparse():
                yield _Member(member.name.removeprefix("./"), member.offset_data, member.size)
            elif not member.isdir():
                raise ValueError(f"{member.name} is a link or a special file, not an image")
        # tarfile takes a damaged header for the end.
        with path.open("rb") as file:
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise ValueError(f"damaged or cut short after {tar.offset} bytes")


def _labelled(
    path: Path, members: list[_Member], faults: list[str]
) -> Iterator[tuple[_Member, str]]:
    """Yield the images of one tar file with their labels; add those without one to `faults`."""
    parts: dict[str, dict[str, _Member]] = {"json": {}, "cls": {}}
    samples: list[tuple[str, _Member]] = []
    for member in members:
        key, suffix = _sample(member.name)
        if suffix in parts:
            parts[suffix][key] = member
        elif is_image(f"{key}.{suffix}") and "." not in suffix:
            samples.append((key, member))
    labels = parts["json"] | parts["cls"]
    if any(key in labels for key, _ in samples):
        seen: set[str] = set()
        for key, member in samples:
            if key not in labels:
                faults.append(f"{path}/{member.name}: has no label; add {key}.cls")
            elif key in seen:
                faults.append(f"{path}/{member.name}: second image of its sample; remove one")
            else:
                seen.add(key)
                yield member, _read_label(path, labels[key])
    else:
        for member in members:
            if is_image(member.name):
                yield member, PurePosixPath(member.name).parent.name or path.stem


def _sample(name: str) -> tuple[str, str]:
    """Split a member's name as WebDataset does: at the first dot of its last part."""
    path = PurePosixPath(name)
    key, _, suffix = path.name.partition(".")
    return path.with_name(key).as_posix() if key else name, suffix.lower()


def _read_label(path: Path, member: _Member) -> str:
    if member.size > MAX_LABEL_BYTES:
        raise ValueError(f"{member.name} is too long for a label ({member.size} bytes)")
    content = os.pread(_open(path).fileno(), member.size, member.offset)
    try:
        if member.name.lower().endswith(".cls"):
            return content.decode().strip()
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{member.name} is no label ({error})") from error
    for name in ("wnid", "label"):
        if isinstance(fields, dict) and name in fields:
            return str(fields[name])
    raise ValueError(f"{member.name} has neither a wnid nor a label")
