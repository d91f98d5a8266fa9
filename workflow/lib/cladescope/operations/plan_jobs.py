"""How many jobs a configuration has."""

from collections import Counter
from typing import Any

from cladescope.layout import SPLITS
from cladescope.sections import (
    ablated_dictionaries,
    mapped_dictionaries,
    positioned_dictionaries,
    segmented_dictionaries,
    used_dictionaries,
)
from cladescope.sweep import (
    PACKED,
    expand_packs,
    expand_passes,
    expand_sweep,
    has_pairs,
)


def count_jobs(config: dict[str, Any]) -> Counter[str]:
    """Count the jobs of every rule that has one for each dataset, pass, layer or dictionary."""
    experiments = config["experiments"].values()
    datasets = {experiment["dataset"] for experiment in experiments}
    planted = [name for name in datasets if config["datasets"][name]["source"] == "planted"]
    paired = [entry for entry in expand_sweep(config) if has_pairs(config, entry.experiment)]
    paired_datasets = {config["experiments"][entry.experiment]["dataset"] for entry in paired}
    drawn = [name for name in planted if "pair_scenes" in config["datasets"][name]]
    backbones = {str(experiment["backbone"]["weights"]) for experiment in experiments}
    passes, sweep = expand_passes(config), expand_sweep(config)
    among = {
        "ablate": ablated_dictionaries(config),
        "measure_uses": used_dictionaries(config),
        "segment": segmented_dictionaries(config),
        "keep_positions": positioned_dictionaries(config),
    }
    masked = {
        config["experiments"][entry.experiment]["dataset"]
        for entry in (*among["segment"], *mapped_dictionaries(config))
    }
    place_of = [(entry.experiment, entry.token, entry.layer) for entry in sweep]
    counts = Counter(
        render_planted=len(planted) * len(SPLITS),
        index_images=len(datasets) * len(SPLITS),
        group_images=sum(
            len(config["datasets"][name]["label_files"])
            for name in datasets
            if "group" in config["datasets"][name]
        ),
        build_taxonomy=len(datasets),
        render_pairs=len(drawn),
        index_pairs=len(paired_datasets),
        train_planted_backbone=sum(
            path.startswith(f"{config['results']}/backbones/") for path in backbones
        ),
        extract_activations=sum(job.jobs == 1 for job in passes),
        extract_shards=sum(job.jobs for job in passes if job.jobs > 1),
        join_shards=sum(job.jobs > 1 for job in passes),
        train_sae=sum(not entry.imported for entry in sweep),
        import_dictionary=sum(entry.imported for entry in sweep),
        encode=len(sweep),
        score_dictionary=len(sweep),
        score_pairs=len(paired),
        match_seeds=len({p for p, e in zip(place_of, sweep, strict=True) if e.seed is not None}),
        probe_layer=len(set(place_of)),
        map_relevancy=len(mapped_dictionaries(config)),
        index_masks=sum("masks" in config["datasets"][name] for name in masked),
        **{rule: len(entries) for rule, entries in among.items()},
        draw_thumbnails=(len(datasets) + len(paired_datasets)) * ("atlas" in config),
        chart_dictionary=len(sweep) * ("atlas" in config),
    )
    for rule in PACKED:
        packs = expand_packs(config, by_variant=rule == "train_sae", among=among.get(rule))
        if rule == "score_pairs":
            packs = [pack for pack in packs if has_pairs(config, pack.experiment)]
        if counts[rule] and packs:
            counts[rule] -= sum(len(pack.members) for pack in packs)
            counts[f"{rule} (of several)"] = len(packs)
    return counts
