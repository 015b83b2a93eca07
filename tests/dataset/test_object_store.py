"""A dataset in an object store: its objects, and the files that a process keeps on its own disk for it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fvcli.dataset.layout import STAGING
from fvcli.dataset.store import Store, open_store
from fvcli.errors import DatasetError, LockedError
from tests.helpers.buckets import stand_in_for_s3
from tests.helpers.s3_server import S3Server


def test_each_place_has_a_staging_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    places = ["s3://one/a", "s3://two/a", "s3://one/b"]
    folders = {open_store(place).path(STAGING) for place in places}
    assert len(folders) == 3
    assert open_store(places[0]).path(STAGING) in folders
    assert all(folder.is_relative_to(tmp_path) for folder in folders)


def test_a_staging_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uid = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: uid + 1)  # the folder below is then another user's
    (tmp_path / f"fvcli-{uid + 1}").mkdir()
    with pytest.raises(DatasetError, match="is not yours; set TMPDIR"):
        open_store("s3://one/a")


def test_a_staging_folder_behind_a_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "aim").mkdir()
    (tmp_path / f"fvcli-{os.getuid()}").symlink_to(tmp_path / "aim")
    with pytest.raises(DatasetError, match="is not yours"):
        open_store("s3://one/a")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3Server]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # the machine's own disk
    with stand_in_for_s3(monkeypatch, tmp_path) as server:
        yield server


@pytest.fixture
def store(server: S3Server) -> Store:
    return open_store("s3://out/f")


def objects(server: S3Server) -> dict[str, bytes]:
    """Those of the dataset, without the marks that Arrow's library leaves for folders."""
    found = {key: data for key, (data, _) in server.objects.items() if key.startswith("out/f/")}
    return {key: data for key, data in found.items() if not key.endswith("/")}


def test_objects_are_put_read_listed_and_removed(server: S3Server, store: Store) -> None:
    assert (store.read("data/a"), store.size("data/a"), store.modified("data/a"), store.exists("data/a")) == (
        None, None, None, False,
    )  # fmt: skip
    store.replace("data/a", b"old")
    store.replace("data/a", b"four")
    store.replace("data/deep/b", b"")
    assert objects(server) == {"out/f/data/a": b"four", "out/f/data/deep/b": b""}
    assert (store.read("data/a"), store.size("data/a"), store.exists("data/a")) == (b"four", 4, True)
    assert store.sha256("data/a") == hashlib.sha256(b"four").hexdigest()
    assert store.modified("data/a") == pytest.approx(server.objects["out/f/data/a"][1], abs=1)
    assert store.names("data") == ["a"]
    assert store.names("nothing") == []
    assert store.describe("data/a") == "s3://out/f/data/a"
    assert store.place == "s3://out/f"
    store.remove("data/a")
    store.remove("data/a")
    assert objects(server) == {"out/f/data/deep/b": b""}


def test_a_shard_goes_from_the_machines_own_disk_to_its_final_key_at_once(server: S3Server, store: Store) -> None:
    store.make_folder(STAGING)
    written = store.path(f"{STAGING}/shard.tmp")
    written.write_bytes(b"rows")
    assert (store.exists(f"{STAGING}/shard.tmp"), store.size(f"{STAGING}/shard.tmp")) == (True, 4)
    assert store.names(STAGING) == ["shard.tmp"]
    assert store.waiting("data/part") == "data/part"
    store.move(f"{STAGING}/shard.tmp", "data/part")
    store.move("data/part", "data/part")
    assert objects(server) == {"out/f/data/part": b"rows"}
    assert not written.exists()
    with pytest.raises(DatasetError, match="cannot be renamed in an object store"):
        store.move("data/part", "data/other")
    draft = store.draft(".fvcli/plan.arrow")
    draft.write_bytes(b"entries")
    store.adopt(draft, ".fvcli/plan.arrow")
    assert store.read(".fvcli/plan.arrow") == b"entries"
    assert not draft.exists()
    store.replace(".fvcli/in-work", b"in hand")
    assert (store.read(".fvcli/in-work"), store.modified(".fvcli/in-work") is None) == (b"in hand", False)
    store.remove(".fvcli/in-work")
    assert ".fvcli/in-work" not in "".join(objects(server))
    with pytest.raises(DatasetError, match="copy the dataset to a disk for this command"):
        store.path("data/part")


def test_every_change_of_an_object_asks_for_permission_first(server: S3Server, store: Store) -> None:
    def forbidden() -> None:
        raise LockedError("not yours")

    store.replace("data/a", b"four")
    draft = store.draft("data/b")
    draft.write_bytes(b"new")
    store.permit = forbidden
    for change in (
        lambda: store.replace("data/a", b"new"),
        lambda: store.adopt(draft, "data/b"),
        lambda: store.remove("data/a"),
    ):
        with pytest.raises(LockedError, match="not yours"):
            change()
    assert objects(server) == {"out/f/data/a": b"four"}


def test_a_request_that_fails_for_the_moment_is_made_again_and_one_that_is_refused_is_not(
    server: S3Server, store: Store
) -> None:
    store.replace("data/a", b"four")
    busy = [3]

    def at_first(command: str, name: str) -> tuple[int, str] | None:
        busy[0] -= 1
        return (503, "SlowDown") if busy[0] >= 0 else None

    server.fault = at_first
    assert store.read("data/a") == b"four"
    assert busy[0] < 0
    busy[0] = 3
    store.replace("data/a", b"five")
    assert objects(server)["out/f/data/a"] == b"five"
    requests: list[str] = []

    def refuse(command: str, name: str) -> tuple[int, str]:
        requests.append(command)
        return 403, "AccessDenied"

    server.fault = refuse
    with pytest.raises(DatasetError, match=r"cannot read s3://out/f/data/a: .*"):
        store.read("data/a")
    with pytest.raises(DatasetError, match=r"cannot write s3://out/f/data/a: .*"):
        store.replace("data/a", b"new")
    assert len(requests) < 10
    server.fault = lambda command, name: None
    assert store.read("data/a") == b"five"
