"""What a plan is made of: the costs of each part of a study."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from cladescope.dictionaries.training.cost import Card, Cost
from cladescope.segmentation.columns import NONZEROS

BYTES_PER_CODE = 12
"""Of a latent on a patch: its number, the patch's and the activation."""
BYTES_PER_POSITION = 16
"""Of the same kept with its image, before compression."""


@dataclass(frozen=True)
class PassPlan:
    """One extraction pass."""

    name: str
    jobs: int
    images: int
    layers: int
    sites: tuple[str, ...]
    flops: float
    in_bfloat16: bool
    disk: int
    """Bytes of the stores."""
    files: int
    memory: int
    """Bytes on the device: weights, the activations of one batch that are kept, one block's."""

    def seconds(self, card: Card) -> float:
        """Return the time on one card for all jobs together."""
        return Cost("forward", self.flops, 0, self.in_bfloat16).seconds(card)


@dataclass(frozen=True)
class TrainingPlan:
    """One job of training: dictionaries of a layer and variant."""

    costs: list[tuple[int, list[Cost]]]
    """Of each dictionary the number of steps and the parts of a step."""
    memory: int
    """Bytes on the device: all dictionaries and the activations that they train on."""

    def seconds(self, card: Card) -> float:
        """Return the time on a card."""
        return sum(n * sum(part.seconds(card) for part in step) for n, step in self.costs)


@dataclass(frozen=True)
class ForwardPlan:
    """What takes forward passes for one dictionary."""

    folder: str
    flops: float

    def seconds(self, card: Card) -> float:
        """Return the time on a card."""
        return Cost("forward", self.flops, 0).seconds(card)


@dataclass(frozen=True)
class MapPlan(ForwardPlan):
    """The maps of one dictionary's latents."""

    pairs: int
    """At most so many pairs of a latent and an image."""


@dataclass(frozen=True)
class AblationPlan(ForwardPlan):
    """The ablation of one dictionary's latents."""

    images: int
    copies: int
    """About how many changed copies of the images run behind the layer."""


@dataclass(frozen=True)
class UsesPlan:
    """The uses of one dictionary's codes."""

    folder: str
    queries: int
    """At most so many images that others are retrieved for."""
    images: int
    """That each of them is compared with."""
    arrangements: int
    """Of the classes: as they are, and permuted."""
    examples: int
    """Draws of examples, of all numbers, in each arrangement."""


@dataclass(frozen=True)
class SegmentationPlan:
    """One dictionary's latents against masks."""

    folder: str
    images: int
    """At most so many are looked at."""
    patches: int
    """Stored patches of these."""
    nonzeros: int
    """About how many codes they have."""
    passes: int
    """How often they are encoded."""

    @property
    def memory(self) -> int:
        """Bytes of the codes that are there at a time."""
        return min(self.nonzeros, NONZEROS) * BYTES_PER_CODE


@dataclass(frozen=True)
class PositionsPlan:
    """One dictionary's codes, kept with their places."""

    folder: str
    images: int
    """At most so many are kept of."""
    nonzeros: int
    """About how many codes they have."""

    @property
    def disk(self) -> int:
        """Bytes before compression."""
        return self.nonzeros * BYTES_PER_POSITION


@dataclass(frozen=True)
class Repetition:
    """How often training sees its images."""

    dataset: str
    images: int
    """Of the training split."""
    asked: int
    """The configuration's `training.images`."""

    @property
    def passes(self) -> float:
        """Passes over the training split."""
        return self.asked / self.images


@dataclass(frozen=True)
class Plan:
    """Costs of a configuration."""

    passes: list[PassPlan]
    training: list[TrainingPlan]
    maps: list[MapPlan]
    ablations: list[AblationPlan]
    uses: list[UsesPlan]
    segmentations: list[SegmentationPlan]
    positions: list[PositionsPlan]
    repetitions: list[Repetition]
    """Of each dataset that dictionaries are trained on."""
    preprocessing: dict[str, dict[str, Any]]
    """Of each experiment, after `data_config`."""
    checkpoints: list[str]
    """Experiments whose weights are a local file."""
    dictionaries: int
    dictionary_disk: int
    """Bytes of weights."""
    jobs: Counter[str]
    """Number of jobs of every rule that has one for each dataset, pass, layer or dictionary."""
