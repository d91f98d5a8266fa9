"""The plan: what a configuration will cost, before any job runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from cladescope.activations.store import ShardPlan, store_files
from cladescope.backbone.layers import ForwardCost, Layer, describe_preprocessing, forward_cost
from cladescope.dictionaries.training.batches import BLOCK_ROWS
from cladescope.dictionaries.training.cost import (
    dense_step,
    dense_step_memory,
    dictionary_memory,
    shared_memory,
    sparse_step,
    step_memory,
)
from cladescope.dictionaries.training.schedule import n_steps
from cladescope.dictionaries.training.spec import Recipe
from cladescope.operations.costs import (
    AblationPlan,
    MapPlan,
    PassPlan,
    Plan,
    PositionsPlan,
    Repetition,
    SegmentationPlan,
    TrainingPlan,
    UsesPlan,
)
from cladescope.operations.image_counts import PLANTED_CLASSES, count_images
from cladescope.operations.models import describe_models
from cladescope.operations.plan_jobs import count_jobs
from cladescope.sections import (
    ablated_dictionaries,
    mapped_dictionaries,
    positioned_dictionaries,
    segmented_dictionaries,
    used_dictionaries,
)
from cladescope.segmentation.columns import NONZEROS
from cladescope.sites import kind_of, site_of
from cladescope.sweep import (
    SPARSE,
    TRAINED,
    DictionarySpec,
    PassSpec,
    alone_experiments,
    expand_packs,
    expand_passes,
    expand_sweep,
    weights_kind,
)

Counts = Mapping[str, Mapping[str, int]]
"""Images of each dataset and split."""
BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
SEEING = ("model", "image_size", "preprocessing")
"""What of a backbone says how images are brought to it."""
COPIES = 2
"""Copies of an image, by latents that fire on it and numbers of latents: 12 to 16 on the planted
world where 8 fire and leaves are permuted once."""
PERMUTED_COPIES = 0.075
"""More of them for each further permutation, which chooses much the same latents: .05 to .08."""
MAP_FORWARDS = {True: (9, 6), False: (3, 4)}
"""By whether the model is a transformer: forward passes for the maps of a pair, a backward pass
counted as two, and the number of maps, controls among them, whose curves are measured."""


def make_plan(config: dict[str, Any]) -> Plan:
    """Count images, layers and tokens, and from them floating-point operations, bytes and files.

    Raises
    ------
    ValueError
        If the number of a dataset's images is neither declared nor indexed yet (names the key), or
        from `describe_models`.
    """
    described = describe_models(config)
    counts = {name: count_images(config, name) for name in config["datasets"]}
    experiments = config["experiments"]
    passes = [
        _plan_pass(job, described[job.experiment], counts[job.dataset][job.split])
        for job in expand_passes(config)
    ]

    def layer_of(entry: DictionarySpec) -> Layer:
        return described[entry.experiment][entry.layer - 1]

    sweep = expand_sweep(config)
    widths = ((entry.width, layer_of(entry).width) for entry in sweep)
    disk = sum(2 * (width or 2 * d) * d * BYTES["float32"] for width, d in widths)
    alone = alone_experiments(config)
    jobs: list[tuple[DictionarySpec, ...]]
    jobs = [(entry,) for entry in sweep if entry.experiment in alone]
    jobs += [pack.members for pack in expand_packs(config, by_variant=True)]
    trained = [members for members in jobs if members[0].variant in TRAINED]
    training = [
        _plan_training(config, members, layer_of(members[0]), counts) for members in trained
    ]
    datasets = {experiments[members[0].experiment]["dataset"] for members in trained}
    asked = config["training"]["images"]
    return Plan(
        passes,
        training,
        [_plan_maps(config, entry) for entry in mapped_dictionaries(config)],
        [
            _plan_ablation(config, entry, layer_of(entry), counts)
            for entry in ablated_dictionaries(config)
        ],
        [_plan_uses(config, entry, counts) for entry in used_dictionaries(config)],
        [
            _plan_segmentation(config, entry, layer_of(entry), counts)
            for entry in segmented_dictionaries(config)
        ],
        [
            _plan_positions(config, entry, layer_of(entry), counts)
            for entry in positioned_dictionaries(config)
        ],
        [Repetition(name, counts[name]["train"], asked) for name in sorted(datasets)],
        {
            name: describe_preprocessing(*map(experiment["backbone"].get, SEEING))
            for name, experiment in experiments.items()
        },
        [name for name in experiments if weights_kind(experiments[name]["backbone"]) == "file"],
        len(sweep),
        disk,
        count_jobs(config),
    )


def _plan_maps(config: dict[str, Any], entry: DictionarySpec) -> MapPlan:
    """Count the forward passes of a dictionary's maps and of their curves."""
    spec = config["relevancy"]
    backbone = config["experiments"][entry.experiment]["backbone"]
    latents = spec["latents"] + spec["random_latents"] + len(spec.get("nodes", ()))
    cost = _forward_cost(backbone, entry.layer)
    forwards, maps = MAP_FORWARDS[cost.transformer]
    forwards += maps * 2 * (spec["steps"] + 1)
    pairs = latents * spec["images"]
    return MapPlan(entry.folder, float(cost.flops) * pairs * forwards, pairs)


def _plan_ablation(
    config: dict[str, Any], entry: DictionarySpec, layer: Layer, counts: Counts
) -> AblationPlan:
    """Count the images, and the copies of them that only run behind the layer."""
    spec, experiment = config["ablation"], config["experiments"][entry.experiment]
    backbone, dataset = experiment["backbone"], experiment["dataset"]
    whole, before = (_forward_cost(backbone, deepest).flops for deepest in (None, entry.layer))
    images = counts[dataset]["eval"] // 2
    if config["datasets"][dataset]["source"] == "planted":
        images = min(images, PLANTED_CLASSES * spec["images"])
    firing = _firing(entry, layer)
    of_latent = COPIES + PERMUTED_COPIES * (spec["permuted_draws"] - 1)
    copies = int(images * of_latent * firing * len(spec["latents"]))
    flops = float(whole) * images + float(whole - before) * copies
    return AblationPlan(entry.folder, flops, images, copies)


def _plan_uses(config: dict[str, Any], entry: DictionarySpec, counts: Counts) -> UsesPlan:
    """Count what is compared with what."""
    dataset = config["experiments"][entry.experiment]["dataset"]
    images = queries = counts[dataset]["eval"]
    if config["datasets"][dataset]["source"] == "planted":
        queries = min(images, PLANTED_CLASSES * config["uses"]["queries"])
    spec = config["uses"]
    examples = spec["draws"] * len(spec["shots"])
    return UsesPlan(entry.folder, queries, images, 1 + spec["null_draws"], examples)


def _plan_segmentation(
    config: dict[str, Any], entry: DictionarySpec, layer: Layer, counts: Counts
) -> SegmentationPlan:
    """Count the patches of half of the images, which latents are chosen on, and their codes."""
    images, patches = _patches(config, entry, layer, counts, config["segmentation"]["images"])
    nonzeros = int(patches / 2 * _firing(entry, layer))
    return SegmentationPlan(entry.folder, images, patches, nonzeros, -(-nonzeros // NONZEROS))


def _plan_positions(
    config: dict[str, Any], entry: DictionarySpec, layer: Layer, counts: Counts
) -> PositionsPlan:
    """Count the codes of the patches of some images of each class."""
    per_class = config["codes"]["positions"]["images"]
    images, patches = _patches(config, entry, layer, counts, per_class)
    return PositionsPlan(entry.folder, images, int(patches * _firing(entry, layer)))


def _patches(
    config: dict[str, Any], entry: DictionarySpec, layer: Layer, counts: Counts, per_class: int
) -> tuple[int, int]:
    """Return at most how many images some of each class are, and their stored patches."""
    experiment = config["experiments"][entry.experiment]
    dataset = experiment["dataset"]
    images = counts[dataset]["eval"]
    if config["datasets"][dataset]["source"] == "planted":
        images = min(images, PLANTED_CLASSES * per_class)
    return images, images * _stored_tokens(layer, entry.token, experiment["extraction"])


def _forward_cost(backbone: Mapping[str, Any], deepest: int | None) -> ForwardCost:
    """Count a forward pass of one image up to a layer, or to the end."""
    return forward_cost(
        backbone["model"], backbone.get("image_size"), deepest, backbone.get("modules")
    )


def _firing(entry: DictionarySpec, layer: Layer) -> float:
    """Return about how many latents fire on a token: of neurons and of a ReLU's about half."""
    if entry.sparsity and entry.variant != "relu":
        return entry.sparsity
    return (entry.width or 2 * layer.width) / 2


def _plan_training(
    config: dict[str, Any], members: Sequence[DictionarySpec], layer: Layer, counts: Counts
) -> TrainingPlan:
    """Plan the training of dictionaries of one layer and variant."""
    experiment = config["experiments"][members[0].experiment]
    extraction = experiment["extraction"]
    tokens = _stored_tokens(layer, members[0].token, extraction)
    recipe, costs = Recipe(**config["training"]), []
    batch, d = recipe.batch_size, layer.width
    rows = counts[experiment["dataset"]]["train"] * tokens
    # Of streamed blocks the next is there as well.
    held = rows if tokens == 1 else 2 * min(rows, BLOCK_ROWS)
    memory = held * d * BYTES[extraction["precision"]]
    working = step_memory if members[0].variant in SPARSE else dense_step_memory
    memory += shared_memory([working(entry.width or 0, d, batch) for entry in members])
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
    sampled = kind_of(token) == "patches" and "patches" in extraction
    return extraction["patches"]["per_image"] if sampled else layer.n_tokens(token)


def _plan_pass(job: PassSpec, layers: list[Layer], images: int) -> PassPlan:
    deepest = max(layer for layer, _ in job.places)
    cost = _forward_cost(job.backbone, deepest)
    extraction = job.extraction
    # Fails here rather than hours later, if shards and images do not match.
    shards = ShardPlan(images, extraction["shards"]).n_shards
    disk = files = held = 0
    for place in job.places:
        layer = layers[place[0] - 1]
        held += layer.width * layer.n_tokens(place[1])
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
        sites=tuple(dict.fromkeys(site_of(token) for _, token in job.places)),
        flops=float(cost.flops) * images,
        in_bfloat16="autocast" in extraction,
        disk=disk,
        files=files,
        memory=weights + working,
    )
