"""A finished dictionary: what every variant, trained or not, comes down to.

With x' = (x − mean) / scale,

    p = W_enc (x' − b_dec) + b_enc,    z = TopK_k(p · [p > θ]),    x̂' = W_decᵀ z + b_dec,

where k = None keeps every value, and without thresholds θ = 0. Where the first latents stand in
trees (`paths.py`), these are gated by paths, and the others read what is left:

    z_j = max(p_j, ε) [j is on a path of x']  for j in a tree,    r = x' − b_dec − Σ_j z_j d_j,
    z_j = TopK_k(ReLU(W_enc r + b_enc))_j     for the others.

Or the k latents are chosen one after another, or the first latents are parents and the others fire
below them (`chosen.py`). Or each token is first brought to mean 0 and standard deviation 1.

docs/dictionaries.md describes the files, so that other code can encode, too.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file, save_file

from cladescope.dictionaries.chosen import children_of, pursue
from cladescope.dictionaries.paths import LEAST, PATHS, Paths, Walk
from cladescope.files import read_json, reading, write_aside, write_json

FORMAT = "cladescope-dictionary-2"
FORMAT_WITH_PATHS = "cladescope-dictionary-3"
"""Of dictionaries with trees; readers that know none of trees must not read these."""
FORMAT_WITH_RULE = "cladescope-dictionary-4"
"""Of dictionaries with a rule; the same holds."""
RULES = ("pursuit", "parents", "per_token")
TENSORS = ("encoder", "encoder_bias", "decoder", "decoder_bias", "mean", "threshold")


@dataclass(frozen=True)
class Dictionary:
    """Encoder, decoder and normalisation of a dictionary over d-dimensional activations."""

    encoder: Float[np.ndarray, "width d"]
    encoder_bias: Float[np.ndarray, " width"]
    decoder: Float[np.ndarray, "width d"]
    """Rows of unit norm."""
    decoder_bias: Float[np.ndarray, " d"]
    mean: Float[np.ndarray, " d"]
    """Mean of the training activations."""
    scale: float
    """Root mean square of the centred training activations over images and dimensions."""
    k: int | None = None
    """Latents kept per token; None keeps every one above its threshold."""
    threshold: Float[np.ndarray, " one_or_width"] | None = None
    """θ ≥ 0, of all latents or of each; None for 0."""
    paths: Paths | None = None
    """The trees of the first latents; k then counts the others. None: no latent is in a tree."""
    pursuit: bool = False
    """Whether the k latents are chosen one after another, each for what those before leave over."""
    parents: int | None = None
    """So many first latents, of which k fire, are parents; the others are their children, equally
    many each, of which the largest fires where its parent does. None: there are no parents."""
    per_token: bool = False
    """Whether x' is made of (x − μ) / σ instead of x, with μ and σ those of the token's d numbers
    (`moments`)."""

    @property
    def width(self) -> int:
        """Number of latents."""
        return len(self.encoder)

    @property
    def children(self) -> int:
        """Number of children of a parent."""
        return self.width // self.parents - 1 if self.parents else 0

    def normalise(self, x: Float[np.ndarray, "tokens d"]) -> Float[np.ndarray, "tokens d"]:
        """Return x' = (x − mean) / scale as float32.

        Raises
        ------
        ValueError
            If the dictionary is of activations of another width.
        """
        if x.shape[-1] != len(self.mean):
            raise ValueError(
                f"activations of {x.shape[-1]} dimensions, but the dictionary is of "
                f"{len(self.mean)}: it belongs to another layer or model; correct what is imported"
            )
        if self.per_token:
            middle, spread = moments(x)
            x = (x - middle) / spread
        centred = np.subtract(x, self.mean, dtype=np.float32)
        centred /= np.float32(self.scale)
        return centred

    def unit(self, x: Float[np.ndarray, "*tokens d"]) -> Float[np.ndarray, "*tokens 1"]:
        """Return how many units of x are one of x', for each token, as float32."""
        spread = moments(x)[1] if self.per_token else np.ones((*x.shape[:-1], 1), np.float32)
        return spread * np.float32(self.scale)

    def encode(self, x: Float[np.ndarray, "tokens d"]) -> Float[np.ndarray, "tokens width"]:
        """Return the activations z ≥ 0 of normalised activations x'."""
        centred = x - self.decoder_bias
        if self.pursuit:
            assert self.k
            weights = self.encoder, self.encoder_bias, self.decoder
            return pursue(centred, *weights, self.k, np.arange(self.width))
        if self.paths is None:
            pre = centred @ self.encoder.T + self.encoder_bias
            if self.parents is None:
                return self._kept(pre)
            z, below = self._kept(pre[:, : self.parents]), pre[:, self.parents :]
            children = children_of(z, below, np.arange(self.children))
            return np.concatenate([z, children], axis=1)
        n = self.paths.nodes
        pre = centred @ self.encoder[:n].T + self.encoder_bias[:n]
        on_paths = np.where(Walk(self.paths).on(x), np.maximum(pre, np.float32(LEAST)), 0)
        rest = centred - on_paths @ self.decoder[:n]
        others = self._kept(rest @ self.encoder[n:].T + self.encoder_bias[n:])
        return np.concatenate([on_paths, others], axis=1)

    def _kept(self, z: Float[np.ndarray, "tokens n"]) -> Float[np.ndarray, "tokens n"]:
        """Return what is above its threshold and among the k largest, 0 elsewhere."""
        z[z <= (0 if self.threshold is None else self.threshold)] = 0
        if not self.k or self.k >= z.shape[1]:
            return z
        threshold = -np.partition(-z, self.k - 1, axis=1)[:, self.k - 1 : self.k]
        return np.where(mark_largest(z, threshold, self.k), z, 0)

    def decode(self, z: Float[np.ndarray, "tokens width"]) -> Float[np.ndarray, "tokens d"]:
        """Return the reconstruction x̂' in normalised units."""
        return z @ self.decoder + self.decoder_bias

    def save(self, path: str | Path, identity: dict[str, Any]) -> None:
        """Write `path` (safetensors) and beside it a JSON file with scale, k and `identity`.

        Raises ValueError as `load` does for what no dictionary can hold.
        """
        path = Path(path)
        self.check(path)
        fields = {name: getattr(self, name) for name in TENSORS}
        tensors = {
            name: np.ascontiguousarray(value) for name, value in fields.items() if value is not None
        }
        if self.paths:
            tensors |= {name: getattr(self.paths, name) for name in PATHS}
        with write_aside(path) as aside:
            save_file(tensors, aside)
        rule = {name: getattr(self, name) for name in RULES if getattr(self, name)}
        form = FORMAT_WITH_RULE if rule else FORMAT_WITH_PATHS if self.paths else FORMAT
        about = {"format": form, "scale": self.scale, "k": self.k, **rule, "identity": identity}
        write_json(path.with_suffix(".json"), about)

    @classmethod
    def load(cls, path: str | Path) -> "Dictionary":
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            If the file is of another format, or holds what no dictionary can: shapes that do not
            fit, numbers that are not finite, a scale or a k that is not positive; names the file
            and the field.
        """
        path = Path(path)
        about = read_json(path.with_suffix(".json"))
        if about.get("format") not in (FORMAT, FORMAT_WITH_PATHS, FORMAT_WITH_RULE):
            raise ValueError(
                f"{path} is not a dictionary of format {FORMAT}, {FORMAT_WITH_PATHS} or "
                f"{FORMAT_WITH_RULE}; train it again"
            )
        with reading(path):
            tensors, paths = load_file(path), None
            if about["format"] == FORMAT_WITH_PATHS:
                paths = Paths(**{name: tensors.pop(name) for name in PATHS})
            rule: dict[str, Any] = {}
            if about["format"] == FORMAT_WITH_RULE:
                rule = {name: about[name] for name in RULES if name in about}
            fields = {**tensors, **rule, "scale": about["scale"], "k": about["k"], "paths": paths}
            dictionary = cls(**fields)
        dictionary.check(path)
        return dictionary

    def check(self, path: str | Path) -> None:
        """Refuse what no dictionary can hold; raises ValueError as `load` does."""
        width, d = self.width, len(self.mean)
        shapes = {"encoder": (width, d), "decoder": (width, d), "decoder_bias": (d,), "mean": (d,)}
        for name in TENSORS:
            value = getattr(self, name)
            if value is None:
                continue
            shape = shapes.get(name, (width,))
            if value.shape != shape and not (name == "threshold" and value.shape == (1,)):
                raise ValueError(f"{path}: {name} is of shape {value.shape}, not {shape}")
            if not np.isfinite(value).all():
                raise ValueError(f"{path}: {name} has numbers that are not finite")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"{path}: scale is {self.scale}, it must be positive")
        if self.k is not None and self.k < 1:
            raise ValueError(f"{path}: k is {self.k}, it must be 1 or more")
        if self.threshold is not None and (self.threshold < 0).any():
            raise ValueError(f"{path}: threshold has numbers below 0, it must be 0 or more")
        if self.paths:
            if self.threshold is not None:
                raise ValueError(f"{path}: threshold has no meaning beside trees; leave it out")
            self.paths.check(path, self.width, self.decoder.shape[1])
        if self.pursuit or self.parents is not None:
            self._check_rule(path)
        if self.per_token and self.paths:
            raise ValueError(f"{path}: per_token has no meaning beside trees; leave it out")

    def _check_rule(self, path: str | Path) -> None:
        """Refuse a rule that does not fit the rest; raises ValueError."""
        name = "pursuit" if self.pursuit else "parents"
        others = (self.paths, self.threshold, self.parents if self.pursuit else None)
        if any(other is not None for other in others):
            raise ValueError(f"{path}: {name} has no meaning beside trees, thresholds or parents")
        if not self.k:
            raise ValueError(f"{path}: {name} needs a k")
        if self.parents is not None and not (
            self.k <= self.parents < self.width and self.width % self.parents == 0
        ):
            raise ValueError(
                f"{path}: parents is {self.parents}; it must be {self.k}, which is k, or more, "
                f"below the width {self.width}, and divide it"
            )


def moments(
    x: Float[np.ndarray, "*tokens d"],
) -> tuple[Float[np.ndarray, "*tokens 1"], Float[np.ndarray, "*tokens 1"]]:
    """Return μ and σ of each token's d numbers: σ from d − 1 of them, plus 1e-5.

    As openai/sparse_autoencoder (`model.py`, `LN`), SAELens and Prisma have it (`layer_norm`).
    """
    x = np.asarray(x, np.float32)
    return x.mean(-1, keepdims=True), x.std(-1, ddof=1, keepdims=True) + np.float32(1e-5)


def with_unit_rows(
    encoder: Float[np.ndarray, "width d"],
    encoder_bias: Float[np.ndarray, " width"],
    decoder: Float[np.ndarray, "width d"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the three with decoder rows of length 1; without a k they reconstruct the same."""
    norms = np.linalg.norm(decoder, axis=1)
    return encoder * norms[:, None], encoder_bias * norms, decoder / norms[:, None]


def mark_largest(z: Any, threshold: Any, k: int) -> Any:
    """Mark the k largest positive values of each row; among equals the lower latent wins.

    Parameters
    ----------
    z, threshold
        (tokens, width) and (tokens, 1), the k-th largest of each row: arrays of numpy or of torch.
    """
    above = z > threshold
    room = k - above.sum(1)[:, None]
    tied = (z == threshold) & (z > 0)
    return above | (tied & (tied.cumsum(1) <= room))
