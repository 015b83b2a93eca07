"""One plan, several tasks: the commands as a batch queue would start them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import Result

from fvcli.dataset import lock
from fvcli.dataset.store import LocalStore
from fvcli.errors import StoppedError
from fvcli.run import tasks
from fvcli.run.pool import Resources
from fvcli.run.request import ExtractRequest
from fvcli.sources.discover import Sources
from tests.helpers import pictures
from tests.helpers.commands import here
from tests.helpers.in_process import Observed

FVCLI = Path(sys.executable).with_name("fvcli")


def done(*arguments: str | Path, code: int = 0) -> Result:
    """A command in the test's own process."""
    finished = here(*arguments)
    assert finished.exit_code == code, finished.stderr
    return finished


def data_files(output: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (output / "data").iterdir()}


@pytest.fixture(scope="module")
def local(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset that one process makes."""
    output = tmp_path_factory.mktemp("local") / "f"
    done("extract", photographs, "-o", output, "--shard-size", "4", "-q")
    return output


@pytest.mark.slow
def test_tasks_give_the_files_of_a_single_run(photographs: Path, local: Path, tmp_path: Path) -> None:
    output = tmp_path / "f"
    planned = json.loads(done("plan", photographs, "-o", output, "--shard-size", "4", "--json").stdout)
    assert planned["shards"] == len(data_files(local)) > 3
    tasks = [
        subprocess.Popen([FVCLI, "extract", "-o", output, "--task", f"{number}/3", "-q", "-j", "1"])
        for number in (1, 2, 3)
    ]
    assert [task.wait() for task in tasks] == [0, 0, 0]
    assert not (output / "manifest.json").exists()
    summary = json.loads(done("finalize", output, "--json").stdout)
    assert summary["rows"] == summary["extracted"] == planned["inputs"]
    assert data_files(output) == data_files(local)
    done("verify", output)
    assert not list((output / ".fvcli/commits").iterdir())
    again = json.loads(done("extract", photographs, "-o", output, "--shard-size", "4", "--json").stdout)
    assert (again["extracted"], again["reused"]) == (0, planned["inputs"])


def test_what_is_missing_is_named_and_can_be_made_up_for_by_a_plain_run(
    photographs: Path, local: Path, tmp_path: Path
) -> None:
    output = tmp_path / "f"
    done("plan", photographs, "-o", output, "--shard-size", "4")
    done("extract", "-o", output, "--task", "2/3", "-q")
    missing = done("finalize", output, "--json", code=1)
    assert json.loads(missing.stdout)["missing_tasks"] == ["1/3", "3/3"]
    assert "1/3 (not begun), 3/3 (not begun)" in missing.stderr
    assert not (output / "manifest.json").exists()
    rest = json.loads(done("extract", photographs, "-o", output, "--shard-size", "4", "--json").stdout)
    assert rest["rows"] == rest["extracted"] + rest["reused"]
    assert data_files(output) == data_files(local)


@pytest.mark.slow
def test_a_task_that_was_killed_is_named_and_goes_on(photographs: Path, tmp_path: Path) -> None:
    folder, local, output = tmp_path / "many", tmp_path / "local", tmp_path / "f"
    for copy in range(20):
        shutil.copytree(photographs, folder / str(copy), copy_function=os.link)
    done("extract", folder, "-o", local, "--shard-size", "4", "-q")
    done("plan", folder, "-o", output, "--shard-size", "4")
    task = subprocess.Popen([FVCLI, "extract", "-o", output, "--task", "1/1", "-q", "-j", "1", "-b", "1"])
    commits = output / ".fvcli/commits"
    while not any(name.endswith(".json") for name in os.listdir(commits)) and task.poll() is None:
        time.sleep(0.005)
    task.send_signal(signal.SIGKILL)
    task.wait()
    committed = len(os.listdir(commits))
    assert 0 < committed < len(data_files(local))
    assert "tasks 1/1 (begun on" in done("finalize", output, code=1).stderr
    summary = json.loads(done("extract", "-o", output, "--task", "1/1", "--json").stdout)
    assert summary["extracted"] == summary["rows"] == sum(file.is_file() for file in folder.rglob("*"))
    done("finalize", output)
    assert data_files(output) == data_files(local)
    done("verify", output)


@pytest.mark.slow
def test_an_update_in_tasks_is_the_update_of_a_single_run(photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photographs, folder)
    done("extract", folder, "-o", tmp_path / "tasks", "--shard-size", "4", "-q")
    shutil.copytree(tmp_path / "tasks", tmp_path / "single")
    first, *_, last = sorted(file for file in folder.rglob("*") if file.is_file())
    shutil.copy(first, folder / "zz-added.jpg")
    shutil.copy(last, first)
    before = data_files(tmp_path / "tasks")
    done("plan", folder, "-o", tmp_path / "tasks", "--shard-size", "4")
    for number in (1, 2):
        done("extract", "-o", tmp_path / "tasks", "--task", f"{number}/2", "-q")
        assert data_files(tmp_path / "tasks") == before  # readers see the old dataset until the end
    done("finalize", tmp_path / "tasks")
    done("extract", folder, "-o", tmp_path / "single", "--shard-size", "4", "-q")
    assert data_files(tmp_path / "tasks") == data_files(tmp_path / "single") != before
    done("verify", tmp_path / "tasks")


def test_failures_of_tasks_reach_exit_codes_and_the_dataset(photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photographs, folder)
    (folder / "aa.jpg").write_text("not a picture")
    output = tmp_path / "f"
    done("plan", folder, "-o", output, "--shard-size", "4")
    assert "aa.jpg" in done("extract", "-o", output, "--task", "1/2", code=3).stderr
    done("extract", "-o", output, "--task", "2/2")
    assert json.loads(done("finalize", output, "--json", code=3).stdout)["failed"] == 1


def test_nothing_to_do_is_no_error(photographs: Path, local: Path, tmp_path: Path) -> None:
    shutil.copytree(local, tmp_path / "f")
    planned = json.loads(done("plan", photographs, "-o", tmp_path / "f", "--shard-size", "4", "--json").stdout)
    assert planned["shards"] == 0
    done("extract", "-o", tmp_path / "f", "--task", "1/2", "-q")
    done("finalize", tmp_path / "f", "-q")


def test_tasks_and_whole_runs_keep_each_other_out(photographs: Path, tmp_path: Path) -> None:
    output = tmp_path / "f"
    done("plan", photographs, "-o", output, "--shard-size", "4")
    store = LocalStore(output)
    with lock.hold(store, ".fvcli/tasks/00001-of-00002.lock"):
        assert f"process {os.getpid()} on" in done("extract", "-o", output, "--task", "1/2", "-q", code=75).stderr
        done("finalize", output, code=75)
        done("extract", photographs, "-o", output, "--shard-size", "4", "-q", code=75)
        done("extract", "-o", output, "--task", "2/2", "-q")
    with lock.hold(store):
        done("extract", "-o", output, "--task", "1/2", "-q", code=75)
    done("extract", "-o", output, "--task", "1/2", "-q")
    done("finalize", output, "-q")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("extract", "-o", "f", "--task", "3/2"), 2, "3/8"),
        (("extract", "-o", "f", "--task", "0/2"), 2, "3/8"),
        (("extract", "photos", "-o", "f", "--task", "1/2"), 2, "SOURCES"),
        (("extract", "-o", "f", "--task", "1/2", "--fit", "crop"), 2, "fit"),
        (("extract", "-o", "f", "--task", "1/2"), 1, "fvcli plan"),
        (("finalize", "f"), 1, "fvcli plan"),
        (("plan", "-o", "f"), 2, "name a folder"),
    ],
)
def test_what_cannot_mean_anything_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    finished = done(*arguments, code=code)
    assert said in finished.stderr
    assert finished.stderr.count("\n") == 1


def test_a_task_that_is_stopped_has_not_ended_and_goes_on(memory_path: Path) -> None:
    photographs = pictures.make_folder(memory_path / "photographs", range(12))
    output = str(memory_path / "f")
    planned = tasks.plan(ExtractRequest(Sources((str(photographs),)), output, shard_size=4), Observed())
    assert (planned.shards, planned.done, planned.inputs) == (3, 0, 12)
    task, resources = tasks.Task(1, 1), Resources(workers=1, batch_size=1)
    stopping = Observed(meanwhile=lambda done: signal.SIGTERM if done >= 6 else None)
    with pytest.raises(StoppedError, match="interrupted: saved 4 of 12; 2 more were read") as stop:
        tasks.work(output, task, resources, None, stopping)
    assert stop.value.exit_code == 143
    (note,) = tasks.notes(LocalStore(output))
    assert (note["task"], note["ended"], note["host"]) == ("1/1", None, socket.gethostname())
    rest = Observed()
    summary = tasks.work(output, task, resources, None, rest)
    assert (summary.extracted, summary.shards, summary.counts.extracted) == (8, 3, 12)
    assert (rest.total, rest.done) == (12, 12)
    (note,) = tasks.notes(LocalStore(output))
    assert note["ended"] >= note["began"]
    assert tasks.finalize(output).counts.rows == 12
    assert summary.to_json()["task"] == "1/1"
