"""Images as files: one folder per class, or a list of paths and labels."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cladescope.images.index import ImageIndex, is_image
from cladescope.images.sources.base import ImageSource, Listing
from cladescope.images.sources.faults import raise_faults
from cladescope.images.sources.label_files import read_label_file


@dataclass(frozen=True)
class ImageFolder(ImageSource):
    """Files below one folder; an image's path is relative to it."""

    folder: str

    def read(self, images: ImageIndex | Listing, row: int) -> bytes:
        """Return the file's bytes."""
        return Path(self.folder, images.paths[row]).read_bytes()

    @property
    def root(self) -> str:
        """The folder."""
        return self.folder


def list_folder(source: ImageFolder, label_file: str | None = None) -> Listing:
    """List a folder of class folders, or the images that `label_file` names.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist or holds no class folder.
    ValueError
        Lists every class folder without an image, or every fault of the label file.
    """
    folder = Path(source.folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; set the dataset's folders in config")
    return _class_folders(folder) if label_file is None else _labelled(folder, label_file)


def _class_folders(folder: Path) -> Listing:
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if not classes:
        raise FileNotFoundError(
            f"{folder} holds no class folders; expected one per wnid, or set the dataset's "
            "label_files if its images are all in one folder"
        )
    files = {name: [f"{name}/{path}" for path in _images(folder / name)] for name in classes}
    raise_faults(
        str(folder),
        [
            f"{folder / name}: the class folder holds no image; add images or remove it"
            for name, paths in files.items()
            if not paths
        ],
    )
    return Listing(
        paths=_strings([path for group in files.values() for path in group]),
        labels=np.repeat(np.arange(len(classes)), [len(group) for group in files.values()]),
        classes=classes,
    )


def _labelled(folder: Path, label_file: str) -> Listing:
    names, labels = read_label_file(label_file)
    if names is None:
        names = list(_images(folder))
        if len(names) != len(labels):
            raise ValueError(
                f"{label_file} holds {len(labels)} labels, one a line in the order of the file "
                f"names, but {folder} holds {len(names)} images; complete the one that is short"
            )
    else:
        names = _complete(folder, names, label_file)
    classes, positions = np.unique(_strings(labels), return_inverse=True)
    return Listing(_strings(names), positions, classes.tolist())


def _complete(folder: Path, names: list[str], label_file: str) -> list[str]:
    """Return the paths, each with the extension of the only file that it can mean."""
    siblings: dict[Path, dict[str, list[str]]] = {}
    completed, faults = [], []
    seen: set[str] = set()
    for name in names:
        path = Path(name)
        if path.is_absolute() or ".." in path.parts:
            faults.append(f"{name}: leads out of {folder}; give paths relative to the folder")
        elif not is_image(name):
            parent = folder / path.parent
            if parent not in siblings:
                siblings[parent] = _by_stem(parent)
            found = siblings[parent].get(path.name, [])
            if len(found) != 1:
                what = f"could be any of {', '.join(found)}" if found else "no such image"
                faults.append(f"{name}: {what} in {parent}; correct the label file")
            else:
                name = path.with_name(found[0]).as_posix()
        if name in seen:
            faults.append(f"{name}: named twice; keep one line for each image")
        seen.add(name)
        completed.append(name)
    raise_faults(label_file, faults)
    return completed


def _by_stem(folder: Path) -> dict[str, list[str]]:
    files: dict[str, list[str]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if is_image(path.name):
            files.setdefault(path.stem, []).append(path.name)
    return files


def _images(folder: Path) -> list[str]:
    """Return the sorted paths of a folder's images, at any depth, relative to it."""

    def walk() -> Iterator[str]:
        for parent, _, names in os.walk(folder):
            below = os.path.relpath(parent, folder)
            for name in names:
                if is_image(name):
                    yield name if below == "." else f"{below}/{name}"

    return sorted(walk())


def _strings(values: list[str]) -> np.ndarray:
    return np.array(values, dtype=np.dtypes.StringDType())
