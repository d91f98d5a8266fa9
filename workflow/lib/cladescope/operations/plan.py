"""The plan: what a configuration will cost, before any job runs."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import yaml

from cladescope.activations.store import ShardPlan, store_files
from cladescope.backbone.backbone import Layer, check_blocks, forward_cost, list_layers
from cladescope.images.index import ImageIndex
from cladescope.layout import SPLITS
from cladescope.sweep import (
    TRAINED,
    PassSpec,
    expand_packs,
    expand_passes,
    expand_sweep,
    mapped_dictionaries,
)

BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
PLANTED_CLASSES = 64
ENCODER_PASSES = 3
"""Training a TopK SAE costs at most its encoder's matrix product forward and twice backward."""
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
    disk: int
    """Bytes of the stores."""
    files: int
    memory: int
    """Bytes on the device: weights, the activations of one batch that are kept, one block's."""


@dataclass(frozen=True)
class Plan:
    """Costs of a configuration."""

    passes: list[PassPlan]
    dictionaries: int
    training_flops: float
    longest_training_flops: float
    """Of the most expensive dictionary."""
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
    flops, disk = [0.0], 0
    sweep = expand_sweep(config)
    for dictionary in sweep:
        spec = config["experiments"][dictionary.experiment]["backbone"]
        layers = described[spec["model"], spec.get("image_size")]
        d = layers[dictionary.layer - 1].width
        width = dictionary.width or 2 * d
        disk += 2 * width * d * BYTES["float32"]
        if dictionary.variant in TRAINED:
            flops.append(2 * d * width * ENCODER_PASSES * config["training"]["images"])
    return Plan(passes, len(sweep), sum(flops), max(flops), disk, _count_jobs(config))


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
        tokens = layer.tokens[place[1]]
        held += layer.width * tokens
        if job.sampled(place):
            tokens = extraction["patches"]["per_image"]
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
                f"expected_images, or index them first: snakemake -- {index}"
            )
    return counts


def describe_plan(plan: Plan, teraflops: float, grouping: Grouping) -> Iterator[str]:
    """Yield the lines of a readable plan.

    Parameters
    ----------
    teraflops
        Sustained speed that is assumed, in 10^12 operations a second.
    grouping
        How the Slurm profile groups jobs.
    """
    heads = f"{'images':>10}{'layers':>8}{'jobs':>6}{'PFLOP':>12}{'hours':>8}{'disk':>10}"
    yield f"{'extraction pass':<28}{heads}"
    for job in plan.passes:
        yield (
            f"{job.name:<28}{job.images:>10}{job.layers:>8}{job.jobs:>6}{job.flops / 1e15:>12.3g}"
            f"{job.flops / teraflops / 3.6e15:>8.2g}{_size(job.disk):>10}"
        )
    hours = plan.training_flops / teraflops / 3.6e15
    extraction = sum(job.flops for job in plan.passes)
    yield ""
    yield f"hours assume {teraflops:g} sustained TFLOP/s; `--teraflops` sets another speed"
    jobs = sum(job.jobs for job in plan.passes)
    yield f"extraction: {jobs} jobs, {extraction / teraflops / 3.6e15:.2g} hours together"
    yield (
        f"dictionaries: {plan.dictionaries}, each one job of training, of encoding and of scoring; "
        f"training at most {plan.training_flops / 1e15:.3g} PFLOP, {hours:.2g} hours"
    )
    yield f"files of activations: {sum(job.files for job in plan.passes):,}"
    disk = sum(job.disk for job in plan.passes)
    yield f"disk: {_size(disk)} activations, {_size(plan.dictionary_disk)} dictionaries"
    yield f"device memory of extraction: {_size(max(job.memory for job in plan.passes))}, about"
    submitted = grouping.submitted(plan.jobs)
    counts = ", ".join(f"{n:,} {name}" for name, n in submitted.items() if n)
    yield f"Slurm jobs through profiles/slurm: {submitted.total():,} ({counts})"
    longest = {
        "extract_activations": max(job.flops / job.jobs for job in plan.passes),
        "train_sae": plan.longest_training_flops,
    }
    limits = ", ".join(
        f"{rule} {ceil(RUNTIME_FACTOR * flops / teraflops / 6e13 + RUNTIME_MINUTES)}"
        for rule, flops in longest.items()
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
