"""Numbers as the cells of Markdown tables."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cladescope.summary.trends import KIND, LEAST_SEEDS, seed_margin


def with_null(rows: pd.DataFrame, score: str, null_name: str = "null_permuted") -> str:
    """Write a score's mean and range over rows and, if it has one, its null."""
    text, null = span(rows, score), rows.get(f"{score}_{null_name}")
    return (
        text
        if null is None or not text or null.isna().all()
        else f"{text} null {number(null.mean())}"
    )


def span(rows: pd.DataFrame, score: str, digits: int = 2) -> str:
    """Write a score's mean and, if rows differ in the seed alone, its interval; else the range.

    Nothing if all are missing.
    """
    known = rows.dropna(subset=[score])
    if not len(known):
        return ""
    values, seeds = known[score].to_numpy(float), known["seed"].nunique()
    if LEAST_SEEDS <= seeds == len(known) and len(known[KIND].drop_duplicates()) == 1:
        margin = float(seed_margin(values.std(ddof=1), np.array(seeds)))
        return f"{number(values.mean(), digits)} ± {number(margin, digits)}"
    return between(values.mean(), values.min(), values.max(), digits)


def between(mean: float, least: float, largest: float, digits: int = 2) -> str:
    """Write a mean and, if the ends differ from each other as written, the range."""
    low, high = number(least, digits), number(largest, digits)
    return number(mean, digits) if low == high else f"{number(mean, digits)} ({low} to {high})"


def number(value: float, digits: int = 2) -> str:
    """Write a number without the zero before its point.

    >>> number(0.123), number(-0.004), number(1.5), number(12.4, 0), number(float("nan"))
    ('.12', '.00', '1.50', '12', '')
    """
    if np.isnan(value):
        return ""
    text = f"{value:.{digits}f}"
    if not float(text):
        text = text.removeprefix("-")
    sign, text = ("−", text[1:]) if text.startswith("-") else ("", text)
    return sign + (text[1:] if text.startswith("0.") else text)


def table_of(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(str(cell).replace('|', ' ') for cell in line)} |" for line in lines
    )
