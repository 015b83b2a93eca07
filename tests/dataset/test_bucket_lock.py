"""Two hosts and one dataset in a bucket: one works, and one that was suspended changes nothing when it wakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fvcli.dataset import bucket_lock
from fvcli.dataset.bucket_lock import BucketLocks, UnavailableError
from fvcli.errors import DatasetError, LockedError
from fvcli.locations import Location
from tests.helpers import pictures
from tests.helpers.buckets import stand_in_for_s3
from tests.helpers.hosts import on_host, said
from tests.helpers.processes import wait_for
from tests.helpers.s3_server import S3Server

pytest.importorskip("obstore", reason="pip install 'fvcli[buckets]'")

LOCK = ".fvcli/lock"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3Server]:
    pauses = {name: timedelta(milliseconds=1) for name in ("init_backoff", "max_backoff")}
    monkeypatch.setitem(bucket_lock._RETRIES, "backoff", {**pauses, "base": 2})
    with stand_in_for_s3(monkeypatch, tmp_path) as server:
        server.real_time = True
        yield server


@pytest.fixture
def locks(server: S3Server) -> BucketLocks:
    return BucketLocks(Location.parse("s3://out/f"), "this machine")


def of_another(server: S3Server, age: float) -> None:
    holder = {"host": "another-host", "pid": 1, "since": "2026-01-01T00:00:00+00:00", "token": "t", "beat": 1}
    server.objects[f"out/f/{LOCK}"] = (json.dumps(holder).encode(), time.time() - age)


def test_one_holds_the_lock_and_others_are_told_who(locks: BucketLocks) -> None:
    with locks.hold(LOCK, ()):
        holder = locks.holder(LOCK)
        assert holder is not None
        assert holder["pid"] == os.getpid()
        other = BucketLocks(Location.parse("s3://out/f"), "another machine")
        with pytest.raises(LockedError, match=f"process {os.getpid()} on"), other.hold(LOCK, ()):
            pytest.fail("held by two")
        with pytest.raises(LockedError), other.hold(".fvcli/tasks/00001-of-00002.lock", (LOCK,)):
            pytest.fail("a task beside a run")
    assert locks.holder(LOCK) is None
    with locks.hold(LOCK, ()):
        pass


def test_the_lock_of_a_host_that_is_gone_is_taken_over(server: S3Server, locks: BucketLocks) -> None:
    of_another(server, age=60)
    with pytest.raises(LockedError, match="process 1 on another-host, since 2026-01-01"), locks.hold(LOCK, ()):
        pytest.fail("held by two")
    of_another(server, age=bucket_lock.STALE_SECONDS + 2)
    with locks.hold(LOCK, ()) as lease:
        assert not lease.lost()
    assert not [name for name in server.names("out") if name.endswith("clock")]


def test_of_many_who_want_an_abandoned_lock_one_gets_it(server: S3Server, locks: BucketLocks) -> None:
    of_another(server, age=bucket_lock.STALE_SECONDS + 2)
    ready, held, refused = threading.Barrier(4), [], []

    def want() -> None:
        own = BucketLocks(Location.parse("s3://out/f"), str(threading.get_ident()))
        ready.wait()
        try:
            with own.hold(LOCK, ()) as lease:
                held.append(lease)
                wait_for(lambda: len(held) + len(refused) == 4, "the others' answers")
        except LockedError as error:
            refused.append(error)

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), len(refused)) == (1, 3)


def test_a_manifest_that_another_has_replaced_is_not_overwritten(server: S3Server, locks: BucketLocks) -> None:
    server.put("out/f/manifest.json", b"old")
    with locks.hold(LOCK, ()):
        assert locks.replace_manifest(b"new")
        assert locks.replace_manifest(b"newer")
        server.put("out/f/manifest.json", b"another's")
        with pytest.raises(LockedError, match="another run has replaced the manifest"):
            locks.replace_manifest(b"newest")
    assert server.below("out/f/")["manifest.json"] == b"another's"
    assert not locks.replace_manifest(b"without the lock")


def test_a_lost_answer_does_not_lose_the_lock(server: S3Server, locks: BucketLocks) -> None:
    """The client asks again, and its second request meets the first one's object."""
    server.lose = 1
    with locks.hold(LOCK, ()) as lease:
        server.lose = 1
        lease.renew()
        assert not lease.lost()
    assert server.lose == 0


@pytest.mark.parametrize("answer", [(501, "NotImplemented"), (403, "AccessDenied")])
def test_a_store_without_conditional_writes_says_so(
    server: S3Server, locks: BucketLocks, answer: tuple[int, str]
) -> None:
    server.fault = lambda command, name: answer if command == "PUT" else None
    with pytest.raises(UnavailableError), locks.hold(LOCK, ()):
        pytest.fail("held without a lock")


def host(folder: Path, name: str, *arguments: str | Path, stale: float = 1.0, stop: int = 0) -> subprocess.Popen[str]:
    """The command on a host of that name, which has a disk of its own."""
    own = folder / name
    own.mkdir(exist_ok=True)
    return on_host("bucket", name, *arguments, temporary=own, stale=stale, stop=stop)


@pytest.mark.slow
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_suspended_host_changes_nothing_in_the_bucket(server: S3Server, tmp_path: Path, part: float) -> None:
    photographs = pictures.make_folder(tmp_path / "photographs", range(8))
    command = ("extract", photographs, "-o", "s3://out/f", "--shard-size", "3", "-q", "--prune")
    assert said(host(tmp_path, "one", *command))[0] == 0
    pictures.put(photographs, "0003.png", pictures.picture(300), pictures.SOME_TIME_NS + 10**9)
    before = dict(server.objects)
    code, told = said(host(tmp_path, "one", *command))
    assert code == 0, told
    changes = int(told.split("changes: ")[1])
    server.objects = before

    suspended = host(tmp_path, "one", *command, stop=1 + int(part * changes))
    assert os.WIFSTOPPED(os.waitpid(suspended.pid, os.WUNTRACED)[1])
    code, told = said(host(tmp_path, "other", *command, stale=3600))
    assert code == 75, told
    assert "in use by another run (process" in told
    time.sleep(2.5)  # the store tells times in whole seconds
    pictures.put(photographs, "0100.png", pictures.picture(100))
    code, told = said(host(tmp_path, "other", *command))
    assert code == 0, told
    after = dict(server.objects)
    suspended.send_signal(signal.SIGCONT)
    code, told = said(suspended)
    assert (code, server.objects) == (75, after), told
    assert said(host(tmp_path, "other", "verify", "s3://out/f", "-q")) == (0, "changes: 0\n")


def test_a_lock_in_a_bucket_is_renewed_as_often_as_one_on_a_disk() -> None:
    renewed: list[int] = []
    waits: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0)
            return len(waits) > 3

    class Lease:
        def renew(self) -> None:
            renewed.append(len(waits))
            raise DatasetError("the bucket does not answer")

    lease: Any = Lease()
    bucket_lock._beat(lease, Stop())
    assert (renewed, waits) == ([1, 2, 3], [15] * 4)


CREDENTIALS = """
[default]
aws_access_key_id = ours
aws_secret_access_key = secret
[other]
aws_access_key_id = theirs
aws_secret_access_key = hidden
aws_session_token = token
[empty]
region = nowhere
"""


def test_the_keys_are_those_of_the_profile_where_the_environment_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "credentials").write_text(CREDENTIALS)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    assert bucket_lock._profile() == {"access_key_id": "ours", "secret_access_key": "secret"}
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert bucket_lock._profile() == {
        "access_key_id": "theirs", "secret_access_key": "hidden", "session_token": "token",
    }  # fmt: skip
    for profile in ("empty", "none"):
        monkeypatch.setenv("AWS_PROFILE", profile)
        assert bucket_lock._profile() == {}
    monkeypatch.setenv("AWS_PROFILE", "other")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "in the environment")
    assert bucket_lock._profile() == {}
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    (tmp_path / "credentials").write_bytes(b"\xff no file of settings")
    assert bucket_lock._profile() == {}
