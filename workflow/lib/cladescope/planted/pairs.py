"""Pairs of images in one scene that differ in one thing: a part of the object, or its class.

As the parts and whose they are is known, a node's classes can be drawn without the outline that
they share, a leaf without what is its own, and another leaf in its place. The result is a table as
anyone may bring one (docs/causes.md), and the images that it names.
"""

import csv
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cladescope.files import write_aside
from cladescope.names import ACROSS, ADDED, LEAF, OTHER, PAIR_COLUMNS, WITHIN
from cladescope.planted.leaves import LEAF_WNIDS, LEAVES, OWNERS, Leaf, draw
from cladescope.planted.rendering import compose, scene_number, write_png
from cladescope.planted.scenes import SPLITS, PlantedSpec, draw_scene

SPLIT = SPLITS[2]
_PARTNER_STREAM = 1
BY_WNID = {leaf.wnid: leaf for leaf in LEAVES}


class Drawn(NamedTuple):
    """What stands in a scene: a leaf, some of its parts left out."""

    wnid: str
    without: tuple[str, ...] = ()


class Pair(NamedTuple):
    """Two things that stand in the same scene, in the columns of a table of pairs."""

    image: Drawn
    counterpart: Drawn
    node: str
    change: str


def render_pairs(
    spec: PlantedSpec,
    scenes_per_class: int,
    nodes: Mapping[str, Collection[str]],
    folder: str | Path,
    table_path: str | Path,
) -> None:
    """Render the pairs of every leaf to PNG files, and list them.

    Both are written under another name and renamed when complete. No scene is one of another split.
    Pairs whose images turn out equal, as a part lies outside, are left out.

    Parameters
    ----------
    spec
        Of the world.
    scenes_per_class
        At least 1; more only add scenes.
    nodes
        The leaves under each internal node of the taxonomy.
    folder
        Gets the images, `{wnid}/{scene}.png` for the leaf itself and others beside it; what was
        there is replaced.
    table_path
        Gets a CSV file with the columns of `names.PAIR_COLUMNS`, paths relative to its folder.

    Raises
    ------
    ValueError
        If `scenes_per_class` is below 1.
    OSError
        If a file cannot be written, with its path.
    """
    if scenes_per_class < 1:
        raise ValueError(f"scenes_per_class must be at least 1, not {scenes_per_class}")
    # Paths are written as they will be: the folder has another name until it is complete.
    inside = Path(folder).relative_to(Path(table_path).parent)
    with write_aside(folder) as aside, write_aside(table_path) as table_aside:
        rows: list[tuple[str, str, str, str]] = []
        for leaf in LEAVES:
            (aside / leaf.wnid).mkdir(parents=True)
            for index in range(scenes_per_class):
                rows += _render(leaf, index, spec, nodes, aside)
        with table_aside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(PAIR_COLUMNS)
            for image, counterpart, *rest in rows:
                writer.writerow([f"{inside}/{image}", f"{inside}/{counterpart}", *rest])


def pairs_of(
    leaf: Leaf, nodes: Mapping[str, Collection[str]], random: np.random.Generator
) -> Iterator[Pair]:
    """Yield what is compared with a leaf in one of its scenes, for every node above it.

    The leaf that takes its place is drawn among all others of the node, or of those outside.
    """
    whole = Drawn(leaf.wnid)
    own = tuple(part for part in leaf.parts if OWNERS[part] == {leaf.wnid})
    above = sorted(node for node, leaves in nodes.items() if leaf.wnid in leaves)
    shared = {
        node: parts
        for node in above
        if (parts := tuple(part for part in leaf.parts if OWNERS[part] == set(nodes[node])))
    }
    # One order for all nodes: a leaf that stands in for this one serves as many as possible.
    order = [LEAF_WNIDS[place] for place in random.permutation(len(LEAF_WNIDS))]
    others = [wnid for wnid in order if wnid != leaf.wnid]
    for node in above:
        for owner, parts in shared.items():
            change = ADDED if owner == node else OTHER
            yield Pair(Drawn(leaf.wnid, parts), whole, node, change)
        # Without its own parts nothing would be left of a leaf that shares none.
        if own and len(own) < len(leaf.parts):
            yield Pair(Drawn(leaf.wnid, own), whole, node, LEAF)
        inside = next((wnid for wnid in others if wnid in nodes[node]), None)
        outside = next((wnid for wnid in others if wnid not in nodes[node]), None)
        if inside is not None:
            yield Pair(whole, Drawn(inside), node, WITHIN)
        if outside is not None:
            yield Pair(Drawn(outside), whole, node, ACROSS)


def _render(
    leaf: Leaf, index: int, spec: PlantedSpec, nodes: Mapping[str, Collection[str]], folder: Path
) -> Iterator[tuple[str, str, str, str]]:
    """Write the images of one scene, and yield their rows of the table."""
    number = scene_number(leaf.wnid, index)
    scene = draw_scene(spec, SPLIT, number)
    stream = [spec.seed, SPLITS.index(SPLIT), number, _PARTNER_STREAM]
    pixels: dict[Drawn, np.ndarray] = {}
    names: dict[Drawn, str] = {}

    def name_of(drawn: Drawn) -> str:
        if drawn not in names:
            parts = [f"{index:05d}", *([drawn.wnid] if drawn.wnid != leaf.wnid else [])]
            parts += [f"without_{part.replace(' ', '_')}" for part in drawn.without]
            names[drawn] = f"{leaf.wnid}/{'_'.join(parts)}.png"
            write_png(folder / names[drawn], pixels[drawn])
        return names[drawn]

    for pair in pairs_of(leaf, nodes, np.random.default_rng(stream)):
        for drawn in pair[:2]:
            if drawn not in pixels:
                pixels[drawn], _ = compose(scene, draw(BY_WNID[drawn.wnid], drawn.without))
        if not np.array_equal(pixels[pair.image], pixels[pair.counterpart]):
            yield name_of(pair.image), name_of(pair.counterpart), pair.node, pair.change
