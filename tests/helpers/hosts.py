"""The command on another host, where a lock is abandoned soon, and which can stop itself in the middle of its work.

Run as ``python -m tests.helpers.hosts PLACE NAME STALE STOP_BEFORE ARGUMENT...``; see :func:`on_host`.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Literal, NoReturn, TypeAlias

import pytest

from fvcli.dataset.object_store import ObjectStore
from fvcli.dataset.store import LocalStore
from tests.helpers.commands import REPOSITORY

#: "folder": one that hosts share, between whose kernels flock does not work. "bucket": an object store.
Place: TypeAlias = Literal["folder", "bucket"]

#: The store of each place, and its methods that change a dataset without calling another of them.
_CHANGES: dict[Place, tuple[type, tuple[str, ...]]] = {
    "folder": (LocalStore, ("adopt", "replace", "move", "remove")),
    "bucket": (ObjectStore, ("adopt", "replace", "remove")),
}


def on_host(
    place: Place, name: str, *arguments: str | Path, temporary: Path | None = None, stale: float = 1.0, stop: int = 0
) -> subprocess.Popen[str]:
    """The command on a host of that name, where a lock is abandoned after ``stale`` seconds.

    temporary: the host's own folder for temporary files. stop: the process stops itself before the change of this
    number to a dataset; with 0 it ends by saying how many changes it made.
    """
    options = (place, name, str(stale), str(stop))
    environment = {**os.environ, **({} if temporary is None else {"TMPDIR": str(temporary)})}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.hosts", *options, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=REPOSITORY,
    )


def said(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code of a command that ends, and what it said."""
    told, _ = process.communicate(timeout=120)
    return process.returncode, told


def _without_locks(*_: object) -> NoReturn:
    raise OSError("no locks here")


def main() -> None:
    """The command, on the host that the arguments describe."""
    from fvcli.__main__ import main as command
    from fvcli.dataset import bucket_lock, lock

    place: Place = "folder" if sys.argv[1] == "folder" else "bucket"
    name, stale, stop = sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    del sys.argv[1:5]
    patch = pytest.MonkeyPatch()
    patch.setattr(socket, "gethostname", lambda: name)
    module: ModuleType = lock if place == "folder" else bucket_lock
    patch.setattr(module, "STALE_SECONDS", stale)
    patch.setattr(module, "HEARTBEAT_SECONDS", 0.2)
    if place == "folder":
        patch.setattr(fcntl, "flock", _without_locks)
    changes = 0

    def counted(change: Callable[..., object]) -> Callable[..., object]:
        def instead(*arguments: object) -> object:
            nonlocal changes
            changes += 1
            if changes == stop:
                os.kill(os.getpid(), signal.SIGSTOP)
            return change(*arguments)

        return instead

    store, methods = _CHANGES[place]
    for method in methods:
        patch.setattr(store, method, counted(getattr(store, method)))
    try:
        command()
    finally:
        if not stop:
            print("changes:", changes)


if __name__ == "__main__":
    main()
