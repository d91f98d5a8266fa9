from pathlib import Path

from cladescope.atlas.site import Study, build_atlas
from cladescope.jobs import job

with job(snakemake):
    inputs, spec = snakemake.input, snakemake.params.spec
    build_atlas(
        Study(
            inputs.metrics,
            inputs.probes,
            inputs.recurrence,
            {
                name: {
                    file: inputs.get(f"{file}_{name}") for file in ("taxonomy", "index", "drawn")
                }
                for name in spec["datasets"]
            },
            Path(snakemake.output.index).with_name("dictionaries"),
        ),
        spec["settings"],
        Path(inputs.pages[0]).parent,
        outputs=dict(snakemake.output.items()),
    )
