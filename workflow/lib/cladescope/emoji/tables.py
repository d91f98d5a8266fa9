"""Which icon of which vendor shows which synset, and where the icons come from."""

import csv
from dataclasses import dataclass
from pathlib import Path

from cladescope.layout import SPLITS


@dataclass(frozen=True)
class Vendor:
    """A set of icons, as a package of the npm registry."""

    name: str
    split: str
    """The split that its pictures are for where the vendors of the splits are apart."""
    package: str
    version: str
    integrity: str
    """`sha512-` and the base64 hash of the package's archive."""
    creator: str
    licence: str
    source: str
    """Address of the original drawings."""


@dataclass(frozen=True)
class Noun:
    """A class: a WordNet noun, and the icons that show it in the sense of its definition."""

    wnid: str
    synset: str
    definition: str
    icons: dict[str, str]
    """Name of the icon by vendor, of those that have one of this sense."""


def read_vendors(path: str | Path) -> list[Vendor]:
    """Read `resources/emoji/vendors.csv`; a ValueError names a row of an unknown split."""
    with Path(path).open(newline="") as file:
        vendors = [Vendor(**row) for row in csv.DictReader(file)]
    if wrong := [vendor.name for vendor in vendors if vendor.split not in SPLITS]:
        raise ValueError(f"{path}: {', '.join(wrong)}: the split must be one of {SPLITS}")
    return vendors


def read_nouns(path: str | Path, vendors: list[Vendor]) -> list[Noun]:
    """Read `resources/emoji/nouns.csv`: a column for each vendor, empty where it has no such icon.

    Raises
    ------
    ValueError
        Lists every noun without an icon of a vendor of each split.
    """
    with Path(path).open(newline="") as file:
        rows = list(csv.DictReader(file))
    nouns = [
        Noun(
            wnid=row["wnid"],
            synset=row["synset"],
            definition=row["definition"],
            icons={vendor.name: row[vendor.name] for vendor in vendors if row[vendor.name]},
        )
        for row in rows
    ]
    lacking = [
        f"{noun.synset}: no icon of a vendor for {split}"
        for noun in nouns
        for split in SPLITS
        if not any(vendor.split == split for vendor in vendors if vendor.name in noun.icons)
    ]
    if lacking:
        raise ValueError(f"{path}: " + "; ".join(lacking))
    return nouns
