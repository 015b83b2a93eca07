"""One run at a time for each dataset, and no dead run in the way of a living one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fvcli.dataset import lock
from fvcli.dataset.store import LocalStore
from fvcli.errors import DatasetError, LockedError
from tests.helpers import commands, contents, pictures

HOLDER = """
import sys, time
from fvcli.dataset import lock
from fvcli.dataset.store import LocalStore
with lock.hold(LocalStore(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of the dataset in ``tmp_path``."""
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def test_a_held_lock_is_refused_with_its_holder_named(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(LockedError) as refusal, lock.hold(LocalStore(tmp_path)):
        pytest.fail("held by two")
    assert refusal.value.exit_code == 75
    assert f"process {holder.pid} on {socket.gethostname()}, since 20" in str(refusal.value)


def test_the_lock_of_a_dead_process_is_taken(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert json.loads((tmp_path / ".fvcli" / "lock").read_bytes())["pid"] == holder.pid
    with lock.hold(LocalStore(tmp_path)):
        assert json.loads((tmp_path / ".fvcli" / "lock").read_bytes())["pid"] == os.getpid()


def test_the_lock_is_free_after_its_holder(tmp_path: Path) -> None:
    with lock.hold(LocalStore(tmp_path)):
        pass
    with lock.hold(LocalStore(tmp_path)):
        pass


def elsewhere(folder: Path, age: float) -> None:
    """A lock file as another host leaves it, last touched so many seconds ago."""
    (folder / ".fvcli").mkdir()
    file = folder / ".fvcli" / "lock"
    file.write_text(json.dumps({"host": "another-host", "pid": 1, "since": "2026-01-01T00:00:00+00:00"}))
    moment = time.time() - age
    os.utime(file, (moment, moment))


def test_another_hosts_beating_lock_is_refused(tmp_path: Path) -> None:
    elsewhere(tmp_path, age=30)
    with (
        pytest.raises(LockedError, match="process 1 on another-host, since 2026-01-01"),
        lock.hold(LocalStore(tmp_path)),
    ):
        pytest.fail("held by two")


def test_another_hosts_lock_that_stands_still_is_taken_over(tmp_path: Path) -> None:
    elsewhere(tmp_path, age=lock.STALE_SECONDS + 1)
    with lock.hold(LocalStore(tmp_path)):
        assert json.loads((tmp_path / ".fvcli" / "lock").read_bytes())["host"] == socket.gethostname()


def test_a_holder_shows_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.01)
    file = tmp_path / ".fvcli" / "lock"
    with lock.hold(LocalStore(tmp_path)):
        os.utime(file, (1, 1))
        deadline = time.monotonic() + 10
        while file.stat().st_mtime == 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert file.stat().st_mtime > 1
    assert not [thread for thread in threading.enumerate() if thread.name == "lock"]


def test_a_lock_is_empty_after_its_holder(tmp_path: Path) -> None:
    """Else a run on another host would wait for two minutes."""
    with lock.hold(LocalStore(tmp_path)):
        assert (tmp_path / ".fvcli" / "lock").read_bytes()
    assert (tmp_path / ".fvcli" / "lock").read_bytes() == b""
    assert lock.holder(LocalStore(tmp_path)) is None


def test_a_lock_from_the_future_counts_from_now(tmp_path: Path) -> None:
    """A host whose clock was a day ahead has died."""
    elsewhere(tmp_path, age=-86_400)
    with pytest.raises(LockedError), lock.hold(LocalStore(tmp_path)):
        pytest.fail("held by two")
    assert (tmp_path / ".fvcli" / "lock").stat().st_mtime <= time.time() + 1


@pytest.mark.slow
def test_of_two_commands_one_works_and_one_exits_75(tmp_path: Path) -> None:
    photographs = pictures.make_folder(tmp_path / "photographs", range(200))
    features = tmp_path / "features"
    command = [str(commands.FVCLI), "extract", str(photographs), "-o", str(features), "--shard-size", "20", "-q"]
    first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not ((features / ".fvcli" / "lock").exists() and (features / ".fvcli" / "lock").read_bytes()):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    first.send_signal(signal.SIGSTOP)  # it holds the lock for as long as the second takes
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    first.send_signal(signal.SIGCONT)
    _, said = first.communicate(timeout=120)
    assert (first.returncode, said) == (0, "")
    assert second.returncode == 75
    assert f"is in use by another run (process {first.pid} on" in second.stderr
    assert len(contents.rows(features)) == 200
    assert commands.run("verify", features).code == 0


@pytest.mark.slow
def test_a_command_meets_a_held_lock(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    photographs = pictures.make_folder(tmp_path / "photographs", range(2))
    for command in (["extract", photographs, "-o", tmp_path], ["repair", tmp_path]):
        (tmp_path / "manifest.json").unlink(missing_ok=True)
        if command[0] == "repair":
            commands.run("extract", photographs, "-o", tmp_path / "other")
            (tmp_path / "manifest.json").write_bytes((tmp_path / "other" / "manifest.json").read_bytes())
        done = commands.run(*command)
        assert done.code == 75, done
        assert f"process {holder.pid}" in done.said


def test_a_holder_touches_its_lock_every_fifteen_seconds_and_others_wait_for_two_minutes(tmp_path: Path) -> None:
    waits: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0)
            return len(waits) > 2

    store = LocalStore(tmp_path)
    with lock.hold(store) as lease:
        descriptor = os.open(tmp_path / ".fvcli" / "lock", os.O_RDWR)
        os.utime(descriptor, (1, 1))
        lock._beat(descriptor, lease, Stop())
        assert os.fstat(descriptor).st_mtime > 1
        os.close(descriptor)
    assert waits == [15, 15, 15]
    assert lock.STALE_SECONDS == 120


def test_a_store_asks_for_the_lock_as_long_as_it_is_held(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)

    def losing_it() -> None:
        with lock.hold(store):
            store.replace("mine", b"1")
            (tmp_path / ".fvcli" / "lock").write_bytes(b"another's")
            for change in (lambda: store.replace("mine", b"2"), lambda: store.remove("mine")):
                with pytest.raises(LockedError):
                    change()
            raise DatasetError("what a run meets that has lost its lock")

    with pytest.raises(LockedError, match="another run has taken over"):
        losing_it()
    assert (tmp_path / "mine").read_bytes() == b"1"
    store.replace("mine", b"2")
    assert (tmp_path / "mine").read_bytes() == b"2"
    with pytest.raises(DatasetError, match="its own trouble"), lock.hold(store):
        raise DatasetError("its own trouble")
