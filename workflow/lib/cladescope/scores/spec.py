"""What the scores depend on besides codes, labels and taxonomy: the configuration's `scores`."""

from dataclasses import dataclass, field
from typing import Any

from cladescope.scores.measure import MeasureSpec
from cladescope.scores.sensitivity import SensitivitySpec


@dataclass(frozen=True)
class ScoreSpec:
    """What the scores depend on besides the codes, the labels and the taxonomy."""

    top_n: int = 32
    """Images in a latent's top set; a latent that fires on fewer is rare and not scored."""
    tau: float = 0.9
    """Share of the top set that LCH_τ has to cover; above 0.5, at most 1."""
    rho: float = 0.5
    """Share of a class's images that has to fire a latent for it to be active on the class."""
    mcc_threshold: float = 0.5
    """MCC from which on a node counts as recovered."""
    cutoffs: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 512, 1024)
    """Rank cut-offs of the node alignment, in images, besides "every image that fires"."""
    split_selection: bool = True
    """Choose on one half of the images and score on the other; else use all images for both."""
    matched_latents: int = 32
    """Number of latents that `node_recovery_matched` and `held_out_matched` are about."""
    null_draws: int = 100
    """Leaf permutations for the nulls of the dictionary's scores; the first ones of `p_draws`."""
    p_draws: int = 1000
    """Leaf permutations that every latent is compared with; small p-values come of more."""
    shuffle_draws: int = 10
    """Label shuffles, and as many draws of random images."""
    bootstrap_draws: int = 50
    """Resamples of the images for the intervals."""
    fdr: float = 0.05
    """A latent is significant if its q-value is below this."""
    seed: int = 0
    """Of the halves and of all draws."""
    sensitivity: SensitivitySpec = field(default_factory=SensitivitySpec)
    """Grid of the sensitivity table."""

    def __post_init__(self) -> None:
        problems = []
        if not 0.5 < self.tau <= 1:
            problems.append(f"tau must be above 0.5 and at most 1, not {self.tau}")
        if not 0 < self.rho <= 1:
            problems.append(f"rho must be above 0 and at most 1, not {self.rho}")
        if self.top_n < 2:
            problems.append(f"top_n must be at least 2, not {self.top_n}")
        if any(cutoff < 1 for cutoff in self.cutoffs):
            problems.append(f"cutoffs must be at least 1, not {self.cutoffs}")
        if self.matched_latents < 1:
            problems.append(f"matched_latents must be at least 1, not {self.matched_latents}")
        if self.p_draws < self.null_draws:
            problems.append(f"p_draws must be at least null_draws, not {self.p_draws}")
        for name in ("null_draws", "p_draws", "shuffle_draws", "bootstrap_draws", "seed"):
            if getattr(self, name) < 0:
                problems.append(f"{name} must be 0 or more, not {getattr(self, name)}")
        if problems:
            raise ValueError("scores: " + "; ".join(problems))

    @classmethod
    def from_config(cls, options: dict[str, Any]) -> "ScoreSpec":
        """Take the configuration's `scores`, whose lists become tuples."""
        grid = options["sensitivity"]
        sensitivity = SensitivitySpec(
            tuple(grid["top_n"]), tuple(grid["tau"]), tuple(grid["rho"]), grid["draws"]
        )
        return cls(**{**options, "cutoffs": tuple(options["cutoffs"]), "sensitivity": sensitivity})

    @property
    def measures(self) -> MeasureSpec:
        """The part that one pass over the firings needs."""
        return MeasureSpec(self.tau, self.rho, self.mcc_threshold, self.cutoffs)
