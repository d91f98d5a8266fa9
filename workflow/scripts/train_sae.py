from pathlib import Path

from cladescope.dictionaries.train import Target, open_source, train_dictionaries
from cladescope.dictionaries.training.spec import FitSpec, Recipe
from cladescope.jobs import job
from cladescope.kept import Kept, key_of

with job(snakemake):
    recipe, options = snakemake.params.spec["recipe"], snakemake.params.spec.get("options", {})
    written = zip(*(files for _, files in snakemake.output.items()), strict=True)
    told = {name: Path(path) for name, path in snakemake.input.items() if name != "manifest"}
    kept = {}
    for settings, outputs in zip(snakemake.params.dictionaries, written, strict=True):
        key = key_of([settings, snakemake.params.spec, snakemake.params.code], snakemake.input)
        stage = Kept(snakemake.params.results, outputs, key)
        variant, *point = settings.values()
        spec = FitSpec(*point, Recipe(**recipe) if recipe else None, options)
        target = Target(spec, Path(outputs[0]), key)
        if stage.take():
            target.checkpoint.path.unlink(missing_ok=True)
        else:
            kept[target] = stage
    if kept:
        train_dictionaries(
            variant,
            open_source(snakemake.input.manifest, snakemake.threads),
            list(kept),
            snakemake.threads,
            saved=lambda target: kept[target].keep(),
            told=told,
        )
