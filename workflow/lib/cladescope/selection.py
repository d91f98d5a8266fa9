"""Which dictionaries stand for an experiment where there is no room for all."""

from typing import Any

from cladescope.config import DictionarySpec, expand_sweep


def shown_dictionary(config: dict[str, Any]) -> DictionarySpec:
    """Return the dictionary whose latents are shown as images.

    Of the first experiment's deepest layer, by preference trained, wide and of the first seed.
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
    experiments = config["experiments"]
    shown = shown_dictionary(config)
    controls = {}
    for entry in sorted(sweep, key=_preference):
        experiment = experiments[entry.experiment]
        if (
            experiment["backbone"]["weights"] == "random"
            and experiment["dataset"] == experiments[shown.experiment]["dataset"]
            and (entry.token, entry.layer) == (shown.token, shown.layer)
        ):
            controls[entry.experiment] = entry
    return list(dict.fromkeys([shown, *controls.values()]))


def _preference(entry: DictionarySpec) -> tuple[Any, ...]:
    return (
        entry.token == "cls",
        entry.layer,
        entry.variant == "topk",
        entry.width or 0,
        -(entry.seed or 0),
        entry.sparsity or 0,
    )
