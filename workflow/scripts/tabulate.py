from cladescope.jobs import job
from cladescope.provenance.record import read_records
from cladescope.summary.tables import tabulate

with job(snakemake):
    inputs, outputs = snakemake.input, snakemake.output
    tabulate(
        snakemake.params.spec["sweep"],
        files={
            name: inputs[name]
            for name in ("about", "training", "quality", "scores", *snakemake.params.spec["tables"])
        },
        recurrence=inputs.recurrence,
        made=read_records(inputs.records),
        outputs={name: outputs[name] for name in ("metrics", *snakemake.params.spec["tables"])},
    )
