"""What `make plan` prints."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import yaml

from cladescope.dictionaries.training.cost import ATTAINED, CARDS, PROCESSOR, Card, this_processor
from cladescope.operations.costs import Plan
from cladescope.sites import RESIDUAL

RUNTIME_FACTOR, RUNTIME_MINUTES = 2, 10
"""Suggested time limits are this multiple of the estimate, and more for starting and reading."""
PROFILE = Path("profiles") / "slurm" / "config.yaml"
"""Below a checkout."""
MANY_PASSES = 20
"""Passes over a training split from which the plan warns of overfitting.

Seen once: 42 passes over 4,800 pictures gave an FVE of .82 in training and .48 on other pictures.
"""


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


def describe_plan(plan: Plan, card_name: str, grouping: Grouping) -> Iterator[str]:
    """Yield the lines of a readable plan.

    Parameters
    ----------
    card_name
        GPU that is assumed, one of `CARDS`; or `PROCESSOR`, for this machine's own.
    grouping
        How the Slurm profile groups jobs.

    Raises
    ------
    ValueError
        If the card is not known.
    """
    if card_name not in (*CARDS, PROCESSOR):
        raise ValueError(f"--card {card_name}: known are {', '.join([*CARDS, PROCESSOR])}")
    card = this_processor() if card_name == PROCESSOR else CARDS[card_name]
    heads = f"{'images':>10}{'layers':>8}{'jobs':>6}{'PFLOP':>12}{'time':>10}{'disk':>10}"
    yield f"{'extraction pass':<28}{heads}"
    for job in plan.passes:
        yield (
            f"{job.name:<28}{job.images:>10}{job.layers:>8}{job.jobs:>6}{job.flops / 1e15:>12.3g}"
            f"{_time(job.seconds(card)):>10}{_size(job.disk):>10}"
        )
        if job.sites != (RESIDUAL,):
            yield f"  of each layer {', '.join(job.sites)}"
    yield ""
    yield from _times(plan, card_name, card)
    yield f"files of activations: {sum(job.files for job in plan.passes):,}"
    disk = sum(job.disk for job in plan.passes)
    yield f"disk: {_size(disk)} activations, {_size(plan.dictionary_disk)} dictionaries"
    peaks = {
        "extraction": max(job.memory for job in plan.passes),
        "training": max((job.memory for job in plan.training), default=0),
    }
    yield "device memory, about: " + ", ".join(f"{_size(n)} {name}" for name, n in peaks.items())
    if peaks["training"] > card.memory * 1e9:
        has = f"A {card_name} HAS ({card.memory:.0f} GB)"
        yield f"MORE THAN {has}: lower sweep.dictionaries_per_job"
    yield from _slurm(plan, card, grouping)
    yield ""
    yield from _repetitions(plan)
    yield from _preprocessing(plan)


def _times(plan: Plan, card_name: str, card: Card) -> Iterator[str]:
    """How long the stages take that compute with models or dictionaries."""
    rates = f"the peak rates of one {card_name} for each job; not measured"
    if card_name == PROCESSOR:
        rates = f"the {card.float32:.2g} TFLOP/s that this processor reached in a product just now"
    yield f"times assume {ATTAINED:.0%} of {rates}; `--card` names another"
    extraction = [job.seconds(card) for job in plan.passes]
    jobs = sum(job.jobs for job in plan.passes)
    yield f"extraction: {jobs} jobs, {_time(sum(extraction))} together, without decoding images"
    training = [job.seconds(card) for job in plan.training]
    yield (
        f"dictionaries: {plan.dictionaries}; training: {len(training)} jobs, "
        f"{_time(sum(training))} together"
    )
    if plan.maps:
        maps = [job.seconds(card) for job in plan.maps]
        pairs = sum(job.pairs for job in plan.maps)
        yield (
            f"relevancy: {len(maps)} jobs, {_time(sum(maps))} together, for {pairs:,} maps; "
            "relevancy.latents, images and steps are factors"
        )
    if plan.ablations:
        ablations = [job.seconds(card) for job in plan.ablations]
        images, copies = (
            sum(getattr(job, name) for job in plan.ablations) for name in ("images", "copies")
        )
        yield (
            f"ablation: {len(ablations)} dictionaries, {_time(sum(ablations))} together, for "
            f"{images:,} forward passes and about {copies:,} from the layer on; ablation.images "
            "and latents are factors, further permuted_draws add a twentieth each"
        )
    if plan.uses:
        queries, draws = (
            sum(getattr(job, name) * job.arrangements for job in plan.uses)
            for name in ("queries", "examples")
        )
        yield (
            f"uses: {len(plan.uses)} dictionaries, on the processor, at most {queries:,} rankings "
            f"of the evaluation images and {draws:,} draws of examples; uses.queries, draws, shots "
            "and null_draws are factors"
        )
    if plan.segmentations:
        largest = max(plan.segmentations, key=lambda job: job.nonzeros)
        yield (
            f"segmentation: {len(plan.segmentations)} dictionaries, on {largest.images:,} images "
            f"at most, {largest.patches:,} patches; codes in memory at a time: up to "
            f"{_size(largest.memory)}, encoded {largest.passes} times; segmentation.images is a "
            "factor"
        )
    if plan.positions:
        images, disk = (
            sum(getattr(job, name) for job in plan.positions) for name in ("images", "disk")
        )
        yield (
            f"positions: {len(plan.positions)} dictionaries, of {images:,} images at most in all; "
            f"disk: up to {_size(disk)}, before compression; codes.positions.images is a factor"
        )


def _slurm(plan: Plan, card: Card, grouping: Grouping) -> Iterator[str]:
    """How many jobs are submitted, and their time limits."""
    submitted = grouping.submitted(plan.jobs)
    counts = ", ".join(f"{n:,} {name}" for name, n in submitted.items() if n)
    yield f"Slurm jobs through profiles/slurm: {submitted.total():,} ({counts})"
    longest = {
        "extract_activations": max(job.seconds(card) / job.jobs for job in plan.passes),
        "train_sae": max((job.seconds(card) for job in plan.training), default=0),
    }
    limits = ", ".join(
        f"{rule} {ceil(RUNTIME_FACTOR * seconds / 60 + RUNTIME_MINUTES)}"
        for rule, seconds in longest.items()
    )
    yield (
        f"`runtime` there in minutes, {RUNTIME_FACTOR} times the longest job "
        f"and {RUNTIME_MINUTES} more: {limits}"
    )


def _repetitions(plan: Plan) -> Iterator[str]:
    """How often training sees the same images, with a warning where that is often."""
    for dataset in plan.repetitions:
        yield (
            f"training sees {dataset.asked:,} images, {dataset.passes:.2g} passes over the "
            f"{dataset.images:,} of {dataset.dataset}"
        )
        if dataset.passes > MANY_PASSES:
            yield (
                "  MANY PASSES: dictionaries may fit these images and no others; lower "
                f"training.images to {MANY_PASSES * dataset.images:,} or less, or the widths, and "
                "compare the columns train_fve and fve of tables/metrics.csv"
            )


def _preprocessing(plan: Plan) -> Iterator[str]:
    """What images go through, which a local checkpoint does not say."""
    for name, config in plan.preprocessing.items():
        _, height, width = config["input_size"]
        mean, std = (", ".join(f"{value:.3g}" for value in config[key]) for key in ("mean", "std"))
        yield (
            f"images of {name}: {height} × {width} pixels, {config['interpolation']}, crop "
            f"{config['crop_pct']:.3g}, mean {mean}, std {std}"
        )
        if name in plan.checkpoints:
            yield (
                "  timm's default for the architecture, as far as backbone.preprocessing does not "
                "say otherwise: is the checkpoint's the same?"
            )


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds >= 1 else "< 1 s"
    return f"{seconds / 60:.2g} min" if seconds < 3600 else f"{seconds / 3600:.2g} h"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
