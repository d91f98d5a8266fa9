"""What an experiment's dictionaries are made from, as one hash each; needs nothing but Python."""

import hashlib
import json
from typing import Any

from cladescope.sites import kind_of
from cladescope.sweep import TRAINED, expand_sweep, variant_options, weights_kind

NEUTRAL = (
    *("folders", "label_files", "cache", "wnids", "taxonomy", "on_shared_image"),
    *("pairs", "pair_scenes"),
)
"""Keys of a dataset that change no result: where files are, what is refused, and pairs beside them.

`data_sha256` stands for the files' content.
"""
EXTRACTION = ("precision", "autocast", "batch_size", "shards", "patches")
DIGITS = 16


def plan_record(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what `record` needs of the (complete) configuration for one experiment.

    Without paths, for which the hashes of data and weights stand: the same study in another folder
    has the same identity.

    Returns
    -------
    dict
        `settings`, shared by the experiment's dictionaries; `places` and `dictionaries`, the
        identity of each (`config_sha256`): the hash of the settings that it depends on.
    """
    experiment = config["experiments"][name]
    dataset = config["datasets"][experiment["dataset"]]
    backbone = {**experiment["backbone"], "weights": weights_kind(experiment["backbone"])}
    extraction = {key: experiment["extraction"].get(key) for key in EXTRACTION}
    if "patches" not in experiment["sweep"]["tokens"]:
        # No dictionary uses them.
        extraction["patches"] = None
    settings = {
        "dataset": {key: value for key, value in dataset.items() if key not in NEUTRAL},
        "backbone": backbone,
        "extraction": extraction,
        "training": config["training"],
        "scores": config["scores"],
        "probes": config["probes"],
    }
    places, dictionaries = {}, {}
    for entry in expand_sweep(config):
        if entry.experiment != name:
            continue
        upstream = {
            "token": entry.token,
            "layer": entry.layer,
            **{key: settings[key] for key in ("dataset", "backbone")},
            "extraction": {
                **extraction,
                "patches": extraction["patches"] if kind_of(entry.token) == "patches" else None,
            },
        }
        places[f"{entry.token}/L{entry.layer}"] = digest({**upstream, "probes": config["probes"]})
        options = {} if entry.imported else variant_options(config, name, entry.variant)
        dictionaries[entry.folder] = digest(
            {
                **upstream,
                **{key: getattr(entry, key) for key in ("variant", "width", "sparsity", "seed")},
                **({"options": options} if options else {}),
                **(
                    {
                        key: value
                        for key, value in experiment["sweep"]["imported"][entry.variant].items()
                        if key in ("format", "settings")
                    }
                    if entry.imported
                    else {}
                ),
                "training": config["training"] if entry.variant in TRAINED else None,
                "scores": config["scores"],
            }
        )
    return {"settings": settings, "places": places, "dictionaries": dictionaries}


def digest(value: Any) -> str:
    """Hash a plain value: SHA-256 of its JSON with sorted keys, cut to 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:DIGITS]
