"""Class identity: every label of a dataset becomes a WordNet id, or an id of the user's taxonomy.

An id of the user's taxonomy may be any text.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from cladescope.files import read_text
from cladescope.images.sources.base import Listing
from cladescope.images.sources.faults import raise_faults
from cladescope.images.sources.label_files import parse_table

WNID = re.compile(r"n\d{8}")
IMAGENET_1K = "imagenet-1k"


def read_wnid_map(wnids: str, own_ids: bool = False) -> dict[str, str]:
    """Return the wnid of each label.

    Parameters
    ----------
    wnids
        `imagenet-1k`, whose labels are timm's 0..999, or the path of a CSV file with the columns
        label and wnid.
    own_ids
        Whether classes are those of the user's own taxonomy, whose ids may be any text.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it lacks a column; lists every row without a wnid and every
        label that has two.
    """
    if wnids == IMAGENET_1K:
        # Imported here, as it loads torch.
        from timm.data import ImageNetInfo

        names = ImageNetInfo(IMAGENET_1K).label_names()
        return {str(number): wnid for number, wnid in enumerate(names)}
    if not Path(wnids).is_file():
        raise FileNotFoundError(f"{wnids} does not exist; correct the dataset's wnids")
    table = parse_table(wnids, read_text(wnids))
    if not {"label", "wnid"} <= set(table.columns):
        raise ValueError(f"{wnids} has the columns {', '.join(table.columns)}; name label and wnid")
    twice = table.loc[table["label"].duplicated(), "label"].unique()
    raise_faults(
        wnids,
        [f"label {label!r}: is in several rows; keep one" for label in twice]
        + [
            f"label {label!r}: {wnid!r} is not a WordNet id such as n02084071; correct it"
            for label, wnid in zip(table["label"], table["wnid"], strict=True)
            if not (own_ids or WNID.fullmatch(wnid))
        ],
    )
    return dict(zip(table["label"], table["wnid"], strict=True))


def wnids_of(
    listing: Listing, wnid_map: Mapping[str, str], where: str, own_ids: bool = False
) -> list[str]:
    """Return the wnid of each of a listing's labels, or its id in the user's own taxonomy.

    The first that there is: what the map says of the label, what it says of the source's name of
    the class, that name, the label itself.

    Raises
    ------
    ValueError
        Lists every label that has no wnid, or whose name in the source is another wnid than the
        map's.
    """
    names = [listing.names.get(label, label) for label in listing.classes]
    wnids = [
        wnid_map.get(label, wnid_map.get(name, name))
        for label, name in zip(listing.classes, names, strict=True)
    ]
    if own_ids:
        return wnids
    faults = []
    for label, name, wnid in zip(listing.classes, names, wnids, strict=True):
        if not WNID.fullmatch(wnid):
            shown = label if name == label else f"{label} ({name})"
            faults.append(
                f"{shown}: not a WordNet id such as n02084071; rename or remove the class, or give "
                "a map from labels in the dataset's wnids"
            )
        elif wnid != name and WNID.fullmatch(name):
            faults.append(
                f"{label}: {name} in the dataset, {wnid} by the dataset's wnids; drop one"
            )
    raise_faults(where, faults)
    return wnids
