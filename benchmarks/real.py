"""The tables of docs/real.md, from the tables of the finished studies.

make demo-real
make run CONFIG=config/real_shared_vendors.yaml
.venv/bin/snakemake --cores all --configfile config/real_shared_vendors.yaml \\
    --config results=results/real_grouped 'datasets={emoji: {group: vendor}}'
.venv/bin/python benchmarks/real.py
"""

from pathlib import Path

import pandas as pd

APART, SHARED, GROUPED = (
    Path("results", name, "tables") for name in ("real", "real_shared_vendors", "real_grouped")
)
LAST = 5
"""Layer of all tables but that of the layers."""
RECOVERY = ("node_recovery", "node_recovery_null_permuted")
KINDS = {
    "TopK": ("trained", "topk"),
    "TopK on the positions (`patches`)": ("patches", "topk"),
    "its start (`untrained`)": ("trained", "untrained"),
    "k-means": ("trained", "kmeans"),
    "principal components": ("trained", "pca"),
    "raw neurons": ("trained", "neurons"),
    "random backbone, TopK": ("random", "topk"),
}
"""Experiment and variant by the words for them."""
OVER_DEPTH = ("TopK", "k-means", "random backbone, TopK")
COMPARED = ("TopK", "its start (`untrained`)", "k-means")
SIZES = {"2": (2, 2), "3": (3, 3), "4–15": (4, 15), "16 and more": (16, 10**6)}
"""Fewest and most classes of a node."""
SCORES = {
    "nodes recovered (leaves permuted)": RECOVERY,
    "coherent latents": ("coherent_share",),
    "classes recovered": ("leaf_recovery",),
    "FVE": ("fve",),
}
"""Columns of metrics.csv by the words for them."""
IDENTITY = ["dictionary", "experiment", "layer", "variant", "width", "sparsity"]


def main() -> None:
    """Print the tables as Markdown."""
    apart = pd.read_csv(APART / "metrics.csv")
    print_table(
        ["dictionary", *SCORES],
        [[name, *cells(chosen(apart, name), *SCORES.values())] for name in KINDS],
    )
    print_table(
        ["stage", *OVER_DEPTH],
        [
            [str(layer), *(cells(chosen(apart, name, layer), RECOVERY)[0] for name in OVER_DEPTH)]
            for layer in range(1, LAST + 1)
        ],
    )
    nodes = pd.read_csv(APART / "nodes.csv.gz").merge(apart[IDENTITY], on="dictionary")
    rows = []
    for size, (least, most) in SIZES.items():
        of_size = nodes[nodes["n_leaves"].between(least, most)]
        shares = (by_dictionary(chosen(of_size, name)) for name in KINDS)
        found = [cells(share, ("recovered", "recovered_null_permuted"))[0] for share in shares]
        rows.append([size, str(of_size["wnid"].nunique()), *found])
    print_table(["classes of a node", "nodes", *KINDS], rows)
    probes = pd.read_csv(APART / "probes.csv").query(
        "layer == @LAST and probe == 'linear' and experiment != 'patches'"
    )
    print_table(
        ["probe of", "level", "groups", "accuracy", "largest group"],
        [
            [row.experiment, row.level, str(row.n_groups), two(row.accuracy), two(row.chance)]
            for row in probes.itertuples()
        ],
    )
    studies = {
        "apart": apart,
        "shared": pd.read_csv(SHARED / "metrics.csv"),
        "shared, halves by vendor": pd.read_csv(GROUPED / "metrics.csv"),
    }
    print_table(
        ["dictionary", "vendors", *SCORES],
        [
            [name, vendors, *cells(chosen(table, name), *SCORES.values())]
            for name in COMPARED
            for vendors, table in studies.items()
        ],
    )


def chosen(table: pd.DataFrame, name: str, layer: int = LAST) -> pd.DataFrame:
    """Return a kind's rows, of width 256 and k 8 where it has several."""
    experiment, variant = KINDS[name]
    of_kind = (table["experiment"] == experiment) & (table["variant"] == variant)
    rows = table[of_kind & (table["layer"] == layer)]
    return rows.query("width == 256 and sparsity == 8") if variant == "topk" else rows


def by_dictionary(nodes: pd.DataFrame) -> pd.DataFrame:
    """Average the rows of each dictionary's nodes."""
    return nodes.groupby("dictionary")[["recovered", "recovered_null_permuted"]].mean()


def cells(rows: pd.DataFrame, *columns: tuple[str, ...]) -> list[str]:
    """Return the range of each column over the rows; that of a second one, a null, in brackets.

    Empty where there are no rows.
    """
    if rows.empty:
        return [""] * len(columns)
    return [
        " ".join(
            f"({span(rows[name])})" if place else span(rows[name])
            for place, name in enumerate(names)
        )
        for names in columns
    ]


def span(values: pd.Series) -> str:
    """Return the least and the largest value, or the only one."""
    return "–".join(dict.fromkeys(map(two, (values.min(), values.max()))))


def two(value: float) -> str:
    """Return a share with two digits, without the zero before the point."""
    return f"{value:.2f}".replace("-", "−").replace("0.", ".")


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table."""
    for line in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(line)} |")
    print()


if __name__ == "__main__":
    main()
