"""The configuration, checked against a closed schema and completed with its defaults.

Read at parse time only; scripts get plain values through `params`.
"""

import difflib
import math
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from cladescope import layout
from cladescope.files import numbers_of
from cladescope.sites import RESIDUAL, kind_of, site_of, tokens_of
from cladescope.sweep import (
    ablated_dictionaries,
    expand_sweep,
    mapped_dictionaries,
    positioned_dictionaries,
    segmented_dictionaries,
)

SCHEMA_PATH = Path(__file__).with_name("config.schema.yaml")


MAX_NODES = 100_000
"""Keys and values of a configuration; a few lines of aliases can stand for billions."""


class ConfigError(ValueError):
    """The configuration cannot be used; the message lists every fault with its key."""


def load_schema() -> dict[str, Any]:
    """Return the configuration's JSON schema."""
    # The fast parser is missing where PyYAML was built without libyaml.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(SCHEMA_PATH.read_text(), Loader=loader)


def complete_config(config: dict[str, Any]) -> dict[str, Any]:
    """Check `config` and return a copy with the schema's defaults filled in.

    Raises
    ------
    ConfigError
        Lists every fault: the key, the offending value and the nearest valid one.
    """
    schema = load_schema()
    config = _typed(config, schema, schema)
    infinite = [
        f"{key}: {number} is not a number that can be used"
        for key, number in numbers_of(config)
        if not math.isfinite(number)
    ]
    errors = sorted(Draft202012Validator(schema).iter_errors(config), key=lambda e: list(e.path))
    described = (fault for error in errors for fault in _describe(error))
    # Once each: every key that is missing is an error that lists them all.
    faults = list(dict.fromkeys([*infinite, *described]))
    faults = faults or list(_write_out_layers(config))
    if not faults:
        config = _with_defaults(config, schema, schema)
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


def _describe(error: Any) -> Iterator[str]:
    """Say in the user's words what one of jsonschema's validation errors is."""
    shown = (str(part) if str(part).isprintable() else repr(part) for part in error.path)
    key = ".".join(shown) or "the configuration"
    value = error.instance
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        for unknown in (name for name in value if name not in known):
            yield f"{key}: unknown key {unknown!r}; {_nearest(unknown, known)}"
    elif error.validator == "enum":
        yield f"{key}: {value!r} is not allowed; {_nearest(value, error.validator_value)}"
    elif error.validator == "required":
        missing = [name for name in error.validator_value if name not in value]
        yield f"{key}: missing {', '.join(missing)}; add it"
    elif error.validator == "type" and isinstance(error.validator_value, str):
        yield f"{key}: {value!r} should be of type {error.validator_value}"
    elif error.validator in ("minItems", "minProperties"):
        yield f"{key}: {value!r} is empty; give at least one entry"
    elif error.validator == "uniqueItems":
        yield f"{key}: {value!r} names an entry twice; keep one of each"
    elif error.validator in ("type", "pattern"):
        yield f"{key}: {value!r} cannot be used. Valid: {error.schema['description']}"
    elif error.validator in ("minimum", "maximum"):
        limit = error.validator_value
        yield f"{key}: {value!r} is out of range; the nearest valid value is {limit}"
    elif error.validator in ("exclusiveMinimum", "exclusiveMaximum"):
        side = "above" if error.validator == "exclusiveMinimum" else "below"
        yield f"{key}: {value!r} is out of range; it must be {side} {error.validator_value}"
    elif error.validator == "not":
        if not (isinstance(value, dict) and {"source", "weights"} & value.keys()):
            # What decides is missing, which another error says.
            return
        excluded = error.validator_value.get("anyOf", [error.validator_value])
        extra = [name for part in excluded for name in part["required"] if name in value]
        kind = f"source {value['source']}" if "source" in value else f"weights {value['weights']}"
        yield f"{key}: {', '.join(extra)}: not for {kind}; remove"
    else:
        yield f"{key}: {error.message}"


def _nearest(value: Any, known: list[Any]) -> str:
    names = [str(name) for name in known]
    if not names:
        return "nothing can be set here"
    close = difflib.get_close_matches(str(value), names, n=1, cutoff=0.4)
    listed = f"valid: {', '.join(names)}"
    return f"did you mean {close[0]!r}? ({listed})" if close else listed


def _typed(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """Return a copy of `value` with numbers where the schema wants them.

    Snakemake reads the values within `--config 'scores={top_n: 8}'` as text.
    """
    schema = _resolve(schema, root)
    if isinstance(value, dict):
        return {name: _typed(item, _child(schema, name), root) for name, item in value.items()}
    if isinstance(value, list):
        return [_typed(item, schema.get("items", {}), root) for item in value]
    if isinstance(value, str) and {"integer", "number"} & _kinds(schema):
        # Also 2e-4, which YAML 1.1 takes for text.
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, str) and "boolean" in _kinds(schema):
        return {"true": True, "false": False}.get(value.lower(), value)
    if isinstance(value, float) and "integer" in _kinds(schema) and value.is_integer():
        return int(value)
    return value


def _kinds(schema: dict[str, Any]) -> set[str]:
    """Return the JSON types that a schema allows; empty if it does not say."""
    kinds = schema.get("type", [])
    return {kinds} if isinstance(kinds, str) else set(kinds)


def _with_defaults(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """Return a copy of `value` in which absent keys have their schema defaults."""
    schema = _resolve(schema, root)
    if isinstance(value, list):
        return [_with_defaults(item, schema.get("items", {}), root) for item in value]
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    completed = {}
    for name in [*properties, *(name for name in value if name not in properties)]:
        child = _resolve(_child(schema, name), root)
        if name in value:
            completed[name] = _with_defaults(value[name], child, root)
        elif "default" in child:
            completed[name] = _with_defaults(child["default"], child, root)
    return completed


def _child(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the schema of one key of an object; empty if there is none."""
    child = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
    return child if isinstance(child, dict) else {}


def _resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with what it refers to merged in."""
    parts = [schema, *schema.get("allOf", [])]
    names = [part["$ref"].rsplit("/", 1)[1] for part in parts if "$ref" in part]
    merged: dict[str, Any] = {}
    for name in names:
        merged |= root["$defs"][name]
    return {**merged, **schema}


def _inconsistencies(config: dict[str, Any]) -> Iterator[str]:
    """Find what a schema cannot: values that contradict each other."""
    for name, experiment in config["experiments"].items():
        key = f"experiments.{name}"
        if experiment["dataset"] not in config["datasets"]:
            known = list(config["datasets"])
            yield f"{key}.dataset: unknown dataset; {_nearest(experiment['dataset'], known)}"
        if name in layout.RESERVED:
            yield f"{key}: the name is taken by another folder of the results; choose another"
        yield from _layer_faults(key, experiment)
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
    if training["images"] < training["batch_size"]:
        yield (
            f"training.images: {training['images']} is less than one batch; "
            f"the nearest valid value is {training['batch_size']}"
        )
    folders = [dictionary.folder for dictionary in expand_sweep(config)]
    for folder in config.get("relevancy", {}).get("dictionaries", []):
        if folder not in folders:
            close = difflib.get_close_matches(folder, folders, n=1, cutoff=0)[0]
            yield f"relevancy.dictionaries: {folder} is not in the sweep; did you mean {close}?"
    if "segmentation" in config and not segmented_dictionaries(config):
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


def _write_out_layers(config: dict[str, Any]) -> Iterator[str]:
    """Fill in `blocks` and write `all` and ranges of layers out, in place; yield what is wrong."""
    for name, experiment in config["experiments"].items():
        key = f"experiments.{name}"
        backbone = experiment["backbone"]
        if "modules" in backbone:
            if backbone.setdefault("blocks", len(backbone["modules"])) != len(backbone["modules"]):
                yield f"{key}.backbone.blocks: not the number of modules; remove it"
                continue
        elif "blocks" not in backbone:
            try:
                backbone["blocks"] = _count_blocks(backbone["model"], backbone.get("image_size"))
            except (ImportError, ValueError) as error:
                yield f"{key}.backbone: blocks is left out and cannot be read from timm: {error}"
                continue
        parts = {
            f"{key}.extraction.passes.{number}": part
            for number, part in enumerate(experiment["extraction"]["passes"])
        }
        for where, part in {**parts, f"{key}.sweep": experiment["sweep"]}.items():
            try:
                part["layers"] = _layers_of(part["layers"], backbone)
            except ValueError as error:
                yield f"{where}.layers: {error}"


@cache
def _count_blocks(model: str, image_size: int | None) -> int:
    # Takes seconds to import; most configurations say `blocks`.
    from cladescope.backbone.layers import list_layers

    return len(list_layers(model, image_size))


def _layers_of(chosen: str | list[int | str], backbone: dict[str, Any]) -> list[int]:
    """Write out what chooses layers.

    Raises
    ------
    ValueError
        If a range runs backwards or out of the model, or a layer is named twice.
    """
    if chosen == "all":
        return list(range(1, backbone["blocks"] + 1))
    layers: list[int] = []
    for entry in [chosen] if isinstance(chosen, str) else chosen:
        first, last = map(int, entry.split("-")) if isinstance(entry, str) else (entry, entry)
        if first > last:
            raise ValueError(f"{entry} runs backwards; write {last}-{first}")
        # A single layer is checked later, with all others.
        if isinstance(entry, str) and last > backbone["blocks"]:
            raise ValueError(_out_of_range(entry, backbone))
        layers += range(first, last + 1)
    twice = next((layer for layer in layers if layers.count(layer) > 1), None)
    if twice is not None:
        raise ValueError(f"layer {twice} is named twice; keep one of each")
    return layers


def _layer_faults(key: str, experiment: dict[str, Any]) -> Iterator[str]:
    blocks = experiment["backbone"]["blocks"]
    extracted: dict[str, list[int]] = {}
    for number, part in enumerate(experiment["extraction"]["passes"]):
        where = f"{key}.extraction.passes.{number}"
        for layer in part["layers"]:
            if layer > blocks:
                yield f"{where}: {_out_of_range(layer, experiment['backbone'])}"
            for token in tokens_of(part):
                if layer in extracted.setdefault(token, []):
                    yield (
                        f"{where}: layer {layer}, token {token} is in an earlier pass already; "
                        "keep it in one pass"
                    )
                extracted[token].append(layer)
    if "patches" in experiment["extraction"] and "patches" not in map(kind_of, extracted):
        yield f"{key}.extraction.patches: no pass has the token patches; add one or remove the key"
    sweep = experiment["sweep"]
    for known_as, source in sweep.get("imported", {}).items():
        if source["layer"] not in extracted.get(source["token"], []):
            yield (
                f"{key}.sweep.imported.{known_as}: layer {source['layer']}, token "
                f"{source['token']} is not extracted; add it to a pass of {key}.extraction.passes"
            )
    for token, layer in product(tokens_of(sweep), sweep["layers"]):
        known = extracted.get(token, [])
        if layer > blocks:
            yield f"{key}.sweep.layers: {_out_of_range(layer, experiment['backbone'])}"
        elif layer not in known:
            site = site_of(token)
            at = "" if site == RESIDUAL else f", sites: [{site}]"
            other = (
                f"set {key}.sweep.tokens to some of {list(dict.fromkeys(map(kind_of, extracted)))}"
            )
            if at:
                other = f"take {site} out of {key}.sweep.sites"
            if known:
                other = (
                    f"take the nearest extracted layer, {min(known, key=lambda k: abs(k - layer))}"
                )
            yield (
                f"{key}.sweep.layers: layer {layer}, token {token} is in no pass of "
                f"{key}.extraction.passes; add a pass {{layers: [{layer}], tokens: "
                f"[{kind_of(token)}]{at}}} there or {other} (tokens that are left out are [cls])"
            )


def _out_of_range(layer: int | str, backbone: dict[str, Any]) -> str:
    return (
        f"layer {layer} is out of range; {backbone['model']} has blocks 1 to {backbone['blocks']}, "
        f"the nearest valid value is {backbone['blocks']}"
    )
