"""The order of what reaches the disk: nothing depends on what a power cut could still take away."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fvcli.dataset.layout import DataFormat
from fvcli.dataset.store import LocalStore
from fvcli.errors import DatasetError
from fvcli.records import Limit
from tests.helpers import contents, pictures
from tests.helpers.in_process import Bench


@dataclass
class Disk:
    """The calls of a run to the disk, in order: (what, path, path)."""

    folder: Path
    calls: list[tuple[str, str, str]] = field(default_factory=list)

    def note(
        self, what: str, path: str | bytes | os.PathLike[str], target: str | bytes | os.PathLike[str] = ""
    ) -> None:
        names = [os.path.relpath(os.fsdecode(name), self.folder) if name else "" for name in (path, target)]
        if not names[0].startswith("..") and not names[0].endswith(("lock", "in-work")):
            self.calls.append((what, *names))

    def first(self, what: str, path: str = "", target: str = "") -> int:
        """The place of the first call of this kind with such a path and target (their ends)."""
        return next(number for number, call in enumerate(self.calls) if self._is(call, what, path, target))

    def all(self, what: str, path: str = "", target: str = "") -> list[int]:
        return [number for number, call in enumerate(self.calls) if self._is(call, what, path, target)]

    def names_flushed(self, folder: str, after: int, before: int) -> bool:
        """Whether the folder itself was flushed between two calls."""
        return ("sync", folder, "") in self.calls[after + 1 : before]

    @staticmethod
    def _is(call: tuple[str, str, str], what: str, path: str, target: str) -> bool:
        return call[0] == what and path in call[1] and target in call[2]


@pytest.fixture
def disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Disk:
    found = Disk(bench.features)
    replaced, synced, removed = os.replace, os.fsync, os.unlink

    def replace(source: str, target: str) -> None:
        replaced(source, target)
        found.note("move", source, target)

    def fsync(descriptor: int) -> None:
        synced(descriptor)
        found.note("sync", os.readlink(f"/proc/self/fd/{descriptor}"))

    def unlink(path: str, **more: object) -> None:
        removed(path, **more)  # type: ignore[arg-type]
        found.note("remove", path)

    for name, function in (("replace", replace), ("fsync", fsync), ("unlink", unlink)):
        monkeypatch.setattr(os, name, function)
    return found


def assert_all_flushed(disk: Disk) -> None:
    """Each file that takes a name that counts was flushed before."""
    current: dict[str, str] = {}  # a file's name now -> the name under which it was made
    synced: set[str] = set()
    for what, path, target in disk.calls:
        if what == "sync":
            synced.add(path)
        elif what == "move":
            current[target] = current.pop(path, path)
            assert current[target] in synced, f"{target} was never flushed"


@pytest.mark.parametrize("format", ["parquet", "npy"])
def test_a_first_run(bench: Bench, disk: Disk, format: DataFormat) -> None:
    pictures.make_folder(bench.photographs, range(25))
    pictures.put(bench.photographs, "broken.png", pictures.broken(1))
    bench.extract(format=format)
    assert_all_flushed(disk)
    plan, records = disk.first("move", target=".fvcli/plan.json"), disk.all("move", target=".fvcli/commits/")
    assert disk.first("move", target="plan.arrow") < disk.first("move", target="plan-failures") < plan
    assert disk.names_flushed(".fvcli", plan, records[0]), "the names of the plan are flushed, too"
    assert len(records) == 3
    for record in records:
        staged = [move for move in disk.all("move", ".tmp", ".fvcli/staging/") if move < record]
        assert disk.names_flushed(".fvcli/staging", staged[-1], record), "the names of the shard's files are flushed"
    shown = [move for move in disk.all("move") if disk.calls[move][2].startswith(("data", "img_emb", "metadata"))]
    assert len(shown) == (3 if format == "parquet" else 6)
    for number, move in enumerate(shown):
        assert records[number * 3 // len(shown)] < move, "each is shown after its own record"
    assert_published(disk, ["data"] if format == "parquet" else ["img_emb", "metadata"])


def assert_published(disk: Disk, folders: list[str]) -> None:
    """The pending manifest, then the files, then the manifest, then what it no longer names."""
    pending = disk.first("move", target="pending-manifest.json")
    manifest = next(number for number, call in enumerate(disk.calls) if call[2] == "manifest.json")
    assert pending < manifest
    for folder in [*folders, "failures"]:
        moves = [move for move in disk.all("move", ".fvcli/staging/") if disk.calls[move][2].startswith(folder)]
        assert moves or folder == "failures"
        assert all(move < manifest for move in moves)
        assert disk.names_flushed(".fvcli", pending, min([move for move in moves if move > pending] or [manifest]))
        syncs = [sync for sync in disk.all("sync") if disk.calls[sync][1] == folder and sync < manifest]
        assert not moves or (syncs and syncs[-1] > moves[-1]), f"{folder}: names that were not flushed"
    after = [sync for sync in disk.all("sync") if disk.calls[sync][1] == "." and sync > manifest]
    removed = [call for call in disk.all("remove") if disk.calls[call][1].split("/")[0] in (*folders, "failures")]
    assert after
    assert all(removal > after[0] for removal in removed)
    assert disk.all("remove", "pending-manifest.json")[-1] > max([*removed, after[0]])


@pytest.mark.parametrize("format", ["parquet", "npy"])
def test_an_update_that_prunes(bench: Bench, disk: Disk, format: DataFormat) -> None:
    pictures.make_folder(bench.photographs, range(25))
    pictures.put(bench.photographs, "broken.png", pictures.broken(1))
    bench.extract(format=format)
    disk.calls.clear()
    (bench.photographs / "0003.png").unlink()
    (bench.photographs / "broken.png").unlink()
    pictures.put(bench.photographs, "0019a.png", pictures.picture(90))
    disk.calls.clear()
    bench.extract(format=format, prune=True, prune_limit=Limit(100, True))
    assert_all_flushed(disk)
    shown = [call for call in disk.all("move") if disk.calls[call][2].startswith(("data", "img_emb", "metadata"))]
    assert min(shown) > disk.first("move", target="pending-manifest.json"), "readers see nothing of an update before"
    assert disk.all("remove", "data/" if format == "parquet" else "img_emb/"), "what the update replaces"
    assert disk.all("remove", "failures/")
    assert_published(disk, ["data"] if format == "parquet" else ["img_emb", "metadata"])
    assert contents.check_moment(bench.features) == "update"


def test_a_file_that_has_vanished_on_the_way_is_told(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    (tmp_path / "a").write_bytes(b"a")
    store.move("a", "b")
    store.move("a", "b")  # done already, as after a crash
    (tmp_path / "b").unlink()
    with pytest.raises(DatasetError, match="cannot move into place"):
        store.move("a", "b")


@pytest.mark.parametrize("format", ["parquet", "npy"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_shard_that_the_disk_does_not_keep_is_not_committed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, format: DataFormat, number: int
) -> None:
    """The bytes were taken, and the flush says that they are not on the disk."""
    pictures.make_folder(bench.photographs, range(25))
    flushed = []

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.parent.name == "staging":
            flushed.append(path.name)
            if len(flushed) > 2:
                raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(DatasetError, match=r"cannot write .*\.tmp: the disk"):
            bench.extract(format=format)
    assert os.listdir(bench.features / ".fvcli" / "staging") == []
    assert contents.manifest(bench.features) is None
    assert contents.check_moment(bench.features) == "first run"
    bench.extract(format=format)
    assert len(contents.rows(bench.features)) == 25
    assert bench.damages() == []
