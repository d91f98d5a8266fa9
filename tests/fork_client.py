"""Asks a fork server (`fork_server.py`) to run a program, as if `python` did.

Arguments are the path of its socket and those of `python`. Imports little, as it runs for each job.
"""

import json
import os
import socket
import sys
from collections.abc import Iterable


def run(address: str, streams: Iterable[int], **order: object) -> int:
    """Run a program with the given standard streams; return its exit status."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        # One byte carries the streams, so that a long order may come in pieces.
        socket.send_fds(server, [b" "], [*streams])
        server.sendall(json.dumps(order, default=str).encode() + b"\n")
        return int(server.recv(16))


def main(address: str, *arguments: str) -> None:
    if not arguments[0].endswith(".py"):
        os.execv(sys.executable, [sys.executable, *arguments])
    # pathlib takes longer to import than all else.
    here = os.getcwd()  # noqa: PTH109
    order = {"cwd": here, "environment": {**os.environ}, "path": [], "executable": None}
    code = run(address, range(3), arguments=arguments, **order)
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
