"""What a model says of an image: probabilities of the dataset's classes, by its head or by a probe.

The head is used where it names the dataset's classes: where it has as many outputs as there are
classes (taken in their order, the sorted one), or ImageNet-1k's, of which those at or under a class
count for it. Else, or if the head is right no more often than chance, ridge regression on the
deepest layer that dictionaries are of, its scores divided by the temperature that makes the classes
of the choosing half likeliest (Guo et al. 2017, arXiv 1706.04599).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cladescope.activations.store import ActivationStore
from cladescope.backbone.backbone import Backbone, Classifier
from cladescope.codes.linear import Ridge
from cladescope.images.classes import IMAGENET_1K, read_wnid_map

HEAD, PROBE = "head", "probe"
TRAIN_IMAGES = 20_000
"""Training images that a probe is fitted to, at random; all if there are fewer."""
PENALTY = 1e-2
"""Ridge penalty, as a share of the mean eigenvalue of the covariance."""
ABOVE_CHANCE = 2
"""A head that is right less than so many times as often as chance names other classes."""
_TEMPERATURES = np.geomspace(1e-3, 10, 81)
_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Readout:
    """p = softmax(weight · x + bias) over outputs, summed by the class that each is of."""

    name: str
    """`head` or `probe`."""
    weight: Float[Tensor, "outputs width"]
    bias: Float[Tensor, " outputs"]
    classes: Int[np.ndarray, " outputs"]
    """Class of each output; outputs of no class are left out."""
    n_classes: int
    place: tuple[int, str] | None = None
    """Layer and token whose mean is x; None: what the model's last layer outputs."""

    def named(self) -> Bool[np.ndarray, " classes"]:
        """Say which classes have an output."""
        return np.bincount(self.classes, minlength=self.n_classes) > 0

    def features(
        self, backbone: Backbone, images: Float[Tensor, "images 3 height width"]
    ) -> Float[Tensor, "images width"]:
        """Run the model and return x; more rows than images where a layer makes copies."""
        if self.place is None:
            return backbone.model(images)
        layer, token = self.place
        return backbone.read(images, [layer], [token])[layer, token].mean(1)

    def probabilities(self, x: Float[Tensor, "images width"]) -> Float[Tensor, "images classes"]:
        """Return the probability of each class, float64; 0 for a class without an output."""
        device = x.device
        logits = x.double() @ self.weight.to(device).double().T + self.bias.to(device).double()
        found = torch.zeros(len(x), self.n_classes, dtype=torch.float64, device=device)
        return found.index_add_(1, torch.as_tensor(self.classes, device=device), logits.softmax(1))


def head_readout(
    classifier: Classifier | None, classes: Sequence[str], wordnet: str | Path
) -> Readout | None:
    """Return the model's own head as a readout; None if it does not name the classes.

    Parameters
    ----------
    classes
        Ids of the dataset's classes, in the order of the labels.
    wordnet
        Folder with `corpora/wordnet.zip`.
    """
    if classifier is None:
        return None
    weight, bias = classifier
    if len(weight) == len(classes):
        return Readout(HEAD, weight, bias, np.arange(len(classes)), len(classes))
    imagenet = [*read_wnid_map(IMAGENET_1K).values()]
    if len(weight) != len(imagenet):
        return None
    # Imported here: NLTK takes a second.
    from cladescope.taxonomy.wordnet import build_taxonomy

    taxonomy = build_taxonomy(imagenet, wordnet)
    # The first is the deepest: a node comes before all of its hypernyms.
    known = [n for n, node in enumerate(taxonomy.nodes) if node in set(classes)]
    under = taxonomy.ancestors[:, known]
    outputs = np.flatnonzero(under.any(1))
    position = np.array([list(classes).index(taxonomy.nodes[n]) for n in known], int)
    named = position[under[outputs].argmax(1)]
    if len(np.unique(named)) < 2:
        return None
    return Readout(HEAD, weight[outputs], bias[outputs], named, len(classes))


def probe_readout(
    train: tuple[str, np.ndarray],
    held_out: tuple[str, np.ndarray, np.ndarray],
    n_classes: int,
    place: tuple[int, str],
    seed: int,
) -> Readout:
    """Fit a probe of a layer.

    Parameters
    ----------
    train
        Manifest of the layer's activations of the training split, and the labels.
    held_out
        Manifest and labels of the evaluation split, and which of its images choose.
    place
        The layer and token that the manifests are of.
    """
    x, y = sample_means(*train, seed)
    ridge = Ridge.fit(x, y, n_classes, PENALTY)
    manifest, labels, choose = held_out
    images = np.flatnonzero(choose)
    scores = ridge.scores(_means(ActivationStore.open(manifest), images).astype(np.float64))
    likelihood = []
    for temperature in _TEMPERATURES:
        scaled = scores / temperature
        scaled -= scaled.max(1, keepdims=True)
        right = scaled[np.arange(len(images)), labels[images]]
        likelihood.append((right - np.log(np.exp(scaled).sum(1))).mean())
    temperature = float(_TEMPERATURES[np.argmax(likelihood)])
    logging.info("probe of layer %d: temperature %.3g", place[0], temperature)
    weight, bias = (torch.from_numpy(part / temperature) for part in (ridge.weight.T, ridge.bias))
    return Readout(PROBE, weight, bias, np.arange(n_classes), n_classes, place)


def sample_means(
    manifest: str, labels: Int[np.ndarray, " images"], seed: int
) -> tuple[Float[np.ndarray, "sample width"], Int[np.ndarray, " sample"]]:
    """Return the activations of at most `TRAIN_IMAGES` images, meant over tokens, and labels."""
    images = np.sort(np.random.default_rng(seed).permutation(len(labels))[:TRAIN_IMAGES])
    return _means(ActivationStore.open(manifest), images), labels[images]


def _means(store: ActivationStore, images: np.ndarray) -> np.ndarray:
    step = max(1, _ROWS // store.shape[1])
    parts = [store.gather(images[i : i + step]) for i in range(0, len(images), step)]
    return np.concatenate([part.astype(np.float32).mean(1) for part in parts])
