"""A run whose host is suspended for longer than others wait for its lock, and wakes when they are done."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.helpers import commands, contents, pictures
from tests.helpers.hosts import on_host, said


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
    code, told = said(on_host("folder", "one", *command))
    assert code == 0
    changes = int(told.split("changes: ")[1])
    shutil.rmtree(features)
    if before:
        shutil.copytree(before, features)

    suspended = on_host("folder", "one", *command, stop=1 + int(part * changes))
    assert os.WIFSTOPPED(os.waitpid(suspended.pid, os.WUNTRACED)[1])
    pictures.put(photographs, "0100.png", pictures.picture(100))
    time.sleep(1.2)
    code, told = said(on_host("folder", "other", *command))
    assert code == 0, told
    after = contents.tree(features)
    suspended.send_signal(signal.SIGCONT)
    code, told = said(suspended)
    assert (code, contents.tree(features)) == (75, after), told
    assert "another run has taken over while this one was suspended" in told
    assert commands.run("verify", features).code == 0
    assert commands.run("extract", photographs, "-o", tmp_path / "fresh", "-q").code == 0
    assert contents.rows(features) == contents.rows(tmp_path / "fresh")
