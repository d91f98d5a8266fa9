"""Supervised baseline: directions of the taxonomy's nodes, read like a TopK dictionary.

A node's row points along the mean of (x̄_c − x̄) over the classes c under it, as in
`variants.class_means`. There is one for each leaf and internal node of the contracted taxonomy, in
the taxonomy's order; the root's would be what all images have in common. `sparsity` is k.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from cladescope.dictionaries.training.batches import Source
from cladescope.dictionaries.training.initial import directed_dictionary
from cladescope.dictionaries.variants import class_means
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.tree import ROOT, Tree

fit = directed_dictionary


def directions(source: Source, index: Path, taxonomy: Path) -> Float[np.ndarray, "nodes d"]:
    """Return the direction of each node, float64, in units of the activations.

    Parameters
    ----------
    index
        Image index of the training split, whose images the source's are.
    taxonomy
        That of the dataset, which `Taxonomy.save` wrote.

    Raises
    ------
    DamagedError
        If the activations are not what was extracted.
    """
    tree = Tree.of(Taxonomy.load(taxonomy))
    covers = tree.covers[:, tree.kind != ROOT]
    of_classes = class_means.directions(source, index)
    return np.stack([of_classes[under].mean(0) for under in covers.T])
