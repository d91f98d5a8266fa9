"""Images as files: one folder per class, or a list of paths and labels."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cladescope.images.index import ImageIndex, is_image
from cladescope.images.sources.base import ImageSource, Listing
from cladescope.images.sources.faults import is_utf8, raise_faults
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


def list_folder(
    source: ImageFolder, label_file: str | None = None, follow_links: bool = False
) -> Listing:
    """List a folder of class folders, or the images that `label_file` names.

    Hidden files and folders (`.ipynb_checkpoints`, macOS's `._7.jpg`) are no part of the dataset.

    Parameters
    ----------
    follow_links
        Whether symbolic links may lead out of the folder.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist or holds no class folder.
    ValueError
        Lists every class folder without an image, or every fault of the label file; every link that
        leads out of the folder, unless they may, and every name that is not UTF-8.
    """
    folder = Path(source.folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; set the dataset's folders in config")
    tree = _Tree(folder, follow_links)
    listing = _class_folders(tree) if label_file is None else _labelled(tree, label_file)
    raise_faults(str(folder), sorted(tree.faults))
    return listing


class _Tree:
    """The images of a folder; what is wrong with them gathers in `faults`."""

    def __init__(self, folder: Path, follow_links: bool):
        self.folder = folder
        self.faults: list[str] = []
        self._inside = None if follow_links else folder.resolve()

    def classes(self) -> list[str]:
        """Return the names of the folders, sorted."""
        with os.scandir(self.folder) as entries:
            kept = [
                entry.name for entry in entries if entry.is_dir() and self.takes(Path(entry.path))
            ]
        return sorted(kept)

    def images(self, below: str = "") -> list[str]:
        """Return the paths of the images in a folder within this one, at any depth, sorted."""
        found, left = [], [below]
        while left:
            parent = left.pop()
            with os.scandir(self.folder / parent) as entries:
                for entry in entries:
                    path = f"{parent}/{entry.name}" if parent else entry.name
                    if entry.is_dir() and self.takes(Path(entry.path)):
                        if entry.is_symlink():
                            self.faults.append(
                                f"{entry.path}: a link to a folder, which may lead in circles; "
                                "only class folders may be links"
                            )
                        else:
                            left.append(path)
                    elif is_image(entry.name) and self.takes(Path(entry.path)):
                        found.append(path)
        return sorted(found)

    def takes(self, path: Path) -> bool:
        """Return whether a file or folder is part of the dataset."""
        if path.name.startswith("."):
            return False
        if not is_utf8(path.name):
            self.faults.append(f"{os.fsencode(path)!r}: the name is not UTF-8; rename it")
            return False
        return not path.is_symlink() or self.stays(path)

    def stays(self, path: Path) -> bool:
        """Return whether a path leads to a place within the folder, or may lead out of it."""
        if self._inside is None or (target := path.resolve()).is_relative_to(self._inside):
            return True
        self.faults.append(
            f"{path}: links lead out of the folder, to {target}; set the dataset's follow_links: "
            "true if they may"
        )
        return False


def _class_folders(tree: _Tree) -> Listing:
    classes = tree.classes()
    if not classes and not tree.faults:
        raise FileNotFoundError(
            f"{tree.folder} holds no class folders; expected one per wnid, or set the dataset's "
            "label_files if its images are all in one folder"
        )
    files = {name: tree.images(name) for name in classes}
    tree.faults += [
        f"{tree.folder / name}: the class folder holds no image; add images or remove it"
        for name, paths in files.items()
        if not paths
    ]
    return Listing(
        paths=_strings([path for group in files.values() for path in group]),
        labels=np.repeat(np.arange(len(classes)), [len(group) for group in files.values()]),
        classes=classes,
    )


def _labelled(tree: _Tree, label_file: str) -> Listing:
    folder = tree.folder
    names, labels = read_label_file(label_file)
    if names is None:
        names = tree.images()
        if len(names) != len(labels):
            raise ValueError(
                f"{label_file} holds {len(labels)} labels, one a line in the order of the file "
                f"names, but {folder} holds {len(names)} images; complete the one that is short"
            )
    else:
        names = _complete(folder, names, label_file)
        for name in names:
            tree.takes(folder / name)
        for parent in {Path(name).parent for name in names}:
            tree.stays(folder / parent)
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


def _strings(values: list[str]) -> np.ndarray:
    return np.array(values, dtype=np.dtypes.StringDType())
