"""Small files and folders that are whole, durable, or refused."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fvcli.files import replacing, sync_folder


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
