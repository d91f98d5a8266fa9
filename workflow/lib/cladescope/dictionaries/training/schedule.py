"""How the recipe's rates follow from a run's length and a dictionary's width.

Measured; docs/dictionaries.md says how.
"""

import math
from dataclasses import dataclass

from cladescope.dictionaries.training.spec import FitSpec, Recipe

REFERENCE_WIDTH = 2**14
REFERENCE_STEPS = 250
WIDTH_EXPONENT = 1 / 6
STEPS_EXPONENT = 1 / 2
"""How the best learning rate falls with the width and the steps beyond the references."""
ADAM_BETAS = (0.9, 0.999)
"""As in long runs; short ones have another first (`adam_betas`)."""
ADAM_EPSILON = 1e-8
LIFT = 2.0
"""Learning rates by which a silent latent is lifted in a step."""


def aux_latents(d: int) -> int:
    """Return AuxK's k: the power of two at or below d / 2 (Gao et al. 2024, section A.2)."""
    return 1 << max(0, (d // 2).bit_length() - 1)


def n_steps(recipe: Recipe, tokens: int) -> int:
    """Return the length of a run in steps; a step takes `batch_size` tokens."""
    return max(1, recipe.images * tokens // recipe.batch_size)


def peak_rate(recipe: Recipe, width: int, steps: int) -> float:
    """Return the learning rate between warm-up and decay."""
    narrow = (REFERENCE_WIDTH / width) ** WIDTH_EXPONENT
    long = max(1.0, steps / REFERENCE_STEPS) ** -STEPS_EXPONENT
    return recipe.learning_rate * narrow * long


def adam_betas(steps: int) -> tuple[float, float]:
    """Return Adam's: gradients are averaged over a hundredth of the run, 2 to 10 steps.

    A longer average lags behind in a short run, a shorter one lets activations of low rank
    destabilise the run.
    """
    longest, second = ADAM_BETAS
    return min(max(1 - 100 / steps, 0.5), longest), second


def lift(rate: float, steps: int) -> float:
    """Return how far a silent latent's bias rises in one step of a run of so many.

    Twice as far as Adam moves a parameter whose gradients agree, and further in short runs, so
    that all of the run lifts as far as 250 steps do.
    """
    return LIFT * rate * max(1.0, REFERENCE_STEPS / steps)


def schedule(step: int, steps: int, recipe: Recipe) -> float:
    """Return the learning rate's factor: linear warm-up, constant, linear decay to zero."""
    warmup = recipe.warmup_share * steps
    decay = recipe.decay_share * steps
    rise = (step + 1) / warmup if warmup else 1.0
    fall = (steps - step) / decay if decay else 1.0
    return min(1.0, rise, fall)


@dataclass(frozen=True)
class Pace:
    """The rates of one run at each of its steps, and how long a latent may be silent."""

    recipe: Recipe
    width: int
    steps: int

    @classmethod
    def of(cls, spec: FitSpec, steps: int) -> "Pace":
        """Return the pace of a trained dictionary's run."""
        assert spec.recipe and spec.width
        return cls(spec.recipe, spec.width, steps)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        peak = peak_rate(self.recipe, self.width, self.steps)
        return peak * schedule(step, self.steps, self.recipe)

    def lift(self, step: int) -> float:
        """Return how far a silent latent's bias rises in a step."""
        return lift(self.rate(step), self.steps)

    def after(self, share: float) -> int:
        """Return a share of the run in rows, rounded up."""
        return math.ceil(share * (self.steps * self.recipe.batch_size))
