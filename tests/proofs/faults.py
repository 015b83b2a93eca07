"""The real command in a process whose file system calls are counted, with something happening at the n-th.

``python -m tests.proofs.faults ACTION N -- extract photos -o features`` runs ``fvcli extract ...``; ACTION is
``kill`` (SIGKILL before the call is made), an errno's name such as ``ENOSPC`` (the call and, with ``+`` after the name,
all later ones fail), or ``count`` (the names of the calls go to the file that N names).

Counted are the calls that change the output: opening for writing, each write to such a file, fsync, rename, unlink,
mkdir and truncation. Inputs are only read, and the record of the input in hand is written by several threads; neither
counts, so that the same run makes the same calls.
"""

from __future__ import annotations

import builtins
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_CHANGING = ("replace", "rename", "fsync", "unlink", "mkdir", "ftruncate")


class Fault:
    """Counts calls and acts at the chosen one. ``path`` is what the call is about, where that is known."""

    def __init__(self, action: str, number: int) -> None:
        self.calls: list[str] = []
        self._action = action
        self._number = number
        self._lock = threading.Lock()

    def __call__(self, call: str, place: object) -> None:
        with self._lock:
            self.calls.append(call)
            made = len(self.calls)
            if self._action == "count" or made < self._number:
                return
            if self._action == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if made == self._number or self._action.endswith("+"):
                code = getattr(errno, self._action.rstrip("+"))
                raise OSError(code, os.strerror(code), f"{call} {place}")


class _Watched:
    """A file open for writing whose writes count."""

    def __init__(self, file: Any, place: object, fault: Fault) -> None:
        self._file, self._place, self._fault = file, place, fault

    def write(self, data: Any) -> int:
        self._fault("write", self._place)
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def install(fault: Fault) -> None:
    """Puts the counting in place, for the rest of the process."""

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            fault(name, arguments[0])
            return function(*arguments, **options)

        return call

    for name in _CHANGING:
        setattr(os, name, counted(name, getattr(os, name)))
    plain_open = builtins.open

    def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if isinstance(file, int) or not set(mode) & set("wxa+") or str(file).startswith(("/proc/", "/dev/null")):
            return plain_open(file, mode, *arguments, **options)
        fault("open", file)
        return _Watched(plain_open(file, mode, *arguments, **options), file, fault)

    builtins.open = opened


def run(action: str, number: str, arguments: list[str]) -> None:
    """Runs the command under a fault; leaves by SystemExit (or not at all)."""
    from fvcli.cli import main

    fault = Fault(action, int(number) if action != "count" else 0)
    sys.argv = ["fvcli", *arguments]
    report = Path(number).open("w") if action == "count" else None  # opened before opening counts
    install(fault)
    try:
        main()
    finally:
        if report is not None:
            report.write("\n".join(fault.calls))
            report.close()


if __name__ == "__main__":
    _, chosen, at, dashes, *rest = sys.argv
    assert dashes == "--", __doc__
    run(chosen, at, rest)
