"""Worker processes: the same dataset as with threads, and the run survives their end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.helpers import commands, contents, pictures
from tests.helpers.processes import (
    PATIENCE_SECONDS,
    children,
    cpu_seconds,
    dying_decoder,
    is_alive,
    run_at_start,
    wait_for,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More photographs than are done in a few seconds: hard links of a few."""
    return pictures.linked(tmp_path_factory.mktemp("many") / "photographs", 500)


def start(photographs: Path, features: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [commands.FVCLI, "extract", photographs, "-o", features, "--processes", "2", "-j", "2", *options],
        stderr=subprocess.PIPE,
        text=True,
    )


def workers_of(process: subprocess.Popen[str], number: int) -> list[int]:
    """The process's children, once there are so many that have a batch in hand."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None
        found = children(process.pid)
        if len(found) == number and all(cpu_seconds(child) > 0.7 for child in found):
            return found
        time.sleep(0.02)
    pytest.fail("the worker processes do not come up")


def in_shared_memory() -> set[str]:
    """The names in /dev/shm, without the folders of other tests."""
    return {name for name in os.listdir("/dev/shm") if not name.startswith("fvcli-test-")}


@pytest.mark.parametrize("options", [["--format", "parquet"], ["--format", "npy", "--dtype", "float16"]])
def test_the_same_bytes_for_any_number_of_processes_and_threads(
    sample_images: Path, tmp_path: Path, options: list[str]
) -> None:
    files = []
    for processes, workers in (("0", "1"), ("1", "2"), ("3", "3"), ("2", "5")):
        output = tmp_path / f"{processes}-{workers}"
        done = commands.run(
            "extract", sample_images, "-o", output, "--shard-size", "8", "-b", "4", "--processes", processes,
            "-j", workers, *options,
        )  # fmt: skip
        assert done.code == 3, done
        files.append({name: (output / name).read_bytes() for name in contents.data_files(output)})
        assert not (output / ".fvcli" / "in-work").exists()
    assert files[0]
    assert all(other == files[0] for other in files)


def test_an_update_takes_rows_over_by_their_content(tmp_path: Path) -> None:
    photographs = pictures.make_folder(tmp_path / "photographs", range(40))
    assert commands.run("extract", photographs, "-o", tmp_path / "features", "--shard-size", "10").code == 0
    for number in range(0, 40, 3):
        (photographs / f"{number:04d}.png").rename(photographs / f"renamed-{number}.png")
    pictures.put(photographs, "new.png", pictures.picture(900))
    options = ("extract", photographs, "--prune", "--shard-size", "10", "--json")
    done = commands.run(*options, "-o", tmp_path / "features", "--processes", "2", "-j", "2")
    assert done.code == 0
    assert contents.counts(tmp_path / "features")["extracted"] == 1
    assert commands.run(*options, "-o", tmp_path / "fresh").code == 0
    assert contents.rows(tmp_path / "features") == contents.rows(tmp_path / "fresh")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_run_and_processes(many: Path, tmp_path: Path, number: int) -> None:
    run = start(many, tmp_path / "features", "--shard-size", "100")
    workers = workers_of(run, 2)
    run.send_signal(number)
    _, said = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 128 + number, said
    assert "Traceback" not in said
    assert not any(map(is_alive, workers))
    assert contents.check_moment(tmp_path / "features") == "first run"
    assert not (tmp_path / "features" / ".fvcli" / "in-work").exists()


def test_no_process_outlives_a_run_that_is_killed(many: Path, tmp_path: Path) -> None:
    shared_memory = in_shared_memory()
    run = start(many, tmp_path / "features")
    workers = workers_of(run, 2)
    run.kill()
    wait_for(lambda: not any(map(is_alive, workers)), "the end of the worker processes")
    run.communicate(timeout=PATIENCE_SECONDS)
    assert in_shared_memory() <= shared_memory
    assert (tmp_path / "features" / ".fvcli" / "in-work").read_bytes()[32:] == b"\xff" * 32, "no input is to blame"


def test_a_process_that_is_killed_is_replaced(many: Path, tmp_path: Path) -> None:
    run = start(many, tmp_path / "features")
    for _ in range(2):
        os.kill(workers_of(run, 2)[0], signal.SIGKILL)
        time.sleep(0.3)
    _, said = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 0, said
    assert len(contents.rows(tmp_path / "features")) == 4008
    assert commands.run("verify", tmp_path / "features").code == 0


#: The run's own threads, which work until the processes are there, are slow and do not crash.
_PATIENT = """
import sys
if not {"fvcli.run.worker_process", "fvcli.run.crashes"} & set(sys.orig_argv):
    def patient(*arguments, **options):
        time.sleep(0.05)
        return decode(*arguments, **options)
    pipeline.decode = patient
"""


def test_inputs_that_crash_cost_themselves_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_at_start(monkeypatch, tmp_path / "site", dying_decoder("fvcli.images.loader") + _PATIENT)
    photographs = pictures.make_folder(tmp_path / "photographs", range(1000))
    for name, mark in (("0800-bad.png", b"segfault"), ("0900-worse.png", b"out of memory")):
        pictures.put(photographs, name, pictures.picture(50) + mark)
    run = start(photographs, tmp_path / "features", "--shard-size", "500")
    _, said = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 3, said
    lines = {line["path"]: line for line in contents.failures(tmp_path / "features")}
    assert {name: (line["stage"], line["error"]) for name, line in lines.items()} == {
        "0800-bad.png": ("crash", "SIGSEGV"),
        "0900-worse.png": ("crash", "SIGKILL"),
    }
    assert len(contents.rows(tmp_path / "features")) == 1000
    assert not (tmp_path / "features" / ".fvcli" / "crashed.jsonl").exists()
