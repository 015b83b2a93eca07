"""A run whose host is suspended for longer than others wait for its lock, and wakes when they are done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import commands, contents, pictures

# The command on a host of that name, between whose kernel and others flock does not work. It stops itself before the
# n-th change that it makes to a dataset.
HOST = """
import fcntl, os, signal, socket, sys
from fvcli.dataset import lock
from fvcli.dataset.local_store import LocalStore
name, number = sys.argv.pop(1), int(sys.argv.pop(1))
def without_locks(*_):
    raise OSError("no locks here")
socket.gethostname, fcntl.flock = lambda: name, without_locks
lock.STALE_SECONDS, lock.HEARTBEAT_SECONDS = 1.0, 0.2
changes = 0
def stopping(change):
    def stop(*arguments):
        global changes
        changes += 1
        if changes == number:
            os.kill(os.getpid(), signal.SIGSTOP)
        return change(*arguments)
    return stop
for change in ("adopt", "replace", "move", "remove"):
    setattr(LocalStore, change, stopping(getattr(LocalStore, change)))
from fvcli.__main__ import main
try:
    main()
finally:
    if not number:
        print("changes:", changes)
"""


def on_host(name: str, stop_before: int, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOST, name, str(stop_before), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def said(process: subprocess.Popen[str]) -> tuple[int, str]:
    told, _ = process.communicate(timeout=60)
    return process.returncode, told


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "part"), [("first run", 0.6), ("update", 0.2), ("update", 0.6), ("update", 0.9)])
def test_a_run_that_was_suspended_changes_nothing(tmp_path: Path, kind: str, part: float) -> None:
    photographs, features = pictures.make_folder(tmp_path / "photographs", range(12)), tmp_path / "features"
    command = ("extract", photographs, "-o", features, "--shard-size", "5", "-q", "--prune")
    if kind == "update":
        assert commands.run(*command).code == 0
        pictures.put(photographs, "0003.png", pictures.picture(300), pictures.SOME_TIME_NS + 10**9)
        (photographs / "0007.png").unlink()
    before = shutil.copytree(features, tmp_path / "before") if features.exists() else None
    code, told = said(on_host("one", 0, *command))
    assert code == 0
    changes = int(told.split("changes: ")[1])
    shutil.rmtree(features)
    if before:
        shutil.copytree(before, features)

    suspended = on_host("one", 1 + int(part * changes), *command)
    assert os.WIFSTOPPED(os.waitpid(suspended.pid, os.WUNTRACED)[1])
    pictures.put(photographs, "0100.png", pictures.picture(100))
    time.sleep(1.2)
    code, told = said(on_host("other", 0, *command))
    assert code == 0, told
    after = contents.tree(features)
    suspended.send_signal(signal.SIGCONT)
    code, told = said(suspended)
    assert (code, contents.tree(features)) == (75, after), told
    assert "another run has taken over while this one was suspended" in told
    assert commands.run("verify", features).code == 0
    assert commands.run("extract", photographs, "-o", tmp_path / "fresh", "-q").code == 0
    assert contents.rows(features) == contents.rows(tmp_path / "fresh")
