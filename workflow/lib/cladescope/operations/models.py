"""What a configuration asks of models, tables of pairs and imports, looked at before any job."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cladescope import layout
from cladescope.config import ConfigError
from cladescope.dictionaries.exchange import Source
from cladescope.dictionaries.exchange.header import read_header
from cladescope.dictionaries.exchange.hub import located
from cladescope.files import read_json
from cladescope.layout import SPLITS
from cladescope.sections import mapped_dictionaries
from cladescope.sites import tokens_of
from cladescope.sweep import DictionarySpec, PassSpec, expand_passes, expand_sweep


def describe_models(config: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the layers (`Layer`) of every experiment's model.

    Raises
    ------
    ConfigError
        Lists every experiment whose model timm does not know or cannot read, has another number of
        layers than declared, or lacks a token or site that a pass takes.
    """
    # Takes seconds to import.
    from cladescope.backbone.layers import check_blocks, check_tokens, readable_layers

    layers, faults = {}, []
    for name, experiment in config["experiments"].items():
        backbone = experiment["backbone"]
        options = {key: backbone.get(key) for key in ("image_size", "modules")}
        try:
            layers[name] = readable_layers(backbone["model"], **options)
            check_blocks(backbone["model"], layers[name], backbone["blocks"])
            for part in experiment["extraction"]["passes"]:
                check_tokens(backbone["model"], layers[name], tokens_of(part))
        except ValueError as error:
            faults.append(f"experiments.{name}: {error}")
    if faults:
        raise ConfigError("\n".join(faults))
    return layers


def check_models(config: dict[str, Any]) -> dict[str, list[Any]]:
    """Do the same where something is to be extracted; what has been needs no check.

    Raises
    ------
    ConfigError
        As `describe_models` does.
    """
    waiting = {job.experiment for job in expand_passes(config) if not _is_extracted(config, job)}
    chosen = {
        name: config["experiments"][name] for name in config["experiments"] if name in waiting
    }
    return describe_models({**config, "experiments": chosen}) if chosen else {}


def check_pairs(config: dict[str, Any]) -> None:
    """Read the tables of pairs of images that datasets name.

    Raises
    ------
    ConfigError
        Names the first dataset whose table cannot be used, and every line with a fault.
    """
    tables = {
        name: dataset["pairs"] for name, dataset in config["datasets"].items() if "pairs" in dataset
    }
    for name, path in tables.items():
        from cladescope.images.pairs import read_pairs

        try:
            read_pairs(path)
        except (OSError, ValueError) as error:
            raise ConfigError(f"datasets.{name}.pairs: {error}") from error


def check_imported(config: dict[str, Any], layers: Mapping[str, Sequence[Any]]) -> None:
    """Hold dictionaries of other libraries against their layers and maps, by their headers alone.

    Parameters
    ----------
    layers
        Of the experiments that `check_models` has looked at; of others the stores are there.

    Raises
    ------
    ConfigError
        Lists every one that cannot be read, that is of another number of dimensions than its layer,
        or that is to get maps and brings each token to one scale: maps are of latents that are
        linear in tokens.
    """
    faults, mapped = [], mapped_dictionaries(config)
    for entry in (entry for entry in expand_sweep(config) if entry.imported):
        said = config["experiments"][entry.experiment]["sweep"]["imported"][entry.variant]
        try:
            header = read_header(located(Source.from_config(said)))
        except (OSError, ValueError) as error:
            made = Path(config["results"]) / entry.folder / "sae.safetensors"
            # What has been imported needs the files no more.
            if not (isinstance(error, FileNotFoundError) and made.exists()):
                faults.append(f"{entry.folder}: {error}")
            continue
        width = _width_of(config, entry, layers)
        if None not in (header.dimensions, width) and header.dimensions != width:
            faults.append(
                f"{entry.folder}: activations of {width} dimensions, but the dictionary is of "
                f"{header.dimensions}: it belongs to another layer or model; correct "
                f"experiments.{entry.experiment}.sweep.imported.{entry.variant}"
            )
        if entry in mapped and header.per_token:
            faults.append(
                f"relevancy: {entry.folder} brings each token to standard deviation 1, and maps "
                "are of latents that are linear in tokens; name other dictionaries in "
                "relevancy.dictionaries, or remove relevancy"
            )
    if faults:
        raise ConfigError("\n".join(faults))


def _width_of(
    config: dict[str, Any], entry: DictionarySpec, layers: Mapping[str, Sequence[Any]]
) -> int | None:
    """Return the width of a dictionary's layer by the model or its store; None if none tells."""
    if entry.experiment in layers:
        width: int = layers[entry.experiment][entry.layer - 1].width
        return width
    store = layout.MANIFEST.format(split=SPLITS[0], **vars(entry))
    try:
        return int(read_json(Path(config["results"]) / store)["shape"][2])
    except (OSError, LookupError, TypeError, ValueError):
        # Damaged: whoever reads the store says so.
        return None


def _is_extracted(config: dict[str, Any], job: PassSpec) -> bool:
    """Say whether all stores of a pass are there, of the model that it names."""
    manifests = [Path(config["results"]) / job.manifest(place) for place in job.places]
    if not all(manifest.is_file() for manifest in manifests):
        return False
    try:
        found = read_json(manifests[0])["made_from"]["backbone"]
    except (KeyError, TypeError, ValueError):
        # Damaged: whoever reads the store says so.
        return False
    keys = ("model", "blocks", "image_size", "modules")
    return all(found.get(key) == job.backbone.get(key) for key in keys)
