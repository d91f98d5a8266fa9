from pathlib import Path

from cladescope.atlas.site import build_atlas
from cladescope.jobs import start_log

start_log(snakemake.log[0])
inputs, spec = snakemake.input, snakemake.params.spec
build_atlas(
    inputs.metrics,
    {
        name: {kind: inputs.get(f"{kind}_{name}") for kind in ("taxonomy", "index", "drawn")}
        for name in spec["datasets"]
    },
    inputs.recurrence,
    inputs.probes,
    spec["settings"],
    Path(inputs.pages[0]).parent,
    Path(snakemake.output.index).with_name("dictionaries"),
    outputs=dict(snakemake.output.items()),
)
