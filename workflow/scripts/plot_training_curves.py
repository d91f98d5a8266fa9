from cladescope.jobs import start_log
from cladescope.summary.figures.base import save
from cladescope.summary.figures.training_curves import plot_training_curves
from cladescope.summary.tables import join_logs

start_log(snakemake.log[0])
spec = snakemake.params.spec
logs = join_logs(spec["sweep"], snakemake.input.logs)
figure = plot_training_curves(logs)
save(figure, snakemake.output, spec["dpi"])
