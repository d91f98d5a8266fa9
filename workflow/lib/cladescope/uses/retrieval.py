"""Retrieval: an image's nearest neighbours by cosine among all others.

Images at the same cosine come in any order, and a measure is its mean over these orders, in closed
form (McSherry & Najork 2008, Computing information retrieval performance measures efficiently in
the presence of tied scores). Most pairs of sparse codes have no latent in common and are tied at 0.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from cladescope.compiled import compiled
from cladescope.scores.probes import class_levels
from cladescope.uses.rows import DECIMALS, Rows, unit
from cladescope.uses.table import (
    FIRST_PRECISION,
    HEIGHT,
    LEVELS,
    PRECISION,
    RETRIEVAL,
    Images,
    Measured,
)

FIRST = 10
"""Images that are looked at."""
BLOCK_CELLS = 6_000_000
"""Cosines in memory at a time."""


def retrieve(
    rows: Rows,
    images: Images,
    queries: Int[np.ndarray, " queries"],
    places: Sequence[Int[np.ndarray, " classes"]],
) -> list[list[Measured]]:
    """Look for each query's neighbours among all images but itself and those of its own group.

    Parameters
    ----------
    rows
        Of all images.
    places
        Arrangements of the classes: an image of class c counts as one of class `place[c]`.

    Returns
    -------
    For each arrangement the average precision and the precision of the first 10 at each level,
    where all images of the query's group of classes are relevant, and the mean height of the LCH of
    the query and the first 10, in the contracted tree: means over the queries of each class, NaN
    without any. Chance is the same with all images tied, in the first arrangement.
    """
    levels = class_levels(images.tree)
    height = images.tree.pair_tables().height_contracted.astype(np.float64)
    group = np.array([[levels[level][place] for level in LEVELS] for place in places])
    heights = np.array([height[np.ix_(place, place)] for place in places])
    # Of each query and arrangement: two measures of each level, the height.
    found = np.empty((len(queries), len(places), 2 * len(LEVELS) + 1))
    chance = np.empty_like(found[:, :1])
    number = 0
    for cosine in _cosines(unit(rows), queries, images.groups):
        order = np.argsort(-cosine, axis=1, kind="stable")
        for value, ranked in zip(np.take_along_axis(cosine, order, 1), order, strict=True):
            own, label = images.labels[queries[number]], images.labels[ranked]
            _expect(value, label, own, group, heights, found[number])
            tied = np.where(np.isfinite(value), 0.0, value)
            _expect(tied, label, own, group[:1], heights[:1], chance[number])
            number += 1
    return [
        [*_by_class(place, images, queries, found[:, n], chance[:, 0])]
        for n, place in enumerate(places)
    ]


def _cosines(
    rows: Rows, queries: Int[np.ndarray, " queries"], groups: Int[np.ndarray, " images"] | None
) -> Iterator[Float[np.ndarray, "block images"]]:
    """Yield the cosines of queries with all images, -inf where an image is not to be found."""
    others = rows.T if isinstance(rows, np.ndarray) else csr_array(rows.T)
    size = max(1, BLOCK_CELLS // rows.shape[0])
    for first in range(0, len(queries), size):
        images = queries[first : first + size]
        cosine = rows[images] @ others
        cosine = np.round(cosine if isinstance(cosine, np.ndarray) else cosine.toarray(), DECIMALS)
        cosine[np.arange(len(images)), images] = -np.inf
        if groups is not None:
            cosine[groups[images][:, None] == groups] = -np.inf
        yield cosine


@compiled
def _expect(value, label, own, group, heights, found):  # type: ignore[no-untyped-def]
    """Fill in one query's measures, (arrangements, 2 levels + 1); `value` is sorted downwards.

    Of m tied images, r of them relevant, behind i images with b relevant ones, that at rank t is
    relevant with probability r/m, and the precision is then (b + 1 + (t − i − 1)(r − 1)/(m − 1))/t.
    """
    n = 0
    while n < len(value) and value[n] > -np.inf:
        n += 1
    looked_at = min(FIRST, n)
    for a in range(len(group)):
        for level in range(len(group[a])):
            mine = group[a, level, own]
            precision, hits, before, i = 0.0, 0.0, 0, 0
            while i < n:
                end, r = i, 0
                while end < n and value[end] == value[i]:
                    r += group[a, level, label[end]] == mine
                    end += 1
                m = end - i
                if r:
                    each = (r - 1) / max(m - 1, 1)
                    for t in range(i + 1, end + 1):
                        precision += r / m * (before + 1 + (t - i - 1) * each) / t
                hits += r / m * max(0, min(end, FIRST) - i)
                before += r
                i = end
            found[a, 2 * level] = precision / before if before else np.nan
            found[a, 2 * level + 1] = hits / looked_at if before else np.nan
        total, i = 0.0, 0
        while i < looked_at:
            end, height = i, 0.0
            while end < n and value[end] == value[i]:
                height += heights[a, own, label[end]]
                end += 1
            total += height / (end - i) * (min(end, FIRST) - i)
            i = end
        found[a, -1] = total / looked_at if n else np.nan


def _by_class(
    place: Int[np.ndarray, " classes"],
    images: Images,
    queries: Int[np.ndarray, " queries"],
    found: Float[np.ndarray, "queries measures"],
    chance: Float[np.ndarray, "queries measures"],
) -> Iterator[Measured]:
    """Average the queries of each class, in the order of the classes' places."""
    own = place[images.labels[queries]]
    node = images.common(np.arange(len(place)))
    sorts = [(measure, level) for level in LEVELS for measure in (PRECISION, FIRST_PRECISION)]
    for column, (measure, level) in enumerate([*sorts, (HEIGHT, "leaf")]):
        mean, tied = (_means(part[:, column], own, len(place)) for part in (found, chance))
        yield Measured(RETRIEVAL, measure, level, node, mean, tied)


def _means(
    value: Float[np.ndarray, " queries"], own: Int[np.ndarray, " queries"], n: int
) -> Float[np.ndarray, " classes"]:
    known = ~np.isnan(value)
    size = np.bincount(own[known], minlength=n)
    total = np.bincount(own[known], value[known], n)
    return np.divide(total, size, out=np.full(n, np.nan), where=size > 0)
