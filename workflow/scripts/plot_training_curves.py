from cladescope.jobs import job
from cladescope.summary.figures.base import save
from cladescope.summary.figures.training_curves import plot_training_curves
from cladescope.summary.tables import join_logs

with job(snakemake):
    spec = snakemake.params.spec
    logs = join_logs(spec["sweep"], snakemake.input.logs)
    figure = plot_training_curves(logs)
    save(figure, snakemake.output, spec["dpi"])
