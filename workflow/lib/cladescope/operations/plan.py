"""The plan: what a configuration will cost, before any job runs."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import yaml

from cladescope.activations.store import ShardPlan, store_files
from cladescope.backbone.backbone import Layer, check_blocks, forward_cost, list_layers
from cladescope.dictionaries.training.batches import BLOCK_ROWS
from cladescope.dictionaries.training.cost import (
    ATTAINED,
    CARDS,
    Card,
    Cost,
    dense_step,
    dictionary_memory,
    sparse_step,
    step_memory,
)
from cladescope.dictionaries.training.schedule import n_steps
from cladescope.dictionaries.training.spec import Recipe
from cladescope.images.index import ImageIndex
from cladescope.layout import SPLITS
from cladescope.sweep import (
    SPARSE,
    TRAINED,
    DictionarySpec,
    PassSpec,
    alone_experiments,
    expand_packs,
    expand_passes,
    expand_sweep,
    mapped_dictionaries,
)

BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
PLANTED_CLASSES = 64
RUNTIME_FACTOR, RUNTIME_MINUTES = 2, 10
"""Suggested time limits are this multiple of the estimate, and more for starting and reading."""
PROFILE = Path("profiles") / "slurm" / "config.yaml"
"""Below a checkout."""


@dataclass(frozen=True)
class PassPlan:
    """One extraction pass."""

    name: str
    jobs: int
    images: int
    layers: int
    flops: float
    in_bfloat16: bool
    disk: int
    """Bytes of the stores."""
    files: int
    memory: int
    """Bytes on the device: weights, the activations of one batch that are kept, one block's."""

    def seconds(self, card: Card) -> float:
        """Return the time on one card for all jobs together."""
        return Cost("forward", self.flops, 0, self.in_bfloat16).seconds(card)


@dataclass(frozen=True)
class TrainingPlan:
    """One job of training: dictionaries of a layer and variant."""

    costs: list[tuple[int, list[Cost]]]
    """Of each dictionary the number of steps and the parts of a step."""
    memory: int
    """Bytes on the device: all dictionaries and the activations that they train on."""

    def seconds(self, card: Card) -> float:
        """Return the time on a card."""
        return sum(n * sum(part.seconds(card) for part in step) for n, step in self.costs)


@dataclass(frozen=True)
class Plan:
    """Costs of a configuration."""

    passes: list[PassPlan]
    training: list[TrainingPlan]
    dictionaries: int
    dictionary_disk: int
    """Bytes of weights."""
    jobs: Counter[str]
    """Number of jobs of every rule that has one for each dataset, pass, layer or dictionary."""


@dataclass(frozen=True)
class Grouping:
    """Which rules share a Slurm job: the part of a profile that decides how many jobs there are."""

    group_of: dict[str, str]
    """Group of a rule."""
    components: dict[str, int]
    """Number of connected parts of the workflow that one Slurm job of a group runs."""

    @classmethod
    def load(cls, profile: Path) -> "Grouping":
        """Read `groups` and `group-components` of a Snakemake profile."""
        content = yaml.safe_load(profile.read_text())
        group_of, components = (
            dict(entry.split("=") for entry in content.get(key, ()))
            for key in ("groups", "group-components")
        )
        return cls(group_of, {name: int(count) for name, count in components.items()})

    def submitted(self, jobs: Mapping[str, int]) -> Counter[str]:
        """Return the number of Slurm jobs by rule or group.

        Parameters
        ----------
        jobs
            Number of jobs by rule; a grouped rule that is missing has one. The rules of a group
            follow one another, so a group has as many parts as its most numerous rule has jobs.
        """
        parts = Counter({rule: n for rule, n in jobs.items() if rule not in self.group_of})
        for rule, group in self.group_of.items():
            parts[group] = max(parts[group], jobs.get(rule, 1))
        return Counter({name: ceil(n / self.components.get(name, 1)) for name, n in parts.items()})


def make_plan(config: dict[str, Any]) -> Plan:
    """Count images, layers and tokens, and from them floating-point operations, bytes and files.

    Raises
    ------
    ValueError
        If the number of a dataset's images is neither declared nor indexed yet, or a model has
        another number of layers than declared; names the key.
    """
    counts = {name: _count_images(config, name) for name in config["datasets"]}
    described: dict[tuple[str, int | None], list[Layer]] = {}
    passes = []
    for job in expand_passes(config):
        backbone = (job.backbone["model"], job.backbone.get("image_size"))
        if backbone not in described:
            described[backbone] = list_layers(*backbone)
        layers = described[backbone]
        check_blocks(job.backbone["model"], layers, job.backbone["blocks"])
        passes.append(_plan_pass(job, layers, counts[job.dataset][job.split]))
    sweep = expand_sweep(config)
    layer_of = {
        (name, layer.number): layer
        for name, experiment in config["experiments"].items()
        for layer in described[
            experiment["backbone"]["model"], experiment["backbone"].get("image_size")
        ]
    }
    disk = 0
    for entry in sweep:
        d = layer_of[entry.experiment, entry.layer].width
        disk += 2 * (entry.width or 2 * d) * d * BYTES["float32"]
    alone = alone_experiments(config)
    jobs: list[tuple[DictionarySpec, ...]]
    jobs = [(entry,) for entry in sweep if entry.experiment in alone]
    jobs += [pack.members for pack in expand_packs(config, by_variant=True)]
    training = [
        _plan_training(config, members, layer_of[members[0].experiment, members[0].layer], counts)
        for members in jobs
        if members[0].variant in TRAINED
    ]
    return Plan(passes, training, len(sweep), disk, _count_jobs(config))


def _plan_training(
    config: dict[str, Any],
    members: Sequence[DictionarySpec],
    layer: Layer,
    counts: Mapping[str, Mapping[str, int]],
) -> TrainingPlan:
    """Plan the training of dictionaries of one layer and variant."""
    experiment = config["experiments"][members[0].experiment]
    extraction = experiment["extraction"]
    tokens = _stored_tokens(layer, members[0].token, extraction)
    recipe, costs = Recipe(**config["training"]), []
    batch, d = recipe.batch_size, layer.width
    rows = counts[experiment["dataset"]]["train"] * tokens
    memory = min(rows, rows if tokens == 1 else BLOCK_ROWS) * d * BYTES[extraction["precision"]]
    memory += max(step_memory(entry.width or 0, d, batch) for entry in members)
    for entry in members:
        assert entry.width and entry.sparsity
        step = dense_step(d, entry.width, batch)
        if entry.variant in SPARSE:
            step = sparse_step(d, entry.width, int(entry.sparsity), batch)
        costs.append((n_steps(recipe, tokens), step))
        memory += dictionary_memory(entry.width, d)
    return TrainingPlan(costs, memory)


def _stored_tokens(layer: Layer, token: str, extraction: Mapping[str, Any]) -> int:
    """Return the tokens that are stored of an image."""
    sampled = token == "patches" and "patches" in extraction
    return extraction["patches"]["per_image"] if sampled else layer.tokens[token]


def _count_jobs(config: dict[str, Any]) -> Counter[str]:
    experiments = config["experiments"].values()
    datasets = {experiment["dataset"] for experiment in experiments}
    planted = [name for name in datasets if config["datasets"][name]["source"] == "planted"]
    backbones = {str(experiment["backbone"]["weights"]) for experiment in experiments}
    passes, sweep = expand_passes(config), expand_sweep(config)
    place_of = [(entry.experiment, entry.token, entry.layer) for entry in sweep]
    counts = Counter(
        render_planted=len(planted) * len(SPLITS),
        index_images=len(datasets) * len(SPLITS),
        build_taxonomy=len(datasets),
        train_planted_backbone=sum(
            path.startswith(f"{config['results']}/backbones/") for path in backbones
        ),
        extract_activations=sum(job.jobs == 1 for job in passes),
        extract_shards=sum(job.jobs for job in passes if job.jobs > 1),
        join_shards=sum(job.jobs > 1 for job in passes),
        train_sae=len(sweep),
        encode=len(sweep),
        score_dictionary=len(sweep),
        match_seeds=len({p for p, e in zip(place_of, sweep, strict=True) if e.seed is not None}),
        probe_layer=len(set(place_of)),
        map_relevancy=len(mapped_dictionaries(config)),
        draw_thumbnails=len(datasets) * ("atlas" in config),
        chart_dictionary=len(sweep) * ("atlas" in config),
    )
    for rule in ("train_sae", "encode", "score_dictionary", "chart_dictionary"):
        packs = expand_packs(config, by_variant=rule == "train_sae")
        if counts[rule] and packs:
            counts[rule] -= sum(len(pack.members) for pack in packs)
            counts[f"{rule} (of several)"] = len(packs)
    return counts


def _plan_pass(job: PassSpec, layers: list[Layer], images: int) -> PassPlan:
    deepest = max(layer for layer, _ in job.places)
    cost = forward_cost(job.backbone["model"], job.backbone.get("image_size"), deepest)
    extraction = job.extraction
    # Fails here rather than hours later, if shards and images do not match.
    shards = ShardPlan(images, extraction["shards"]).n_shards
    disk = files = held = 0
    for place in job.places:
        layer = layers[place[0] - 1]
        held += layer.width * layer.tokens[place[1]]
        tokens = _stored_tokens(layer, place[1], extraction)
        disk += images * tokens * layer.width * BYTES[extraction["precision"]]
        files += sum(map(len, store_files("", shards, job.sampled(place)).values())) + 1
    read = {number for number, _ in job.places}
    widest = max(layer.width * layer.tokens["patches"] for layer in layers)
    # Weights twice with autocast (its copies), a block's hidden layer about eight times its width.
    weights = cost.parameters * (6 if "autocast" in extraction else 4)
    working = extraction["batch_size"] * (held + 8 * widest) * BYTES["float32"]
    return PassPlan(
        name=job.stem,
        jobs=job.jobs,
        images=images,
        layers=len(read),
        flops=float(cost.flops) * images,
        in_bfloat16="autocast" in extraction,
        disk=disk,
        files=files,
        memory=weights + working,
    )


def _count_images(config: dict[str, Any], name: str) -> dict[str, int]:
    dataset = config["datasets"][name]
    counts = {}
    for split in SPLITS:
        index = Path(config["results"]) / "datasets" / name / "images" / f"{split}.parquet"
        if dataset["source"] == "planted":
            counts[split] = PLANTED_CLASSES * dataset["images_per_class"][split]
        elif split in dataset.get("expected_images", {}):
            counts[split] = dataset["expected_images"][split]
        elif index.is_file():
            counts[split] = len(ImageIndex.load(index))
        else:
            raise ValueError(
                f"datasets.{name}: the number of images of split {split} is not known; set "
                f"expected_images, or index them first: snakemake --cores all -- {index}"
            )
    return counts


def describe_plan(plan: Plan, card_name: str, grouping: Grouping) -> Iterator[str]:
    """Yield the lines of a readable plan.

    Parameters
    ----------
    card_name
        GPU that is assumed: one of `CARDS`.
    grouping
        How the Slurm profile groups jobs.

    Raises
    ------
    ValueError
        If the card is not known.
    """
    if card_name not in CARDS:
        raise ValueError(f"--card {card_name}: known are {', '.join(CARDS)}")
    card = CARDS[card_name]
    heads = f"{'images':>10}{'layers':>8}{'jobs':>6}{'PFLOP':>12}{'hours':>8}{'disk':>10}"
    yield f"{'extraction pass':<28}{heads}"
    for job in plan.passes:
        yield (
            f"{job.name:<28}{job.images:>10}{job.layers:>8}{job.jobs:>6}{job.flops / 1e15:>12.3g}"
            f"{job.seconds(card) / 3600:>8.2g}{_size(job.disk):>10}"
        )
    training = [job.seconds(card) for job in plan.training]
    extraction = [job.seconds(card) for job in plan.passes]
    yield ""
    yield (
        f"hours assume {ATTAINED:.0%} of the peak rates of one {card_name} for each job; not "
        "measured; `--card` names another"
    )
    jobs = sum(job.jobs for job in plan.passes)
    yield f"extraction: {jobs} jobs, {sum(extraction) / 3600:.2g} GPU-hours together"
    yield (
        f"dictionaries: {plan.dictionaries}; training: {len(training)} jobs, "
        f"{sum(training) / 3600:.2g} GPU-hours together"
    )
    yield f"files of activations: {sum(job.files for job in plan.passes):,}"
    disk = sum(job.disk for job in plan.passes)
    yield f"disk: {_size(disk)} activations, {_size(plan.dictionary_disk)} dictionaries"
    peaks = {
        "extraction": max(job.memory for job in plan.passes),
        "training": max((job.memory for job in plan.training), default=0),
    }
    yield "device memory, about: " + ", ".join(f"{_size(n)} {name}" for name, n in peaks.items())
    if peaks["training"] > card.memory * 1e9:
        yield f"MORE THAN A {card_name} HAS ({card.memory} GB): lower sweep.dictionaries_per_job"
    submitted = grouping.submitted(plan.jobs)
    counts = ", ".join(f"{n:,} {name}" for name, n in submitted.items() if n)
    yield f"Slurm jobs through profiles/slurm: {submitted.total():,} ({counts})"
    longest = {
        "extract_activations": max(job.seconds(card) / job.jobs for job in plan.passes),
        "train_sae": max(training, default=0),
    }
    limits = ", ".join(
        f"{rule} {ceil(RUNTIME_FACTOR * seconds / 60 + RUNTIME_MINUTES)}"
        for rule, seconds in longest.items()
    )
    yield (
        f"`runtime` there in minutes, {RUNTIME_FACTOR} times the longest job "
        f"and {RUNTIME_MINUTES} more: {limits}"
    )


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
