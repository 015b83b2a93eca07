"""A short run of the decoders' fuzzer; the long one is in docs/images.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_mutated_files_of_every_format_only_ever_fail_politely(repository: Path, tmp_path: Path) -> None:
    arguments = ["-m", "tests.proofs.fuzz", "--inputs", "1500", "--seed", "7", "--keep", str(tmp_path)]
    done = subprocess.run([sys.executable, *arguments], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no library talks to the terminal
    assert int(re.search(r"peak memory (\d+) MB", done.stdout)[1]) < 500  # type: ignore[index]
