from snakemake.utils import min_version

min_version("9.27")

if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/images.smk"
include: "workflow/rules/taxonomy.smk"
include: "workflow/rules/activations.smk"
include: "workflow/rules/dictionaries.smk"
include: "workflow/rules/scores.smk"
include: "workflow/rules/relevancy.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/atlas.smk"
include: "workflow/rules/costs.smk"


rule all:
    default_target: True
    input:
        final_output(),
        COSTS,


rule activations:
    input:
        [path for name in EXPERIMENTS for path in manifests_of(name)],


rule dictionaries:
    input:
        of_sweep("sae.safetensors"),


rule scores:
    input:
        of_sweep("scores.json"),


rule figures:
    input:
        FIGURES,
