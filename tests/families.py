"""A tree of eight classes in four families and two domains, and images of them."""

import numpy as np
from scipy.sparse import csr_array

from cladescope.scores.splitting import can_level, split_halves
from cladescope.taxonomy.taxonomy import taxonomy_from_parents
from cladescope.taxonomy.tree import Tree
from cladescope.uses.table import Images

#       r            Eight classes: a b | c d below p, o, below s; e f | g h below q, t, below u.
#    s     u
#   p o   q t
#  ab cd ef gh
PARENTS = {"r": [], "s": ["r"], "u": ["r"], "p": ["s"], "o": ["s"], "q": ["u"], "t": ["u"]}
PARENTS |= {c: [p] for c, p in zip("abcdefgh", "ppooqqtt", strict=True)}
TAXONOMY = taxonomy_from_parents([*"abcdefgh"], PARENTS)
TREE = Tree.of(TAXONOMY)
IDENTITY = np.arange(8)


def images_of(labels: np.ndarray, seed: int = 0, groups: np.ndarray | None = None) -> Images:
    """Images of these classes in two halves."""
    halves = split_halves(labels, seed, groups, level=can_level(labels, 8))
    return Images(labels, TAXONOMY, TREE, *halves, groups)


def one_hot(columns: np.ndarray, strength: np.ndarray | float = 1.0) -> csr_array:
    """Codes of which one latent fires on each image, as strongly as is said."""
    n = len(columns)
    strength = np.broadcast_to(np.asarray(strength, float), n)
    return csr_array((strength, columns, np.arange(n + 1)), (n, columns.max() + 1))
