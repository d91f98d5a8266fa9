"""Dictionaries from other libraries: a short file for each says what its files hold.

Each has `read(source)`, which returns the dictionary and what the files say of its making.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILES: dict[str, tuple[str, ...]] = {
    "cladescope": ("sae.json", "sae.safetensors"),
    "saelens": ("cfg.json", "sae_weights.safetensors"),
    "sparsify": ("cfg.json", "sae.safetensors"),
    "dictionary_learning": ("config.json", "ae.pt"),
    "saev": ("sae.pt",),
    "overcomplete": ("sae.pt",),
    "prisma": ("config.json", "weights.pt"),
    "openai": ("sae.pt",),
}
"""What a folder of each format holds: settings where they have a file of their own, then weights.

The weights may have another name, which is then given.
"""
SETTINGS: dict[str, tuple[str, ...]] = {
    "saev": ("scale_mean", "scale_norm", "subtract_b_dec"),
    "overcomplete": ("class", "k", "threshold", "normalization"),
}
"""What the files of a format may leave open, so that it has to be given."""
CENTRES: dict[str, tuple[str, ...]] = {
    "cladescope": ("mean",),
    "saelens": ("b_dec",),
    "sparsify": ("b_dec",),
    "dictionary_learning": ("bias", "decoder.bias", "b_dec", "decoder_bias"),
    "saev": ("b_dec",),
    "overcomplete": ("dictionary._weights", "dictionary.C"),
    "prisma": ("b_dec",),
    "openai": ("pre_bias",),
}
"""Tensors whose last dimension is that of the activations; a file has one of its format's."""
ONE_SCALE: dict[str, tuple[str, Any]] = {
    "cladescope": ("per_token", True),
    "saelens": ("normalize_activations", "layer_norm"),
    "prisma": ("normalize_activations", "layer_norm"),
    "openai": ("activation", "TopK"),
}
"""Formats that can bring each token to mean 0 and standard deviation 1, and what then says so."""
AGAIN = "copy it again"
"""What to do about a damaged file, which is not ours to delete."""
EXPORTED = ("saelens",)
"""Formats that are written, too."""


@dataclass(frozen=True)
class Source:
    """Where a dictionary of another library is, and what is said of it."""

    form: str
    """A key of `FILES`."""
    folder: Path
    """Of the file system, or a place of the hub (`hub.py`)."""
    weights: str | None = None
    """Name of the file of weights, if it is not the last one of `FILES`."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Values of `SETTINGS`."""
    layer: int | None = None
    """The layer that it is to read, counted from 1; None: not said."""
    token: str | None = None
    """The token that it is to read; None: not said."""
    hub: str | None = None
    """Of the hub: owner/name@commit."""

    @classmethod
    def from_config(cls, said: dict[str, Any]) -> "Source":
        """Return what an entry of `sweep.imported` says."""
        told = {key: said[key] for key in ("weights", "settings", "layer", "token") if key in said}
        return cls(said["format"], Path(said["folder"]), **told)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the format: settings where they have one, then weights."""
        *settings, weights = FILES[self.form]
        return tuple(self.folder / name for name in (*settings, self.weights or weights))

    @property
    def names(self) -> list[str]:
        """Names of all files that are read: one that settings name, then those of the format."""
        beside = self.settings.get("scale_mean")
        return ([beside] if isinstance(beside, str) else []) + [path.name for path in self.files]

    def check(self) -> None:
        """Refuse settings that the format does not have, and a folder without its files.

        Raises
        ------
        FileNotFoundError
            Names the files that the folder lacks.
        ValueError
            Names the settings.
        """
        known = SETTINGS.get(self.form, ())
        if unknown := [name for name in self.settings if name not in known]:
            raise ValueError(
                f"settings: {self.form} has no {' and no '.join(unknown)}; it has "
                f"{', '.join(known) or 'none'}"
            )
        names = self.names
        if missing := [name for name in names if not (self.folder / name).is_file()]:
            raise FileNotFoundError(
                f"{self.folder} has no {' and no '.join(missing)}; a dictionary of the format "
                f"{self.form} is a folder with {' and '.join(names)}"
            )


def sees_one_scale(form: str, said: Mapping[str, Any]) -> bool:
    """Say whether a dictionary brings each token to mean 0 and standard deviation 1.

    Parameters
    ----------
    said
        The settings of its files; of a format without a file of settings, what its weights hold.
    """
    key, value = ONE_SCALE.get(form, ("", None))
    return key in said and said[key] == value
