"""The layers that a configuration chooses: ranges written out, and held against what there is."""

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any

from cladescope.sites import RESIDUAL, kind_of, site_of, tokens_of


def write_out_layers(config: dict[str, Any]) -> Iterator[str]:
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
    from cladescope.backbone.layers import readable_layers

    return len(readable_layers(model, image_size))


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


def layer_faults(key: str, experiment: dict[str, Any]) -> Iterator[str]:
    """Find layers that the model lacks, and those of the sweep that are not extracted."""
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
