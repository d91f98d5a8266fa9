"""Runs Snakemake in forks of a process that has imported it, which saves two seconds of each run.

Reads one order (JSON: arguments, cwd, environment, stdout, stderr) from every line of its standard
input and answers with the exit status. What runs is Snakemake's own command.
"""

import json
import os
import sys

import jsonschema  # noqa: F401
import smart_open  # noqa: F401
import snakemake.cli
import snakemake_executor_plugin_slurm  # noqa: F401  (it brings pandas along)

# Finds and imports the plugins.
snakemake.cli.get_argument_parser()

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
        continue
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(order["stdout"], flags), 1)
    os.dup2(os.open(order["stderr"], flags), 2)
    sys.argv = ["snakemake", *order["arguments"]]
    sys.exit(snakemake.cli.main())
