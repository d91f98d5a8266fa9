"""The configuration, checked against a closed schema and completed with its defaults.

Read at parse time only; scripts get plain values through `params`.
"""

import difflib
import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from cladescope import layout
from cladescope.chosen_layers import layer_faults, write_out_layers
from cladescope.files import numbers_of
from cladescope.schema import describe, load_schema, nearest, typed, with_defaults
from cladescope.sections import (
    ablated_dictionaries,
    mapped_dictionaries,
    positioned_dictionaries,
    segmented_dictionaries,
)
from cladescope.sites import RESIDUAL, SINGLE, kind_of, site_of
from cladescope.sweep import TRAINED, expand_sweep

MAX_NODES = 100_000
"""Keys and values of a configuration; a few lines of aliases can stand for billions."""


class ConfigError(ValueError):
    """The configuration cannot be used; the message lists every fault with its key."""


def complete_config(config: dict[str, Any]) -> dict[str, Any]:
    """Check `config` and return a copy with the schema's defaults filled in.

    Raises
    ------
    ConfigError
        Lists every fault: the key, the offending value and the nearest valid one.
    """
    schema = load_schema()
    config = typed(config, schema, schema)
    infinite = [
        f"{key}: {number} is not a number that can be used"
        for key, number in numbers_of(config)
        if not math.isfinite(number)
    ]
    errors = sorted(Draft202012Validator(schema).iter_errors(config), key=lambda e: list(e.path))
    described = (fault for error in errors for fault in describe(error))
    # Once each: every key that is missing is an error that lists them all.
    faults = list(dict.fromkeys([*infinite, *described]))
    faults = faults or list(write_out_layers(config))
    if not faults:
        config = with_defaults(config, schema, schema)
        faults = list(_inconsistencies(config)) or list(_site_faults(config))
    if faults:
        raise ConfigError(
            "the configuration has "
            + ("a fault" if len(faults) == 1 else f"{len(faults)} faults")
            + ":\n"
            + "\n".join(f"  - {fault}" for fault in faults)
        )
    return config


def check_keys(path: str | Path) -> None:
    """Refuse a configuration file that gives a key twice, of which YAML would take the last.

    Raises
    ------
    ConfigError
        Names the file, the key and its two lines; or says that the file is not UTF-8 or no YAML.
    """
    try:
        root = yaml.compose(Path(path).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 ({error}); save it as such") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error
    if root is not None and _written_out(root, {}) > MAX_NODES:
        raise ConfigError(
            f"{path}: its aliases stand for more than {MAX_NODES} keys and values; write them out"
        )
    left, seen = [root], set()
    while left:
        node = left.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            left += node.value
        elif isinstance(node, yaml.MappingNode):
            if node is root and "__use_yte__" in {str(key.value) for key, _ in node.value}:
                raise ConfigError(f"{path}: __use_yte__ runs code; a configuration is data")
            lines: dict[str, int] = {}
            for key, value in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                if name in lines and key.tag != "tag:yaml.org,2002:merge":
                    twice = f"{name} is given twice, in lines {lines[name]} and {line}"
                    raise ConfigError(f"{path}: {twice}; remove one")
                lines[name] = line
                left.append(value)


def load_config(path: str | Path) -> dict[str, Any]:
    """Read a configuration file; raises as `check_keys` and `complete_config` do."""
    check_keys(path)
    return complete_config(yaml.safe_load(Path(path).read_text()))


def _written_out(node: yaml.Node, known: dict[int, float]) -> float:
    """Return of how many keys and values a part of a configuration is, aliases written out."""
    if id(node) not in known:
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            parts = node.value
        elif isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        # Until it is known: an alias of what it is itself a part of has no end.
        known[id(node)] = math.inf
        known[id(node)] = 1 + sum(_written_out(part, known) for part in parts)
    return known[id(node)]


def index_spec(dataset: dict[str, Any], split: str, rendered: str) -> dict[str, Any]:
    """Return what the index of one split is made from; options that are not set stay absent.

    Parameters
    ----------
    dataset
        The dataset's entry of the configuration.
    rendered
        Where this split's images are rendered, if the dataset is the planted world.

    Returns
    -------
    dict
        `source`, the arguments of `make_source`; `listing`, the options of `list_images`;
        `on_bad_image` and, where set, `wnids`, `expected` and `own_ids`.
    """
    kind = dataset["source"]
    if kind == "huggingface":
        source = {"kind": kind, "name": dataset["name"], "split": dataset["hub_splits"][split]}
        if "cache" in dataset:
            source["cache"] = dataset["cache"]
        for column, name in dataset.get("columns", {}).items():
            source[f"{column}_column"] = name
    elif kind == "planted":
        source = {"kind": "image_folder", "folder": rendered}
    else:
        source = {"kind": kind, "folder": dataset["folders"][split]}
    listing = {
        option: dataset[key][split]
        for option, key in (("label_file", "label_files"), ("pattern", "patterns"))
        if split in dataset.get(key, {})
    }
    if dataset.get("follow_links"):
        listing["follow_links"] = True
    spec = {"source": source, "listing": listing, "on_bad_image": dataset["on_bad_image"]}
    if "wnids" in dataset:
        spec["wnids"] = dataset["wnids"]
    if "taxonomy" in dataset:
        spec["own_ids"] = True
    if split in dataset.get("expected_images", {}):
        spec["expected"] = dataset["expected_images"][split]
    return spec


def _inconsistencies(config: dict[str, Any]) -> Iterator[str]:
    """Find what a schema cannot: values that contradict each other."""
    for name, experiment in config["experiments"].items():
        key = f"experiments.{name}"
        if experiment["dataset"] not in config["datasets"]:
            known = list(config["datasets"])
            yield f"{key}.dataset: unknown dataset; {nearest(experiment['dataset'], known)}"
        if name in layout.RESERVED:
            yield f"{key}: the name is taken by another folder of the results; choose another"
        yield from layer_faults(key, experiment)
        if imported := experiment["sweep"].get("imported", {}):
            variants = load_schema()["$defs"]["sweep"]["properties"]["variants"]["properties"]
            for known_as in [name for name in imported if name in variants]:
                yield f"{key}.sweep.imported.{known_as}: the name of a variant; choose another"
        for variant, grid in experiment["sweep"]["variants"].items():
            yield from _sparsity_faults(f"{key}.sweep.variants.{variant}", variant, grid)
    for name, dataset in config["datasets"].items():
        if "group" in dataset and "eval" not in dataset.get("label_files", {}):
            yield (
                f"datasets.{name}.group: names a column of label_files.eval, which is missing; "
                "add it, or remove the group"
            )
    training = config["training"]
    if training["warmup_share"] + training["decay_share"] > 1:
        yield "training: warmup_share and decay_share exceed 1 together; lower one of them"
    yield from _batch_faults(config)
    scores = config["scores"]
    if scores["null_draws"] > scores["p_draws"]:
        yield (
            f"scores.null_draws: {scores['null_draws']} is more than p_draws, {scores['p_draws']}, "
            "of which they are the first; lower it, or raise scores.p_draws"
        )
    yield from _section_faults(config)


def _section_faults(config: dict[str, Any]) -> Iterator[str]:
    """Find sections that are about no dictionary, or that list what the sweep does not have."""
    folders = [dictionary.folder for dictionary in expand_sweep(config)]
    for folder in config.get("relevancy", {}).get("dictionaries", []):
        if folder not in folders:
            close = difflib.get_close_matches(folder, folders, n=1, cutoff=0)[0]
            yield f"relevancy.dictionaries: {folder} is not in the sweep; did you mean {close}?"
    # Whether there are masks is looked up in datasets, which may be what is wrong.
    known = {e["dataset"] for e in config["experiments"].values()} <= config["datasets"].keys()
    if known and "segmentation" in config and not segmented_dictionaries(config):
        yield (
            "segmentation: none of its dictionaries is of patches with masks; add the token "
            "patches to a sweep on the planted world or on a dataset with `masks`, or correct "
            "segmentation.dictionaries"
        )
    if "codes" in config and not positioned_dictionaries(config):
        yield (
            "codes.positions: none of its dictionaries is of patches; add the token patches to a "
            "sweep, or correct codes.positions.dictionaries"
        )
    sections = {name: config.get(name, {}) for name in ("ablation", "uses", "segmentation")}
    sections["codes.positions"] = config.get("codes", {}).get("positions", {})
    for section, options in sections.items():
        for pattern in options.get("dictionaries", []):
            if not any(fnmatchcase(folder, pattern) for folder in folders):
                close = difflib.get_close_matches(pattern, folders, n=1, cutoff=0)[0]
                yield f"{section}.dictionaries: {pattern} is none of the sweep, which has {close}"


def _site_faults(config: dict[str, Any]) -> Iterator[str]:
    """Find dictionaries of what a part of a block adds where only what it leaves can be changed."""
    for section, chosen in (
        ("relevancy", mapped_dictionaries(config)),
        ("ablation", ablated_dictionaries(config)),
    ):
        added = [entry.folder for entry in chosen if site_of(entry.token) != RESIDUAL]
        if added:
            yield (
                f"{section}: {len(added)} of its {len(chosen)} dictionaries are of what a part of "
                f"a block adds ({added[0]}), and {section} is of the residual stream alone; list "
                f"dictionaries of that in {section}.dictionaries, or leave {section} out"
            )


def _batch_faults(config: dict[str, Any]) -> Iterator[str]:
    """Find dictionaries that less than one batch of tokens is to train, where tokens are known.

    How many patches or registers an image has is the backbone's to say, unless a sample is set.
    """
    training = config["training"]
    fewest: dict[int, str] = {}
    for entry in expand_sweep(config):
        extraction = config["experiments"][entry.experiment]["extraction"]
        tokens = 1 if kind_of(entry.token) in SINGLE else 0
        if kind_of(entry.token) == "patches" and "patches" in extraction:
            tokens = extraction["patches"]["per_image"]
        if tokens and entry.variant in TRAINED:
            fewest[tokens] = entry.folder
    if fewest and training["images"] * (tokens := min(fewest)) < training["batch_size"]:
        yield (
            f"training.images: {training['images']} give {training['images'] * tokens} tokens to "
            f"train {fewest[tokens]} on, less than one batch of {training['batch_size']}; the "
            f"nearest valid value is {math.ceil(training['batch_size'] / tokens)}"
        )


def _sparsity_faults(key: str, variant: str, grid: dict[str, Any]) -> Iterator[str]:
    """Find more latents to keep than there are."""
    if "width" not in grid or variant == "relu":
        return
    width, most = min(grid["width"]), max(grid["sparsity"])
    # Of an H-SAE's k half are parents, an eighth of the width.
    largest, of_the = (width // 4, "quarter of the ") if variant == "hsae" else (width, "")
    if most > largest:
        yield (
            f"{key}.sparsity: {most} exceeds the {of_the}width {width}; the largest valid k is "
            f"{largest}"
        )
    if "k_max" in grid and not most <= grid["k_max"] <= width:
        yield (
            f"{key}.k_max: {grid['k_max']} must be the largest sparsity, {most}, or more, and at "
            f"most the width {width}"
        )
