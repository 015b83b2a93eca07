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


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Returns once the condition holds. Fails the test with ``what`` after PATIENCE_SECONDS."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {PATIENCE_SECONDS} s for {what}")
        time.sleep(0.02)


def children(process: int) -> list[int]:
    """The children of all threads of a process. A thread that ends meanwhile has none."""
    found = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def cpu_seconds(process: int) -> float:
    """User and system time of a process, 0.0 once it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def proportional_bytes(process: int) -> int:
    """Bytes of memory of a process, its part of what it shares with others among them; 0 once it is gone."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def command_line(process: int) -> bytes:
    """The arguments of a process, each with a zero byte behind it; empty once it is gone."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def catches(process: int, number: int) -> bool:
    """Whether the process has a handler for the signal, False once it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    caught = next((line for line in status.splitlines() if line.startswith("SigCgt:")), "SigCgt: 0")
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
