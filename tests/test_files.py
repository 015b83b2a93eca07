"""Small files and folders that are whole, durable, or refused."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from fvcli.errors import DatasetError
from fvcli.files import replacing, sync_folder, translated


def refuse(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refused(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refused)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_folder_that_the_disk_does_not_keep_is_an_error(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, number)
    with pytest.raises(OSError) as raised:  # noqa: PT011 (its number is what counts)
        sync_folder(tmp_path)
    assert raised.value.errno == number


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_without_flushing_of_folders_is_none(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    refuse(monkeypatch, number)
    sync_folder(tmp_path)
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_what_could_not_be_written_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def broken_off() -> None:
        with replacing(tmp_path / "a") as file:
            file.write(b"new")
            raise error

    with pytest.raises(type(error)):
        broken_off()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOENT, ""), "it does not exist (was the folder removed or unmounted?)"),
        (OSError(errno.EACCES, ""), "permission denied"),
        (OSError(errno.EPERM, ""), "operation not permitted"),
        (OSError(errno.EROFS, ""), "the file system is read-only"),
        (OSError(errno.ENOSPC, ""), "the disk is full; free some space and run the same command again"),
        (OSError(errno.EDQUOT, ""), "the disk quota is used up; free some space and run the same command again"),
        (OSError(errno.EIO, ""), "the disk reports an input/output error; check it before repeating the command"),
        (OSError(errno.EMFILE, ""), "too many open files; raise the limit (ulimit -n)"),
        (OSError(errno.ELOOP, "Too many links"), "Too many links"),
        (OSError("told without a number"), "told without a number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_system_refuses_names_the_place(tmp_path: Path, error: OSError, said: str) -> None:
    with pytest.raises(DatasetError) as raised, translated("read", tmp_path):
        raise error
    assert str(raised.value) == f"cannot read {tmp_path}: {said}"
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(("free", "inodes", "told"), [(10, 0, True), (0, 0, False), (10, 5, False)])
def test_a_disk_without_inodes_is_told_from_a_full_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, inodes: int, told: bool
) -> None:
    places: list[Path] = []

    def statvfs(place: Path) -> object:
        places.append(place)
        return SimpleNamespace(f_files=100, f_favail=inodes, f_bavail=free)

    monkeypatch.setattr(os, "statvfs", statvfs)
    with pytest.raises(DatasetError) as raised, translated("write", tmp_path / "not" / "there"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert ("no inodes left (df -i)" in str(raised.value)) is told
    assert places == [tmp_path], "the nearest folder that is there"
