"""Do the latents of one seed come back in another?"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from cladescope.codes.linear import cosine_blocks
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.files import write_aside

RECURS = 0.7
"""Decoder cosine from which on a latent counts as found again."""
ASSIGNED = 4096
"""Width up to which latents are assigned to each other: time grows with its cube."""
SCHEMA = pa.schema(
    {
        "dictionary": pa.string(),
        "latent": pa.int32(),
        "n_other_seeds": pa.int32(),
        "seed_similarity": pa.float64(),
        "seed_similarity_null": pa.float64(),
        "recurrence": pa.float64(),
        "seed_similarity_assigned": pa.float64(),
    }
)


def match_seeds(groups: Sequence[Mapping[str, str]], path: str | Path) -> None:
    """Write, for each latent, how well the other seeds' dictionaries hold its decoder direction.

    Columns: `dictionary`, `latent`; `n_other_seeds`; `seed_similarity`, the largest cosine with a
    decoder row of another seed, averaged over these seeds; `seed_similarity_null`, the same with
    the dimensions of the other decoders in random order; `recurrence`, the share of the other
    seeds with a cosine of `RECURS` or more; `seed_similarity_assigned`, the
    |cosine| with its partner when latents are assigned one to one so that the sum is largest
    (PW-MCC, arXiv 2505.20254), averaged over these seeds. Null for a dictionary of a single seed,
    and the last one for a width above `ASSIGNED`.

    Parameters
    ----------
    groups
        For each set of dictionaries that differ in the seed only, weight files by name.
    path
        Parquet file to write.
    """
    parts = []
    for group in groups:
        decoders = {name: Dictionary.load(file).decoder for name, file in group.items()}
        for name, decoder in decoders.items():
            others = [other for key, other in decoders.items() if key != name]
            parts.append(_match(name, decoder, others))
    with write_aside(path) as aside:
        pq.write_table(pa.concat_tables([SCHEMA.empty_table(), *parts]), aside, compression="zstd")


def _largest_cosines(
    rows: Float[np.ndarray, "n d"], others: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, " n"]:
    return np.concatenate([cosine.max(1) for cosine in cosine_blocks(rows, others)])


def _assigned_cosines(
    rows: Float[np.ndarray, "n d"], others: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, " n"]:
    cosine = np.abs(np.concatenate([*cosine_blocks(rows, others)]))
    row, partner = linear_sum_assignment(cosine, maximize=True)
    found = np.full(len(rows), np.nan)
    found[row] = cosine[row, partner]
    return found


def _match(name: str, decoder: np.ndarray, others: list[np.ndarray]) -> pa.Table:
    n = len(decoder)
    columns: dict[str, object] = {
        "dictionary": [name] * n,
        "latent": np.arange(n),
        "n_other_seeds": [len(others)] * n,
    }
    if others:
        found = np.array([_largest_cosines(decoder, other) for other in others], np.float64)
        order = np.random.default_rng(0).permutation(decoder.shape[1])
        null = np.array([_largest_cosines(decoder, other[:, order]) for other in others])
        columns["seed_similarity"] = found.mean(0)
        columns["seed_similarity_null"] = null.astype(np.float64).mean(0)
        columns["recurrence"] = (found >= RECURS).mean(0)
        if n <= ASSIGNED:
            columns["seed_similarity_assigned"] = np.mean(
                [_assigned_cosines(decoder, other) for other in others], axis=0
            )
    return pa.table(
        [pa.array(columns.get(field.name, [None] * n), field.type) for field in SCHEMA], SCHEMA
    )
