"""What training is asked for and what it reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from cladescope.dictionaries.dictionary import Dictionary


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to train; defaults and sources in docs/dictionaries.md."""

    images: int
    batch_size: int
    """Rows (tokens) per step."""
    learning_rate: float
    """Peak rate at width 16384 in a run of at most 250 steps."""
    warmup_share: float
    decay_share: float
    lift_share: float
    """A latent that has not fired for this share of the run is lifted."""
    dead_share: float
    """A latent that has not fired for this share of the run is dead, a matter for AuxK."""
    aux_coefficient: float
    gpu_selection: str | None = None
    """Numbers in which a GPU chooses latents: bfloat16 (as None) or tf32."""


@dataclass(frozen=True)
class FitSpec:
    """One point of the sweep. Baselines have neither width, sparsity nor seed."""

    width: int | None = None
    sparsity: float | None = None
    """k, L1 coefficient or L0 target: the variant says which."""
    seed: int | None = None
    recipe: Recipe | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What the variant is told besides; it has a default for all that is missing."""


@dataclass(frozen=True)
class Fit:
    """A fitted dictionary and what was logged on the way."""

    dictionary: Dictionary
    log: dict[str, np.ndarray]
    """Columns of equal length, one entry per logged step; empty if nothing was trained."""


class Step(NamedTuple):
    """What one training step reports."""

    losses: dict[str, float]
    """Parts of the loss before the step, each without its coefficient."""
    squared_error: float
    """Σ‖x' − x̂'‖² over the batch."""
    firing: Int[np.ndarray, " width"]
    """Rows on which each latent fired."""
    gradient_norm: float


class Stretch(NamedTuple):
    """What some steps in a row report."""

    total: Step
    """Sums over the steps."""
    steps: int
    worst: float
    """The largest normalised squared error of a step; not finite if anything was not."""
    dead_share: float
    """Share of latents that were dead before the last step."""
