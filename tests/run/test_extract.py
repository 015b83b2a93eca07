"""A run from its lock to its manifest: what it reads, and how much code it passes through."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from fvcli.dataset.local_store import LocalStore
from tests.helpers import pictures
from tests.helpers.in_process import Bench

TRACED = """
import inspect, json, sys, threading
import fvcli
entered = set()
def look(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.endswith(("comp>", "expr>")):
        entered.add(code.co_filename)
threading.setprofile(look)
sys.setprofile(look)
sys.argv = ["fvcli", "extract", *sys.argv[1:], "--quiet"]
from fvcli.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended
sys.setprofile(None)
print(json.dumps(sorted(entered)))
"""


@pytest.mark.slow
def test_a_run_over_plain_jpegs_passes_through_few_files_of_its_own(sample_images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("cat.jpg", "coffee.jpg", "rocket.jpg"):
        shutil.copy(sample_images / name, folder)
    done = subprocess.run(
        [sys.executable, "-c", TRACED, folder, "-o", tmp_path / "features"], capture_output=True, check=True
    )
    package = str(Path(pytest.importorskip("fvcli").__file__).parent) + os.sep
    files = {file.removeprefix(package) for file in json.loads(done.stdout) if file.startswith(package)}
    assert {"run/extract.py", "run/pool.py", "dataset/standing.py"} <= files
    assert len([file for file in files if file.startswith("run/")]) <= 8
    assert len(files) <= 52, sorted(files)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file of a dataset's own was read."""
    counted: Counter[str] = Counter()
    read = LocalStore.read

    def counting(self: LocalStore, key: str) -> bytes | None:
        counted[key] += 1
        return read(self, key)

    monkeypatch.setattr(LocalStore, "read", counting)
    return counted


def assert_read_once(reads: Counter[str]) -> None:
    assert reads["manifest.json"] + reads[".fvcli/pending-manifest.json"] <= 2
    assert reads[".fvcli/plan.json"] <= 1
    assert all(number == 1 for key, number in reads.items() if key.startswith(".fvcli/commits/"))
    reads.clear()


def test_the_state_is_read_once(bench: Bench, reads: Counter[str]) -> None:
    pictures.make_folder(bench.photographs, range(8))
    bench.extract()
    assert_read_once(reads)
    assert bench.extract() == 0
    assert_read_once(reads)
    pictures.make_folder(bench.photographs, range(100, 104))
    assert bench.extract() == 4
    assert_read_once(reads)
