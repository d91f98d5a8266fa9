"""What a configuration asks of models, tables of pairs and imports, looked at before any job."""

from pathlib import Path
from typing import Any

from cladescope.config import ConfigError
from cladescope.dictionaries.exchange import Source
from cladescope.dictionaries.exchange.hub import located
from cladescope.files import read_json
from cladescope.sections import mapped_dictionaries
from cladescope.sites import tokens_of
from cladescope.sweep import PassSpec, expand_passes


def describe_models(config: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the layers (`Layer`) of every experiment's model.

    Raises
    ------
    ConfigError
        Lists every experiment whose model timm does not know or cannot read, has another number of
        layers than declared, or lacks a token or site that a pass takes.
    """
    # Takes seconds to import.
    from cladescope.backbone.layers import check_blocks, check_tokens, list_layers

    layers, faults = {}, []
    for name, experiment in config["experiments"].items():
        backbone = experiment["backbone"]
        options = {key: backbone.get(key) for key in ("image_size", "modules")}
        try:
            layers[name] = list_layers(backbone["model"], **options)
            check_blocks(backbone["model"], layers[name], backbone["blocks"])
            for part in experiment["extraction"]["passes"]:
                check_tokens(backbone["model"], layers[name], tokens_of(part))
        except ValueError as error:
            faults.append(f"experiments.{name}: {error}")
    if faults:
        raise ConfigError("\n".join(faults))
    return layers


def check_models(config: dict[str, Any]) -> None:
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
    if chosen:
        describe_models({**config, "experiments": chosen})


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


def check_mapped(config: dict[str, Any]) -> None:
    """Read the dictionaries of other libraries whose latents are to get maps.

    Raises
    ------
    ConfigError
        Names the first that cannot be read, or that brings each token to one scale: maps are of
        latents that are linear in tokens.
    """
    for entry in (entry for entry in mapped_dictionaries(config) if entry.imported):
        # Takes seconds to import.
        from cladescope.dictionaries.exchange.importing import read_dictionary

        said = config["experiments"][entry.experiment]["sweep"]["imported"][entry.variant]
        try:
            dictionary, _ = read_dictionary(located(Source.from_config(said)))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{entry.folder}: {error}") from error
        if dictionary.per_token:
            raise ConfigError(
                f"relevancy: {entry.folder} brings each token to standard deviation 1, and maps "
                "are of latents that are linear in tokens; name other dictionaries in "
                "relevancy.dictionaries, or remove relevancy"
            )


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
