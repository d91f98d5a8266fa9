"""Figures of a study; the only module that knows seaborn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from cladescope.codes import Codes
from cladescope.examples import best_latents, strongest_images
from cladescope.files import write_aside
from cladescope.images import ImageIndex, decode_image
from cladescope.sources.base import ImageSource

SCORES = {
    "node_recovery": "internal nodes recovered (share)",
    "coherent_share": "coherent latents (share)",
    "coverage_top": "ontological coverage, top sets",
    "lch_tau_height_contracted": r"LCH$_\tau$ height (contracted tree)",
    "pair_lch_contracted": "pair-LCH height (contracted tree)",
    "best_internal_mcc": "best MCC with an internal node",
}
SENSITIVE = {
    "lch_tau_height_contracted": SCORES["lch_tau_height_contracted"],
    "coverage_top": SCORES["coverage_top"],
    "coverage_tau": "ontological coverage, active classes",
    "coherent_share": SCORES["coherent_share"],
}
TRAINED = "topk SAE"
PERMUTED = "topk SAE, leaves permuted (null)"
SHUFFLED = "topk SAE, labels shuffled (null)"
RANDOM = "topk SAE, random backbone"
BASELINES = {
    "neurons": "raw neurons",
    "pca": "principal components",
    "kmeans": "k-means directions",
    "untrained": "untrained SAE",
}
# Colour-blind-safe; a null has the colour of what it is the null of.
STYLES = {
    TRAINED: ("#0072B2", ""),
    PERMUTED: ("#0072B2", (4, 2)),
    SHUFFLED: ("#0072B2", (1, 2)),
    RANDOM: ("#D55E00", ""),
    BASELINES["neurons"]: ("#009E73", (6, 1, 1, 1)),
    BASELINES["pca"]: ("#CC79A7", (6, 1, 1, 1)),
    BASELINES["kmeans"]: ("#E69F00", (6, 1, 1, 1)),
    BASELINES["untrained"]: ("#7F7F7F", (6, 1, 1, 1)),
}
SHOWN_LATENTS = 10
SHOWN_IMAGES = 10


def plot_scores(metrics: pd.DataFrame, paths: Sequence[str], dpi: int) -> None:
    """Draw each score by layer, with its nulls, the baselines and the random backbone.

    A line is the mean over the widths and sparsities of its arm; its band spans the seeds (of the
    dictionaries and, where there are several, of the backbones). Every dataset, model and token
    kind has panels of its own.
    """
    _style()
    table = scores_by_layer(metrics)
    shown = [series for series in STYLES if series in set(table["series"])]
    grid = sns.relplot(
        table,
        kind="line",
        x="layer",
        y="value",
        hue="series",
        style="series",
        hue_order=shown,
        style_order=shown,
        palette={name: colour for name, (colour, _) in STYLES.items()},
        dashes={name: dash for name, (_, dash) in STYLES.items()},
        markers=dict.fromkeys(STYLES, "o"),
        markersize=5,
        col="score",
        col_wrap=3,
        height=2.7,
        aspect=1.25,
        errorbar=("pi", 100),
        facet_kws={"sharey": False, "legend_out": True},
    )
    grid.set_titles("{col_name}")
    grid.set_axis_labels("layer (block)", "")
    grid.set(xticks=sorted(metrics["layer"].unique()))
    grid.legend.set_title("")
    sns.move_legend(grid, "lower center", bbox_to_anchor=(0.45, -0.11), ncol=4, frameon=False)
    _save(grid.figure, paths, dpi)


def plot_sensitivity(
    sensitivity: pd.DataFrame, metrics: pd.DataFrame, paths: Sequence[str], dpi: int
) -> None:
    """Draw heights and coverages of the trained dictionaries for every N, τ and ρ of the grid."""
    _style()
    keep = (metrics["variant"] == "topk") & (metrics["weights"] != "random")
    table = sensitivity.merge(metrics.loc[keep, ["dictionary", "layer"]], on="dictionary")
    if table.empty:
        _save(_remark("no trained dictionary on a trained backbone"), paths, dpi)
        return
    parts = []
    for score, label in SENSITIVE.items():
        for suffix, series in (("", TRAINED), ("_null_permuted", PERMUTED)):
            part = table[["layer", "top_n", "tau", "rho", f"{score}{suffix}"]]
            part = part.rename(columns={f"{score}{suffix}": "value"})
            parts.append(part.assign(series=series, score=label))
    grid = sns.relplot(
        pd.concat(parts, ignore_index=True).rename(columns={"top_n": "N", "tau": "τ"}),
        kind="line",
        x="layer",
        y="value",
        hue="N",
        size="τ",
        style="series",
        palette="crest",
        sizes=(0.7, 2.2),
        dashes={TRAINED: "", PERMUTED: (4, 2)},
        col="score",
        height=2.9,
        aspect=1.1,
        errorbar=None,
        legend="full",
        facet_kws={"sharey": False},
    )
    grid.set_titles("{col_name}")
    grid.set_axis_labels("layer (block)", "")
    grid.set(xticks=sorted(table["layer"].unique()))
    _save(grid.figure, paths, dpi)


def plot_quality(metrics: pd.DataFrame, paths: Sequence[str], dpi: int) -> None:
    """Draw reconstruction and dead latents against sparsity for the trained dictionaries."""
    _style()
    trained = metrics[(metrics["variant"] == "topk") & (metrics["weights"] != "random")]
    if trained.empty:
        # A study of baselines or of random weights alone.
        _save(_remark("no trained dictionary on a trained backbone"), paths, dpi)
        return
    table = trained.rename(
        columns={"fve": "variance explained (FVE)", "dead_share": "dead latents (share)"}
    ).melt(
        id_vars=["layer", "width", "sparsity"],
        value_vars=["variance explained (FVE)", "dead latents (share)"],
    )
    grid = sns.relplot(
        table,
        kind="line",
        x="sparsity",
        y="value",
        hue="layer",
        style="width",
        palette="crest",
        markers=True,
        col="variable",
        height=3.2,
        aspect=1.2,
        errorbar=("pi", 100),
        facet_kws={"sharey": False},
        legend="full",
    )
    grid.set_titles("{col_name}")
    grid.set_axis_labels("latents kept per image, k", "")
    grid.set(xticks=sorted(trained["sparsity"].unique()))
    _save(grid.figure, paths, dpi)


CURVES = {
    "fve": "variance explained (FVE)",
    "dead_share": "dead latents (share)",
    "l0": "latents per token (L0)",
}


def plot_training_curves(logs: pd.DataFrame, paths: Sequence[str], dpi: int) -> None:
    """Draw reconstruction, dead latents and sparsity over the images of a run, by variant.

    `logs` joins the training logs with their dictionary's experiment, layer and variant. A line is
    the mean over the dictionaries of a layer, its band their range.
    """
    _style()
    if logs.empty:
        # A study of baselines alone.
        figure = plt.figure(figsize=(4, 1))
        figure.text(0.5, 0.5, "no trained dictionary", ha="center")
        _save(figure, paths, dpi)
        return
    table = logs.rename(columns=CURVES).melt(
        id_vars=["experiment", "variant", "layer", "images"],
        value_vars=list(CURVES.values()),
        var_name="curve",
    )
    grid = sns.relplot(
        table,
        kind="line",
        x="images",
        y="value",
        hue="layer",
        style="experiment",
        palette="crest",
        row="variant",
        col="curve",
        errorbar=("pi", 100),
        height=2.5,
        aspect=1.3,
        facet_kws={"sharey": False},
    )
    grid.set_titles("{row_name}: {col_name}")
    grid.set_axis_labels("images seen", "")
    _save(grid.figure, paths, dpi)


def plot_top_images(
    codes: Codes,
    latents: pd.DataFrame,
    index: ImageIndex,
    source: ImageSource,
    title: str,
    paths: Sequence[str],
    dpi: int,
) -> None:
    """Draw the strongest images of the latents that match an internal node best.

    One row per node: the latent with the highest MCC for it, titled with the synset of its LCH_τ,
    which is a leaf where one class fills the top set.
    """
    _style()
    shown = best_latents(latents, SHOWN_LATENTS)
    figure, axes = plt.subplots(
        max(len(shown), 1),
        SHOWN_IMAGES,
        figsize=(SHOWN_IMAGES * 0.75 + 3.2, max(len(shown), 1) * 0.8 + 0.6),
        squeeze=False,
    )
    figure.suptitle(f"Latents that match an internal node best: {title}", x=0.02, ha="left")
    for axis in axes.flat:
        axis.set_axis_off()
    records: list[dict[str, Any]] = shown.to_dict("records")  # type: ignore[assignment]
    for row, latent in enumerate(records):
        images = strongest_images(codes, latent["latent"], SHOWN_IMAGES)
        for axis, image in zip(axes[row], images, strict=False):
            axis.imshow(decode_image(source.read_checked(index, image)))
        axes[row, 0].text(
            -0.15,
            0.5,
            "{lch_tau_name}\nlatent {latent}, MCC {best_internal_mcc:.2f}\n"
            "with {best_internal_name}".format(**latent),
            transform=axes[row, 0].transAxes,
            ha="right",
            va="center",
            fontsize=8,
        )
    figure.subplots_adjust(
        left=2.6 / figure.get_figwidth(),
        right=0.99,
        top=1 - 0.5 / figure.get_figheight(),
        bottom=0.01,
        wspace=0.05,
        hspace=0.08,
    )
    _save(figure, paths, dpi)


def scores_by_layer(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return columns layer, experiment, seed, series, score, value.

    `score` names the dataset, the model and the token, too, where there are several.
    """
    several = [name for name in ("dataset", "model", "token") if metrics[name].nunique() > 1]
    if several:
        parts = []
        for values, rows in metrics.groupby(several, sort=False):
            table = scores_by_layer(rows)
            parts.append(table.assign(score=", ".join(map(str, values)) + "\n" + table["score"]))
        return pd.concat(parts)
    topk = metrics["variant"] == "topk"
    random = metrics["weights"] == "random"
    parts = [
        _melt(metrics[topk & ~random], TRAINED, ""),
        _melt(metrics[topk & ~random], PERMUTED, "_null_permuted"),
        _melt(metrics[topk & ~random], SHUFFLED, "_null_shuffled"),
        _melt(metrics[topk & random], RANDOM, ""),
    ]
    for variant, series in BASELINES.items():
        parts.append(_melt(metrics[(metrics["variant"] == variant) & ~random], series, ""))
    table = pd.concat(parts).dropna(subset=["value"])
    table["seed"] = table["seed"].fillna(0)
    keys = ["score", "series", "layer", "experiment", "seed"]
    return table.groupby(keys, as_index=False, sort=False)[["value"]].mean()


def _melt(rows: pd.DataFrame, series: str, suffix: str) -> pd.DataFrame:
    columns = {f"{score}{suffix}": label for score, label in SCORES.items()}
    named = rows[["layer", "experiment", "seed", *columns]].rename(columns=columns)
    melted = named.melt(id_vars=["layer", "experiment", "seed"], var_name="score")
    return melted.assign(series=series)


def _remark(text: str) -> Figure:
    figure = plt.figure(figsize=(4, 1))
    figure.text(0.5, 0.5, text, ha="center")
    return figure


def _style() -> None:
    mpl.use("agg")
    sns.set_theme(style="whitegrid", context="paper")
    # Fixed ids and no date: the same figure makes the same bytes.
    mpl.rcParams["svg.hashsalt"] = "cladescope"
    mpl.rcParams["svg.fonttype"] = "none"


def _save(figure: Figure, paths: Sequence[str], dpi: int) -> None:
    for path in paths:
        suffix = Path(path).suffix[1:]
        metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[suffix]
        with write_aside(path) as aside:
            figure.savefig(aside, format=suffix, dpi=dpi, bbox_inches="tight", metadata=metadata)
    plt.close(figure)
