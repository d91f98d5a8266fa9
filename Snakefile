# The entry point: called in a checkout, Snakemake finds this file and the profiles beside it.
# Not as `include:`, which takes no default target from a file.
workflow.include("workflow/Snakefile", overwrite_default_target=True)
