"""Which dictionaries the sections of a configuration are about, and which one is shown."""

from fnmatch import fnmatchcase
from typing import Any

from cladescope.sites import RESIDUAL, kind_of, site_of
from cladescope.sweep import TRAINED, DictionarySpec, expand_sweep, has_masks


def shown_dictionary(config: dict[str, Any]) -> DictionarySpec:
    """Return the dictionary whose latents are shown as images.

    Of the first experiment: one of the residual stream before others, then of cls tokens, of the
    deepest layer, of `topk`, of another variant that is trained here, the widest, of the first
    seed, of the largest sparsity.
    """
    first = next(iter(config["experiments"]))
    return max((e for e in expand_sweep(config) if e.experiment == first), key=_preference)


def mapped_dictionaries(config: dict[str, Any]) -> list[DictionarySpec]:
    """Return the dictionaries whose latents get maps; none if the configuration wants none.

    Unless it lists them: the one that is shown and, as controls, one of the same place of every
    experiment on the same dataset whose backbone has random weights.
    """
    if "relevancy" not in config:
        return []
    sweep = expand_sweep(config)
    if "dictionaries" in config["relevancy"]:
        by_folder = {entry.folder: entry for entry in sweep}
        return [by_folder[folder] for folder in config["relevancy"]["dictionaries"]]
    shown = shown_dictionary(config)
    controls = {
        entry.experiment: entry
        for entry in sorted(_counterparts(config, shown), key=_preference)
        if entry.experiment != shown.experiment
    }
    return list(dict.fromkeys([shown, *controls.values()]))


def ablated_dictionaries(config: dict[str, Any]) -> list[DictionarySpec]:
    """Return the dictionaries whose latents are ablated; none if the configuration wants none.

    Unless it lists patterns: one of each variant at the place of the one that is shown, and of
    every experiment on the same dataset whose backbone has random weights.
    """
    return _listed_or_shown(config, config.get("ablation"))


def used_dictionaries(config: dict[str, Any]) -> list[DictionarySpec]:
    """Return the dictionaries whose uses are measured, as `ablated_dictionaries` does."""
    return _listed_or_shown(config, config.get("uses"))


def segmented_dictionaries(config: dict[str, Any]) -> list[DictionarySpec]:
    """Return the dictionaries of patches that are held against masks, as for ablation.

    Unless it lists patterns, the place is the deepest layer of the first experiment with patches.
    """
    masked = [entry for entry in _of_patches(config) if has_masks(config, entry.experiment)]
    return _listed_or_shown(config, config.get("segmentation"), masked)


def positioned_dictionaries(config: dict[str, Any]) -> list[DictionarySpec]:
    """Return the dictionaries of patches whose codes are kept with places, as for segmentation."""
    section = config.get("codes", {}).get("positions")
    return _listed_or_shown(config, section, _of_patches(config))


def _of_patches(config: dict[str, Any]) -> list[DictionarySpec]:
    return [entry for entry in expand_sweep(config) if kind_of(entry.token) == "patches"]


def _listed_or_shown(
    config: dict[str, Any],
    section: dict[str, Any] | None,
    among: list[DictionarySpec] | None = None,
) -> list[DictionarySpec]:
    """Return the dictionaries that a section lists, or one of each variant at one place.

    Unless it is about a part of them (`among`), the place is that of the one that is shown.
    """
    if section is None or among == []:
        return []
    sweep = expand_sweep(config)
    if "dictionaries" in section:
        patterns = section["dictionaries"]
        found = [e for e in sweep if any(fnmatchcase(e.folder, p) for p in patterns)]
    else:
        shown = shown_dictionary(config)
        if among:
            first = [entry for entry in among if entry.experiment == among[0].experiment]
            shown = max(first, key=_preference)
        nearby = sorted(_counterparts(config, shown), key=_preference)
        preferred = {(entry.experiment, entry.variant): entry for entry in nearby}
        found = [entry for entry in sweep if entry in preferred.values()]
    return found if among is None else [entry for entry in found if entry in among]


def _counterparts(config: dict[str, Any], shown: DictionarySpec) -> list[DictionarySpec]:
    """Return all dictionaries of the same place, of this experiment and of random backbones."""
    experiments = config["experiments"]

    def is_control(name: str) -> bool:
        return experiments[name]["backbone"]["weights"] == "random" and (
            experiments[name]["dataset"] == experiments[shown.experiment]["dataset"]
        )

    return [
        entry
        for entry in expand_sweep(config)
        if (entry.token, entry.layer) == (shown.token, shown.layer)
        and (entry.experiment == shown.experiment or is_control(entry.experiment))
    ]


def _preference(entry: DictionarySpec) -> tuple[Any, ...]:
    return (
        site_of(entry.token) == RESIDUAL,
        kind_of(entry.token) == "cls",
        entry.layer,
        entry.variant == "topk",
        entry.variant in TRAINED,
        entry.width or 0,
        -(entry.seed or 0),
        entry.sparsity or 0,
    )
