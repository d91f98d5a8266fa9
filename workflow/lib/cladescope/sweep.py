"""What a configuration asks for, spelt out: extraction passes, dictionaries, who shares a job."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

from cladescope import layout
from cladescope.layout import PAIRS, SPLITS
from cladescope.sites import kind_of, tokens_of

SPARSE = ("topk", "batchtopk", "matryoshka")
"""Variants that a GPU trains by the sparse step."""
TRAINED = (
    *SPARSE,
    "relu",
    "jumprelu",
    "tree",
    "matching_pursuit",
    "hsae",
    "archetypal",
    "hierarchical_topk",
    "ortsae",
    "tied",
    "aligned",
    "likeness",
    "frozen_decoder",
    "frozen_encoder",
    "soft_frozen",
)
"""Variants that are trained; the others are baselines."""
SUPERVISED = {"class_means": ("index",), "node_means": ("index", "taxonomy")}
"""Baselines that are told the classes of the training images, and the files that tell them."""
SPARSITY = {"relu": "l1_", "jumprelu": "l0_"}
"""How names write a variant's sparsity, where it is not k."""
PACKED = (
    "train_sae",
    "encode",
    "keep_positions",
    "score_dictionary",
    "score_pairs",
    "ablate",
    "measure_uses",
    "segment",
    "chart_dictionary",
)
"""Rules whose jobs may be for several dictionaries."""
AXES = ("width", "sparsity", "seed")
"""Keys of a variant's grid that list what its dictionaries differ in; others are options of all."""


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
    imported: bool = False
    """Whether another library trained it; `variant` is then the name that it goes by."""

    @property
    def name(self) -> str:
        """Folder name within the variant: `w256_k8_s0`, `w256_l1_0.5_s0`, `k8`.

        `full` if nothing is to be chosen.
        """
        sparsity = SPARSITY.get(self.variant, "k")
        parts = (("w", self.width), (sparsity, self.sparsity), ("s", self.seed))
        return "_".join(f"{key}{value}" for key, value in parts if value is not None) or "full"

    @property
    def folder(self) -> str:
        """Folder below the results folder."""
        return layout.DICTIONARY.format(name=self.name, **vars(self))


@dataclass(frozen=True)
class Pack:
    """Dictionaries that share a job; in no path and no parameter, so that it changes no result."""

    members: tuple[DictionarySpec, ...]
    """All of one experiment, token and layer."""
    variant: str | None
    """The one that all have, or None where they differ."""
    number: int
    """Counts the packs of the experiment, token, layer and variant."""

    @property
    def experiment(self) -> str:
        """Of all members."""
        return self.members[0].experiment

    @property
    def stem(self) -> str:
        """Name of its jobs."""
        first = self.members[0]
        parts = (first.experiment, first.token, f"L{first.layer}", self.variant, self.number)
        return "_".join(str(part) for part in parts if part is not None)


@dataclass(frozen=True)
class PassSpec:
    """One pass over the images: layers and tokens of one split that share the forward."""

    experiment: str
    split: str
    number: int
    dataset: str
    backbone: dict[str, Any]
    extraction: dict[str, Any]
    """How activations are computed and stored, as far as it concerns this pass."""
    places: tuple[tuple[int, str], ...]
    """Layers and tokens."""
    jobs: int
    """How many share its shards; in no path and no parameter, so that it changes no result."""
    threads: int
    protect: bool

    @property
    def stem(self) -> str:
        """Name of its jobs."""
        return f"{self.experiment}_{self.split}_{self.number}"

    @property
    def index(self) -> str:
        """Image index, below the results folder."""
        return layout.INDEX.format(dataset=self.dataset, split=self.split)

    def manifest(self, place: tuple[int, str]) -> str:
        """Manifest of one layer and token, below the results folder."""
        layer, token = place
        return layout.MANIFEST.format(
            experiment=self.experiment, split=self.split, token=token, layer=layer
        )

    def parts(self) -> list[str]:
        """First and last shard of each job (`0-15`); every job has one more or one less."""
        shards = self.extraction["shards"]
        bounds = [shards * number // self.jobs for number in range(self.jobs + 1)]
        return [f"{first}-{end - 1}" for first, end in pairwise(bounds)]

    def partial(self, place: tuple[int, str], shards: str) -> str:
        """Manifest of some shards of one layer and token, below the results folder."""
        layer, token = place
        return layout.PARTIAL.format(
            experiment=self.experiment, split=self.split, token=token, layer=layer, shards=shards
        )

    def sampled(self, place: tuple[int, str]) -> bool:
        """Whether a store holds a sample of the patches."""
        return kind_of(place[1]) == "patches" and "patches" in self.extraction


def expand_sweep(config: dict[str, Any]) -> list[DictionarySpec]:
    """Return every dictionary of every experiment, in the order of the configuration."""
    entries = []
    for name, experiment in config["experiments"].items():
        sweep = experiment["sweep"]
        entries += [
            DictionarySpec(name, token, layer, variant, *point)
            for token in tokens_of(sweep)
            for layer in sweep["layers"]
            for variant, grid in sweep["variants"].items()
            for point in product(*(grid.get(axis, [None]) for axis in AXES))
        ]
        entries += [
            DictionarySpec(name, source["token"], source["layer"], known_as, imported=True)
            for known_as, source in sweep.get("imported", {}).items()
        ]
    return entries


def variant_options(config: dict[str, Any], experiment: str, variant: str) -> dict[str, Any]:
    """Return what a configuration sets for all dictionaries of a variant; empty for defaults."""
    grid = config["experiments"][experiment]["sweep"]["variants"][variant]
    return {key: value for key, value in grid.items() if key not in AXES}


def expand_packs(
    config: dict[str, Any], by_variant: bool, among: Sequence[DictionarySpec] | None = None
) -> list[Pack]:
    """Return the dictionaries by job, of the experiments whose jobs take two or more.

    Parameters
    ----------
    by_variant
        Whether those of a pack have the variant in common, as training needs it; it leaves
        imported ones out.
    among
        The dictionaries that there is something to do for; None for all.
    """
    groups: dict[tuple[Any, ...], list[DictionarySpec]] = {}
    alone = alone_experiments(config)
    for entry in expand_sweep(config) if among is None else among:
        variant = entry.variant if by_variant else None
        group = (entry.experiment, entry.token, entry.layer, variant)
        if entry.experiment not in alone and not (by_variant and entry.imported):
            groups.setdefault(group, []).append(entry)
    packs = []
    for (experiment, _, _, variant), entries in groups.items():
        size = config["experiments"][experiment]["sweep"]["dictionaries_per_job"]
        parts = [tuple(entries[i : i + size]) for i in range(0, len(entries), size)]
        packs += [Pack(part, variant, n) for n, part in enumerate(parts)]
    return packs


def alone_experiments(config: dict[str, Any]) -> list[str]:
    """Return the experiments in which every dictionary has jobs of its own."""
    return [
        name
        for name, experiment in config["experiments"].items()
        if experiment["sweep"]["dictionaries_per_job"] == 1
    ]


def has_pairs(config: dict[str, Any], experiment: str) -> bool:
    """Say whether an experiment's dataset has pairs of images that differ in one thing."""
    dataset = config["datasets"][config["experiments"][experiment]["dataset"]]
    return bool({"pairs", "pair_scenes"} & dataset.keys())


def has_masks(config: dict[str, Any], experiment: str) -> bool:
    """Say whether it is known what the patches of an experiment's evaluation images show."""
    dataset = config["datasets"][config["experiments"][experiment]["dataset"]]
    return dataset["source"] == "planted" or "masks" in dataset


def has_several_backbones(config: dict[str, Any]) -> bool:
    """Say whether a study compares networks: two or more whose weights are not random."""
    backbones = (experiment["backbone"] for experiment in config["experiments"].values())
    trained = {
        (backbone["model"], backbone["weights"])
        for backbone in backbones
        if weights_kind(backbone) != "random"
    }
    return len(trained) > 1


def expand_passes(config: dict[str, Any]) -> list[PassSpec]:
    """Return every extraction pass of every experiment."""
    return [
        PassSpec(
            experiment=name,
            split=split,
            number=number,
            dataset=experiment["dataset"],
            backbone=experiment["backbone"],
            extraction=_extraction_of(experiment["extraction"], split, part["tokens"]),
            places=tuple(product(part["layers"], tokens_of(part))),
            # No job without a shard.
            jobs=min(experiment["extraction"][key].get(split, 1) for key in ("jobs", "shards")),
            threads=experiment["extraction"]["threads"],
            protect=experiment["extraction"]["protect"],
        )
        for name, experiment in config["experiments"].items()
        for split in (*SPLITS, *([PAIRS] if has_pairs(config, name) else []))
        for number, part in enumerate(experiment["extraction"]["passes"])
    ]


def _extraction_of(extraction: dict[str, Any], split: str, tokens: list[str]) -> dict[str, Any]:
    """Keep what concerns a pass, so that an option of one token kind leaves the others alone."""
    spec = {key: extraction[key] for key in ("precision", "batch_size")}
    spec["shards"] = extraction["shards"].get(split, 1)
    if "autocast" in extraction:
        spec["autocast"] = extraction["autocast"]
    if "patches" in extraction and "patches" in tokens:
        spec["patches"] = extraction["patches"]
    return spec


def weights_kind(backbone: dict[str, Any]) -> str:
    """Return `pretrained`, `random`, or `file` where the weights are a path."""
    weights = backbone["weights"]
    return weights if weights in ("pretrained", "random") else "file"
