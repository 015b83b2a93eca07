"""The status of a run that is in progress, interrupted or planned, as ``fvcli inspect`` shows it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

from fvcli.dataset import commit, lock
from fvcli.dataset.store import open_store
from fvcli.errors import StoppedError
from fvcli.explore import status as status_module
from fvcli.explore.status import RunningProcess, RunStatus, status_of
from tests.helpers import pictures
from tests.helpers.in_process import Bench, bench, memory_path

__all__ = ["bench", "memory_path"]

FVCLI = str(Path(sys.executable).with_name("fvcli"))


def fill(folder: Path, count: int = 40) -> None:
    for number in range(count):
        pictures.put(folder, f"{number:02d}.png", pictures.picture(number))


def interrupt(bench: Bench, after: int) -> None:
    with pytest.raises(StoppedError):
        bench.extract(meanwhile=lambda done: signal.SIGINT if done >= after else None)


def status(bench: Bench) -> RunStatus | None:
    return status_of(open_store(bench.features))


def test_a_finished_dataset_has_no_run(bench: Bench) -> None:
    fill(bench.photographs)
    bench.extract()
    assert status(bench) is None


def test_an_interrupted_run_says_what_is_done(bench: Bench) -> None:
    fill(bench.photographs)
    interrupt(bench, after=25)
    found = status(bench)
    assert found is not None
    assert (found.state, found.total, found.shards, found.workers) == ("interrupted", 40, 4, ())
    assert found.done == 10 * found.shards_done
    assert 1 <= found.shards_done <= 3
    assert (found.images_per_second, found.seconds_left, found.updates) == (None, None, False)


def test_a_run_in_progress_is_seen_from_outside(bench: Bench) -> None:
    fill(bench.photographs)
    seen: list[RunStatus] = []

    def look(done: int) -> None:
        found = status(bench)
        assert found is not None
        seen.append(found)

    bench.extract(meanwhile=look, workers=1)
    assert {found.state for found in seen} == {"running"}
    # What is in hand is not counted while a worker is between two batches; finished shards always are.
    assert [found.shards_done for found in seen] == sorted(found.shards_done for found in seen)
    assert all(found.done >= 10 * found.shards_done for found in seen)
    assert all(found.done <= found.total == 40 for found in seen)
    assert seen[-1].done > 20
    (worker,) = seen[-1].workers
    assert worker.task is None
    assert worker.pid is not None
    rated = [found for found in seen if found.images_per_second]
    assert rated
    for found in rated:  # both are rounded to tenths
        assert found.images_per_second is not None
        assert found.seconds_left is not None
        left, rate = found.total - found.done, found.images_per_second
        assert left / (rate + 0.05) - 0.05 <= found.seconds_left
        assert rate <= 0.05 or found.seconds_left <= left / (rate - 0.05) + 0.05


def test_an_update_in_progress_keeps_the_datasets_own_page(bench: Bench) -> None:
    fill(bench.photographs, 20)
    bench.extract()
    fill(bench.photographs, 40)
    interrupt(bench, after=15)
    found = status(bench)
    assert found is not None
    assert found.updates
    assert found.total == 20


def test_reading_the_status_changes_nothing(bench: Bench) -> None:
    fill(bench.photographs)
    interrupt(bench, after=25)
    before = {file: file.read_bytes() for file in bench.features.rglob("*") if file.is_file()}
    status(bench)
    assert {file: file.read_bytes() for file in bench.features.rglob("*") if file.is_file()} == before


def test_a_lock_tells_its_holder_only_while_it_is_held(bench: Bench) -> None:
    store = open_store(bench.features)
    store.make_folder()
    with lock.hold(store):
        held = lock.holder(store)
    assert held is not None
    assert held["pid"]
    assert lock.holder(store) is None


# --- the command ------------------------------------------------------------------------------------------------


def inspect(features: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    """The text and the JSON that the command prints, the latter held against its schema."""
    text = subprocess.run([FVCLI, "inspect", features, *arguments], capture_output=True, text=True, check=True).stdout
    printed = subprocess.run([FVCLI, "inspect", features, "--json"], capture_output=True, text=True, check=True).stdout
    schemas = json.loads(resources.files("fvcli.commands").joinpath("output.schema.json").read_text("utf-8"))
    jsonschema.validate(json.loads(printed), {**schemas, "$ref": "#/$defs/inspect"})
    return text, json.loads(printed)


@pytest.mark.slow
def test_planned_then_a_task_then_finished(sample_images: Path, tmp_path: Path) -> None:
    features = tmp_path / "f"

    def run(*arguments: str | Path) -> None:
        assert subprocess.run([FVCLI, *map(str, arguments), "-q"], check=False).returncode in (0, 3)

    run("plan", sample_images, "-o", features, "--shard-size", "12")
    text, values = inspect(features)
    assert "planned: 24 images in 2 shards, not begun" in text
    assert (values["run"]["state"], values["run"]["done"]) == ("planned", 0)
    run("extract", "-o", features, "--task", "1/2")
    text, values = inspect(features)
    assert "12 of 24 images, 1 of 2 shards; run the missing tasks" in text
    assert "task 1/2: began" in text
    assert [task["task"] for task in values["run"]["tasks"]] == ["1/2"]
    run("extract", "-o", features, "--task", "2/2")
    run("finalize", features)
    text, values = inspect(features, "--watch")  # ends, since no run is unfinished
    assert values["run"] is None
    assert "rows" in text
    assert "\nrun " not in text


def test_the_rate_is_that_of_those_who_work_now(monkeypatch: pytest.MonkeyPatch) -> None:
    began = "1970-01-01T00:01:40+00:00"  # 100 s
    monkeypatch.setattr(status_module.time, "time", lambda: 110.0)
    records = {commit.record_key(0): 50.0, commit.record_key(1): 100.0, commit.record_key(2): None}
    store: Any = SimpleNamespace(modified=records.get)
    plan: Any = SimpleNamespace(shards=[SimpleNamespace(index=index, extract=10) for index in range(4)])
    standing: Any = SimpleNamespace(commits=dict.fromkeys(range(3)))
    workers = [RunningProcess(None, "a", 1, "no time"), RunningProcess("1/2", "b", 2, began)]
    assert status_module._rate(store, standing, plan, workers, 5) == 1.5
    assert status_module._rate(store, standing, plan, workers[:1], 5) is None
    monkeypatch.setattr(status_module.crashes, "in_hand", lambda store: {1: 4, 3: 25, 9: 7})
    standing.commits = {1: None}
    assert status_module._in_work(store, standing, plan) == 10, (
        "no more than the shard has, and none of one that is done"
    )
