"""What stands for an image: its sparse codes, its activations, or their principal components."""

from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from cladescope.activations.store import ActivationStore
from cladescope.codes.codes import Codes
from cladescope.codes.encode import ImageBlocks

Rows: TypeAlias = np.ndarray | csr_array
"""Float64 (images, columns), dense or sparse: every use takes either."""
DENSE_SHARE = 0.25
"""Share of non-zeros from which on a dense array of codes is the smaller one, or nearly."""
BYTES_PER_NONZERO, BYTES_PER_COMPONENT = 8, 4
"""A latent's number and its activation in 32 bits each; a float32."""
DECIMALS = 9
"""Cosines are rounded to so many, and equal ones are ties: no rounding error breaks them."""


def code_rows(codes: Codes) -> Rows:
    """Return the codes with a row for each image, and for images on which nothing fires zeros."""
    shape = (codes.n_images, codes.width)
    start = np.searchsorted(codes.image, np.arange(codes.n_images + 1))
    rows = csr_array((codes.activation.astype(np.float64), codes.latent, start), shape)
    return rows.toarray() if rows.nnz > DENSE_SHARE * np.prod(shape) else rows


def activation_rows(manifest: str) -> Float[np.ndarray, "images d"]:
    """Return the activations of a split, averaged over tokens, less their mean over the images."""
    blocks = ImageBlocks(ActivationStore.open(manifest))
    x = np.concatenate([block.mean(1, dtype=np.float64) for block in blocks])
    return x - x.mean(0)


def nonzeros(codes: Codes) -> float:
    """Return the mean number of latents that fire on an image."""
    return len(codes.image) / codes.n_images


def equal_components(codes: Codes, d: int) -> int:
    """Return how many float32 take the bytes of an image's codes: at least one, at most `d`.

    A non-zero takes 8 bytes, so that k of them are 2k components.
    """
    size = nonzeros(codes) * BYTES_PER_NONZERO / BYTES_PER_COMPONENT
    return min(max(1, round(size)), d)


def principal_axes(x: Float[np.ndarray, "images d"]) -> Float[np.ndarray, "d d"]:
    """Return the principal axes of centred rows as columns, the largest variance first."""
    return np.linalg.eigh(x.T @ x)[1][:, ::-1]


def unit(rows: Rows) -> Rows:
    """Return the rows at length 1; rows of zeros stay as they are."""
    if isinstance(rows, np.ndarray):
        return rows / _lengths(np.square(rows).sum(1))[:, None]
    of = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    length = _lengths(np.bincount(of, np.square(rows.data), rows.shape[0]))
    return csr_array((rows.data / length[of], rows.indices, rows.indptr), rows.shape)


def _lengths(squares: np.ndarray) -> np.ndarray:
    return np.where(squares > 0, np.sqrt(squares), 1.0)


def sums(
    rows: Rows, member: Int[np.ndarray, " images"], n: int
) -> Float[np.ndarray, "groups columns"]:
    """Add up the rows of each of `n` groups; images of group −1 are left out."""
    images = np.flatnonzero(member >= 0)
    shape = (n, rows.shape[0])
    added = csr_array((np.ones(len(images)), (member[images], images)), shape) @ rows
    return added if isinstance(added, np.ndarray) else added.toarray()
