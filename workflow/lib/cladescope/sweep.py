"""Identity of a dictionary in the sweep, and its name in the results folder."""

import re
from dataclasses import dataclass

SPARSITY = {"relu": "l1_", "jumprelu": "l0_"}
"""How names write a variant's sparsity, where it is not k."""
_NAME = re.compile(r"w(\d+)_(?:k|l0_|l1_)(.+)_s(\d+)")


@dataclass(frozen=True, order=True)
class DictionarySpec:
    """Identity of one dictionary: where it stands in the sweep and in the results folder.

    `width`, `sparsity` and `seed` are None for baselines that have none.
    """

    experiment: str
    token: str
    layer: int
    variant: str
    width: int | None = None
    sparsity: float | None = None
    seed: int | None = None

    @classmethod
    def of(cls, folder: str) -> "DictionarySpec":
        """Return the dictionary that has this `folder`."""
        experiment, _, token, layer, variant, name = folder.split("/")
        place = (experiment, token, int(layer[1:]), variant)
        if name == "full":
            return cls(*place)
        width, sparsity, seed = _NAME.fullmatch(name).groups()  # type: ignore[union-attr]
        number = int(sparsity) if sparsity.isdigit() else float(sparsity)
        return cls(*place, int(width), number, int(seed))

    @property
    def name(self) -> str:
        """Folder name within the variant: `w256_k8_s0`, `w256_l1_0.5_s0`; `full` without a grid."""
        if self.width is None:
            return "full"
        return f"w{self.width}_{SPARSITY.get(self.variant, 'k')}{self.sparsity}_s{self.seed}"

    @property
    def folder(self) -> str:
        """Folder below the results folder."""
        place = f"{self.experiment}/dictionaries/{self.token}/L{self.layer}"
        return f"{place}/{self.variant}/{self.name}"
