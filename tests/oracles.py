"""Dictionaries that we know the truth about."""

import numpy as np

from cladescope.codes.codes import Codes
from cladescope.scores.halves import Firings, Halves
from cladescope.taxonomy.taxonomy import Taxonomy


def inner_nodes(taxonomy: Taxonomy) -> np.ndarray:
    """Contracted nodes of two classes or more below the root, as indices."""
    n_leaves = taxonomy.n_leaves[taxonomy.contracted]
    return taxonomy.contracted[(n_leaves > 1) & (n_leaves < len(taxonomy.leaves))]


def noisy_codes(
    class_sets: list, labels: np.ndarray, noise: float, seed: int, inside: float = 0.8
) -> Codes:
    """Latents that fire on a share of their classes' images; a share `noise` of firings is random.

    Activations do not tell the one kind of image from the other.
    """
    random = np.random.default_rng(seed)
    images = []
    for classes in class_sets:
        own = np.flatnonzero(np.isin(labels, classes))
        own = own[random.random(len(own)) < inside]
        strays = random.random(len(own)) < noise
        images.append(np.unique(np.where(strays, random.integers(0, len(labels), len(own)), own)))
    latent = np.repeat(np.arange(len(class_sets)), [len(i) for i in images])
    image = np.concatenate(images)
    order = np.lexsort((latent, image))
    return Codes(
        image[order].astype(np.int32),
        latent[order].astype(np.int32),
        random.random(len(image)).astype(np.float32) + 0.1,
        len(labels),
        len(class_sets),
    )


def top_sets(class_sets: list, n_classes: int, top_n: int, random: np.random.Generator) -> Halves:
    """Firings on `top_n` images of each latent's classes, for what depends on top sets alone."""
    labels = np.concatenate([random.choice(classes, top_n) for classes in class_sets])
    firings = Firings(
        start=np.arange(len(class_sets) + 1) * top_n,
        image=np.arange(len(labels), dtype=np.int32),
        activation=np.ones(len(labels), np.float32),
        labels=labels.astype(np.int32),
        n_classes=n_classes,
    )
    return Halves(np.arange(len(class_sets)), firings, firings, top_n)
