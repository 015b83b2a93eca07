"""A system without threads, processes or memory to spare: one line and exit code 1."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import pytest

from tests.helpers import commands, pictures
from tests.helpers.processes import run_at_start

pytestmark = pytest.mark.slow

NO_THREADS = """
import threading
started = []
def start(thread):
    started.append(thread)
    if len(started) > %d:
        raise RuntimeError("can't start new thread")
    return starting(thread)
starting, threading.Thread.start = threading.Thread.start, start
"""
NO_PROCESSES = """
import errno, os, subprocess
def fork_exec(*arguments):
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
subprocess._fork_exec = fork_exec
"""


def extract(tmp_path: Path, *options: str) -> commands.Outcome:
    """``fvcli extract`` over a few photographs."""
    photographs = pictures.make_folder(tmp_path / "photographs", range(30))
    command = [commands.FVCLI, "extract", photographs, "-o", tmp_path / "features", "-q", "-b", "4", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return commands.Outcome(done.returncode, done.stderr)


@pytest.mark.parametrize("threads", range(4))
def test_no_more_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    run_at_start(monkeypatch, tmp_path / "site", NO_THREADS % threads)
    done = extract(tmp_path)
    assert done.code == 1
    assert done.said == (
        "fvcli: the system starts no more threads or processes; raise the limit (ulimit -u) "
        "or use fewer workers (-j 1)\n"
    )


def test_without_more_processes_the_threads_do_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_at_start(monkeypatch, tmp_path / "site", NO_PROCESSES)
    assert extract(tmp_path, "--processes", "2") == commands.Outcome(0, "")


def test_no_memory_for_the_libraries(tmp_path: Path) -> None:
    photographs = pictures.make_folder(tmp_path / "photographs", range(3))
    limit = 300 * 1024**2
    done = subprocess.run(
        [commands.FVCLI, "extract", photographs, "-o", tmp_path / "features", "-q"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 1
    assert done.stderr.startswith("fvcli: not enough memory; raise the limit")
