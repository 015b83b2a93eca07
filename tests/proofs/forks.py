"""A process with the command's modules loaded that forks: ``python -m tests.proofs.forks``.

It takes one JSON line for each command on stdin and answers with its exit code on stdout. A forked command runs the
same code as the installed one from ``fvcli.cli.main`` on; it only saves the second that imports take.
"""

from __future__ import annotations

import json
import os
import sys
import time

from fvcli.commands.invocation import import_lean

import_lean(images=True)

import ai_edge_litert.interpreter  # noqa: E402, F401
import pyarrow.ipc  # noqa: E402
import pyarrow.parquet  # noqa: E402, F401

import fvcli.cli  # noqa: E402
import fvcli.commands.progress  # noqa: E402
import fvcli.dataset.verify  # noqa: E402
import fvcli.models.litert  # noqa: E402
import fvcli.run.extract  # noqa: E402
from tests.proofs import faults  # noqa: E402


def _command(log: str, action: str, number: str, arguments: list[str]) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if action != "none":
        faults.run(action, number, arguments)
    sys.argv = ["fvcli", *arguments]
    fvcli.cli.main()


def _wait(child: int, kill_after: float | None) -> int:
    deadline = None if kill_after is None else time.monotonic() + kill_after
    while True:
        ended, status = os.waitpid(child, 0 if deadline is None else os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if deadline is not None and time.monotonic() >= deadline:
            os.kill(child, 9)
            deadline = None
        time.sleep(0.001)


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _command(asked["log"], asked["action"], asked["number"], asked["arguments"])
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 1
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        print(_wait(child, asked["kill_after"]), flush=True)


if __name__ == "__main__":
    main()
