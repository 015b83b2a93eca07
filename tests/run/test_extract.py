"""A run from its lock to its manifest: what it reads, and how much code it passes through."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fvcli.dataset.store import LocalStore
from fvcli.errors import SourceError
from fvcli.run import extract as extraction
from fvcli.run.request import ExtractRequest
from fvcli.sources.discover import Sources
from tests.helpers import pictures
from tests.helpers.in_process import Bench, Observed

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
    assert len(files) <= 45, sorted(files)


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
    assert (reads["manifest.json"], reads[".fvcli/pending-manifest.json"]) == (1, 1)
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


class Watching(Observed):
    """An observer that remembers what was passed over."""

    def passed_over(self, counts: Mapping[str, int]) -> None:
        self.notes.append(f"passed over {dict(counts)}")


def run(bench: Bench, observer: Observed, **options: Any) -> extraction.RunSummary:
    request = ExtractRequest(Sources((str(bench.photographs),)), str(bench.features), shard_size=10, **options)
    return extraction.extract(request, observer)


def test_the_summary_of_a_run(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(5))
    black = io.BytesIO()
    Image.new("RGB", (8, 8)).save(black, "PNG")
    pictures.put(bench.photographs, "black.png", black.getvalue())
    pictures.put(bench.photographs, "broken.png", pictures.broken(9))
    (bench.photographs / "notes.txt").write_text("no picture")
    first = run(bench, Watching())
    (listed,) = (bench.features / "failures").iterdir()
    assert (first.extracted, first.zero_vectors, first.remembered) == (6, 1, 0)
    assert (first.failures_file, first.output, first.model) == (str(listed), str(bench.features), "fake")
    assert (first.counts.rows, first.counts.failed, first.passed_over) == (6, 1, {".txt": 1})
    again = run(bench, Watching())
    assert (again.extracted, again.zero_vectors, again.remembered) == (0, 1, 1)
    assert (again.counts.reused, again.counts.extracted) == (6, 0)
    values = replace(again, extracted=30, seconds=4.0).to_json()
    assert (values["images_per_second"], values["seconds"], values["zero_vectors"]) == (7.5, 4.0, 1)
    assert (values["identity"], values["rows"]) == (bench.model.identity, 6)
    (bench.photographs / "broken.png").unlink()
    assert run(bench, Watching()).failures_file is None


def test_where_no_image_is_found_what_was_there_is_told(bench: Bench) -> None:
    (bench.photographs / "notes.txt").write_text("no picture")
    (bench.photographs / "more.txt").write_text("no picture")
    observed = Watching()
    with pytest.raises(SourceError, match="no images found in"):
        run(bench, observed)
    assert observed.notes == ["passed over {'.txt': 2}"]


def test_a_place_where_other_hosts_are_not_kept_away_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures.make_folder(bench.photographs, range(1))

    def opened(output: str) -> LocalStore:
        store = LocalStore(output)
        store.unlocked = "other hosts are not kept away"
        return store

    monkeypatch.setattr(extraction, "open_store", opened)
    observed = Observed()
    run(bench, observed)
    assert observed.notes == ["other hosts are not kept away"]
