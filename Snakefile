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
include: "workflow/rules/summary.smk"
include: "workflow/rules/relevancy.smk"
include: "workflow/rules/atlas.smk"


rule all:
    default_target: True
    input:
        TABLES,
        FIGURES,
        RELEVANCY,
        ATLAS,
        COSTS,
