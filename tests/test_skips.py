"""The list of reasons for which a test may be skipped where everything that can be installed is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import pytest

def test_that_runs(): ...

def test_that_lacks_something():
    pytest.skip({reason!r})
"""


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["0", "2"])
@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("needs the folder ../shared with models and photographs", 0),
        ("needs chromium and chromedriver", 1),
    ],
)
def test_only_what_cannot_be_installed_may_be_skipped(
    repository: Path, tmp_path: Path, reason: str, code: int, processes: str
) -> None:
    (tmp_path / "conftest.py").write_text((repository / "tests" / "conftest.py").read_text("utf-8"))
    (tmp_path / "test_one.py").write_text(PROGRAM.format(reason=reason))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-n",
        processes,
        "--no-avoidable-skips",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout
    assert ("avoidable skip" in done.stdout) is (code == 1)
