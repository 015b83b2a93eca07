"""The processes that a test starts: what they import first, and what Linux tells of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

#: Seconds after which a test stops waiting: many, as the machine may be busy with other things.
PATIENCE_SECONDS = 120


def run_at_start(monkeypatch: pytest.MonkeyPatch, folder: Path, program: str) -> None:
    """Every Python process started by the test runs ``program`` before anything else. Makes ``folder``."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)


def dying_decoder(module: str) -> str:
    """A program for :func:`run_at_start`: the ``decode`` that ``module`` has dies of images with certain last bytes."""
    return _DYING_DECODER.format(module=module)


_DYING_DECODER = """
import ctypes, os, signal, time
import {module} as pipeline

decode = pipeline.decode

def brought_down(data, *arguments, **options):
    if data.endswith(b"segfault"):
        ctypes.string_at(0)
    if data.endswith(b"out of memory"):
        os.kill(os.getpid(), signal.SIGKILL)
    if data.endswith(b"stopped by hand"):
        os.kill(os.getpid(), signal.SIGTERM)
    if data.endswith(b"hangs"):
        time.sleep(600)
    return decode(data, *arguments, **options)

pipeline.decode = brought_down
"""


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Returns once the condition holds. Fails the test with ``what`` after PATIENCE_SECONDS."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {PATIENCE_SECONDS} s for {what}")
        time.sleep(0.02)


def _told(process: int, file: str) -> bytes:
    """A file of /proc about a process; empty once it is gone."""
    try:
        return Path(f"/proc/{process}/{file}").read_bytes()
    except OSError:
        return b""


def children(process: int) -> list[int]:
    """The children of all threads of a process. A thread that ends meanwhile has none."""
    threads = (path.name for path in Path(f"/proc/{process}/task").glob("*"))
    return [int(child) for thread in threads for child in _told(process, f"task/{thread}/children").split()]


def cpu_seconds(process: int) -> float:
    """User and system time of a process, 0.0 once it is gone."""
    fields = _told(process, "stat").rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def proportional_bytes(process: int) -> int:
    """Bytes of memory of a process, its part of what it shares with others among them; 0 once it is gone."""
    lines = _told(process, "smaps_rollup").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Pss:")), 0)


def command_line(process: int) -> bytes:
    """The arguments of a process, each with a zero byte behind it; empty once it is gone."""
    return _told(process, "cmdline")


def environment_of(process: int) -> bytes:
    """The variables of a process, each with a zero byte behind it; empty once it is gone, and for another user's."""
    return _told(process, "environ")


def is_alive(process: int) -> bool:
    """Whether a process is there and has not ended, waited for or not."""
    return _told(process, "stat").rpartition(b")")[2].split()[:1] not in ([], [b"Z"])


def catches(process: int, number: int) -> bool:
    """Whether the process has a handler for the signal, False once it has ended."""
    lines = _told(process, "status").splitlines()
    caught = next((line for line in lines if line.startswith(b"SigCgt:")), b"SigCgt: 0")
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
