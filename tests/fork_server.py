"""Runs Python programs in forks of a process that has imported what they need: saves seconds.

Arguments are the path of a socket and the modules to import. A client sends an order (JSON:
arguments as of `python`, path, cwd, environment, and executable, which stands for `sys.executable`
if it is not null) with the files for its standard streams, and is answered with the exit status.
What runs is what `python` runs, with the folders of `path` before all others; it is killed when its
client ends. The server ends when its standard input does.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
from pathlib import Path


def main(address: str, *modules: str) -> None:
    for name in modules:
        importlib.import_module(name)
    if "snakemake.cli" in sys.modules:
        # Finds and imports the plugins.
        sys.modules["snakemake.cli"].get_argument_parser()
    # Forks share what is imported, unless their garbage collectors look through it.
    gc.freeze()
    # What is forked for an order is not waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{address}.new")
    listener.listen()
    Path(f"{address}.new").rename(address)
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        client, _ = listener.accept()
        if not os.fork():
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return obey(client)
        client.close()


def obey(client: socket.socket) -> None:
    """Run what a client orders in a fork, and watch both."""
    sent, streams, _, _ = socket.recv_fds(client, 1 << 22, 3)
    while not sent.endswith(b"\n"):
        sent += client.recv(1 << 22)
    running, ends = os.pipe()
    child = os.fork()
    if not child:
        client.close()
        return run(json.loads(sent), streams)
    os.close(ends)
    if client in select.select([client, running], [], [])[0]:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    client.sendall(str(code).encode())
    os._exit(0)


def run(order: dict, streams: list[int]) -> None:
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    if threads := int(os.getenv("OMP_NUM_THREADS", "0")):
        # Libraries read it when they are imported.
        importlib.import_module("threadpoolctl").threadpool_limits(threads)
    sys.executable = order["executable"] or sys.executable
    first, *arguments = order["arguments"]
    path = [*order["path"], *filter(None, os.getenv("PYTHONPATH", "").split(os.pathsep))]
    code: object = 0
    try:
        if first == "-m":
            sys.argv, sys.path = arguments, [*path, *sys.path]
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv, sys.path = [first, *arguments], [str(Path(first).parent), *path, *sys.path]
            runpy.run_path(first, run_name="__main__")
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    # As Python ends, but for freeing all that is imported, which takes long.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main(*sys.argv[1:])
