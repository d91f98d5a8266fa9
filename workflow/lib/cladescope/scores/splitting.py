"""Which images choose, and which measure: as many of each class, as far as that is possible."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cladescope.scores.spec import ScoreSpec

# Stream of the seed; the others are in nulls.py.
_SPLIT_STREAM = 2

log = logging.getLogger(__name__)


def can_level(labels: np.ndarray, n_classes: int, *, separate: bool = True) -> bool:
    """Say whether every class has an image for each half, so that classes can be levelled."""
    return bool(np.bincount(labels, minlength=n_classes).min() >= 1 + separate)


def split_halves(
    labels: np.ndarray,
    seed: int,
    groups: np.ndarray | None = None,
    *,
    separate: bool = True,
    level: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the images that choices are made on, and those that they are measured on.

    Of each class, at random, as many as the smallest class has: were the classes of one subtree
    larger than others, images drawn at random would have much in common, which permuting the
    leaves takes away. The first half of these choose, rounded down. Of groups none is left out.

    Parameters
    ----------
    labels
        Int (n_images,).
    groups
        Int (n_images,), from 0: images of a group come into the same half. The larger groups come
        first (ties at random), each into the half that has fewer images of its classes (ties at
        random), so that classes are halved as far as groups allow.
    separate
        False makes all of the images both halves.
    level
        False takes all images of every class.

    Returns
    -------
    Two bool (n_images,).

    Raises
    ------
    ValueError
        If all images are of one group.

    Examples
    --------
    >>> choose, score = split_halves(np.array([0, 0, 0, 0, 0, 1, 1]), seed=0)
    >>> int(choose.sum()), int(score.sum()), bool((choose & score).any())
    (2, 2, False)
    """
    random = np.random.default_rng((seed, _SPLIT_STREAM))
    if groups is not None and separate:
        first = _split_groups(labels, groups, random)
        return first, ~first
    size, rank = np.bincount(labels), places_in_group(labels, random)
    kept = np.full(len(size), size.min()) if level else size
    taken, half = rank < kept[labels], rank < kept[labels] // 2
    return (taken & half, taken & ~half) if separate else (taken, taken)


def places_in_group(member: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Put the images of each group in a random order.

    Parameters
    ----------
    member
        Int (n_images,), from 0; −1 for none.

    Returns
    -------
    The place of each image in its group, from 0; −1 for those of none.
    """
    order = np.lexsort((random.random(len(member)), member))
    of = member[order]
    place = np.empty(len(member), np.int64)
    place[order] = np.arange(len(member)) - np.searchsorted(of, of)
    place[member < 0] = -1
    return place


def _split_groups(
    labels: np.ndarray, groups: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    size = np.bincount(groups)
    if np.count_nonzero(size) < 2:
        raise ValueError(
            "all evaluation images are of one group, which cannot be split into halves; remove the "
            "dataset's `group`, or set scores.split_selection: false"
        )
    draw, coin = random.random((2, len(size)))
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(size)[:-1])
    first = np.zeros(len(labels), bool)
    # Images of each class in the half of choices, less those in the other.
    lead = np.zeros(labels.max() + 1, np.int64)
    for group in np.lexsort((draw, -size)):
        classes = labels[members[group]]
        ahead = lead[classes].sum()
        chosen = ahead < 0 or (ahead == 0 and coin[group] < 0.5)
        first[members[group]] = chosen
        np.add.at(lead, classes, 1 if chosen else -1)
    return first


def split_and_warn(
    labels: np.ndarray, wnids: Sequence[str], spec: ScoreSpec, groups: np.ndarray | None
) -> tuple[tuple[np.ndarray, np.ndarray], ScoreSpec]:
    """Draw the halves as `split_halves` does, and log what the sizes of classes cost.

    Parameters
    ----------
    labels
        Int (n_images,), positions in `wnids`.
    groups
        As of `split_halves`.

    Returns
    -------
    The halves; and the spec, without draws of permuted leaves where classes cannot be levelled.
    """
    separate = spec.split_selection
    level = can_level(labels, len(wnids), separate=separate)
    parts = split_halves(labels, spec.seed, groups, separate=separate, level=level)
    if level:
        _warn_of_sizes(labels, parts, wnids)
        return parts, spec
    size = np.bincount(labels, minlength=len(wnids))
    log.warning(
        "%s: %d images, where the largest class has %d: classes cannot be levelled in size, so "
        "that permuted leaves are no null, and p-values and permuted nulls are left out; add "
        "images of these classes, or leave them out",
        ", ".join(wnids[c] for c in np.flatnonzero(size == size.min())[:5]),
        size.min(),
        size.max(),
    )
    undrawn = replace(spec.sensitivity, draws=0)
    return parts, replace(spec, null_draws=0, p_draws=0, sensitivity=undrawn)


def _warn_of_sizes(
    labels: np.ndarray, parts: tuple[np.ndarray, np.ndarray], wnids: Sequence[str]
) -> None:
    """Log how many images are left out and why, and whether classes differ in size for all that."""
    n_images, size = int((parts[0] | parts[1]).sum()), np.bincount(labels, minlength=len(wnids))
    if n_images < len(labels):
        log.warning(
            "%d of %d images are scored, %.0f%% are left out: as many of each class as the "
            "smallest has",
            n_images,
            len(labels),
            100 * (1 - n_images / len(labels)),
        )
        small = np.flatnonzero(size < np.median(size) / 2)
        if len(small):
            small = small[np.argsort(size[small], kind="stable")]
            log.warning(
                "the median class has %g images; %d classes have less than half of that, which "
                "costs all others theirs: %s; add images of these classes, or leave them out of "
                "the dataset",
                np.median(size),
                len(small),
                ", ".join(f"{wnids[c]} ({size[c]})" for c in small[:5]),
            )
    sizes = [np.bincount(labels[part], minlength=labels.max() + 1) for part in parts]
    if any(size.min() < size.max() for size in sizes):
        least, most = min(size.min() for size in sizes), max(size.max() for size in sizes)
        log.warning(
            "classes have %d to %d images in a half: if those of a subtree have more than others, "
            "p-values of permuted leaves are too small",
            least,
            most,
        )
