"""Runs commands in forks of a process that has imported what they need, which saves seconds.

Arguments are the modules to import. Reads one order (JSON: module, arguments, path, cwd,
environment, stdout, stderr) from every line of its standard input and answers with the exit status.
What runs is what `python -m MODULE` does, with the folders of `path` before all others.
"""

import importlib
import json
import os
import runpy
import sys

for name in sys.argv[1:]:
    importlib.import_module(name)
if "snakemake.cli" in sys.modules:
    # Finds and imports the plugins.
    sys.modules["snakemake.cli"].get_argument_parser()

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
    sys.argv = [order["module"], *order["arguments"]]
    sys.path[:0] = order["path"]
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
    sys.exit()
