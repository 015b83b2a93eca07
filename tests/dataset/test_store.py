"""A dataset's folder: what is read, replaced and listed, and what is refused because it is no file of a dataset."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fvcli.dataset.store import LocalStore
from fvcli.errors import DatasetError, LockedError


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "b").write_bytes(b"four")
    (tmp_path / "data" / "a").write_bytes(b"")
    (tmp_path / "data" / "folder").mkdir()
    return LocalStore(tmp_path)


def test_what_is_there_is_read_and_what_is_not_is_none(store: LocalStore) -> None:
    assert (store.read("data/b"), store.read("data/a"), store.read("data/c"), store.read("no/c")) == (
        b"four", b"", None, None,
    )  # fmt: skip
    assert [store.size(f"data/{name}") for name in ("a", "b", "c", "folder")] == [0, 4, None, None]
    os.utime(store.path("data/b"), (5, 7))
    assert [store.modified(f"data/{name}") for name in ("b", "c", "folder")] == [7.0, None, None]
    assert [store.exists(f"data/{name}") for name in ("b", "c", "folder")] == [True, False, True]
    assert store.names("data") == ["a", "b"]
    assert store.names("no") == []
    assert store.names("") == []
    assert store.describe("data/b") == str(store.folder / "data" / "b")
    assert store.using("data/b", lambda file: bytes(file.read())) == b"four"


def test_what_cannot_be_read_is_not_taken_for_absent(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DatasetError, match=r"cannot read .*data/b: Permission denied"):
        store.read("data/b")
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetError, match=r"cannot list .*data: Permission denied"):
        store.names("data")
    monkeypatch.setattr(Path, "lstat", refuse)
    for examine in (store.size, store.modified):
        with pytest.raises(DatasetError, match=r"cannot examine .*data/b: Permission denied"):
            examine("data/b")


def test_links_pipes_and_folders_that_are_files_are_refused(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to("data")
    (tmp_path / "data" / "link").symlink_to("b")
    os.mkfifo(tmp_path / "data" / "pipe")
    for refused, why in (
        (lambda: store.read("linked/b"), "linked is a symbolic link; the folders of a dataset are real ones"),
        (lambda: store.replace("linked/b", b"new"), "linked is a symbolic link"),
        (lambda: store.names("linked"), "linked is a symbolic link"),
        (lambda: store.remove("linked/b"), "linked is a symbolic link"),
        (lambda: store.make_folder("linked"), "linked is a symbolic link"),
        (lambda: store.read("data/b/c"), "b is a file; the folders of a dataset are real ones"),
        (lambda: store.read("data/link"), "link is a symbolic link and not a file of a dataset"),
        (lambda: store.path("data/pipe"), "pipe is a pipe and not a file of a dataset"),
        (lambda: store.sha256("data/pipe"), "pipe is a pipe and not a file of a dataset"),
    ):
        with pytest.raises(DatasetError, match=why):
            refused()
    assert (store.size("data/link"), store.size("data/pipe")) == (None, None)
    assert (tmp_path / "data" / "b").read_bytes() == b"four"


def test_a_move_that_was_made_before_is_made(store: LocalStore) -> None:
    store.move("data/b", "data/c")
    store.move("data/b", "data/c")  # as after a crash
    assert (store.read("data/b"), store.read("data/c")) == (None, b"four")
    with pytest.raises(DatasetError, match="cannot move into place"):
        store.move("data/b", "data/d")
    store.remove("data/c")
    store.remove("data/c")
    assert store.names("data") == ["a"]


def test_a_draft_takes_its_place_as_a_whole(store: LocalStore) -> None:
    draft = store.draft("data/b")
    assert draft.parent == store.path("data/b").parent
    draft.write_bytes(b"new")
    assert store.read("data/b") == b"four"
    store.adopt(draft, "data/b")
    assert (store.read("data/b"), draft.exists()) == (b"new", False)


def test_every_change_asks_for_permission_first(store: LocalStore) -> None:
    def forbidden() -> None:
        raise LockedError("not yours")

    draft = store.draft("data/b")
    draft.write_bytes(b"new")
    store.permit = forbidden
    changes: list[Callable[[], object]] = [
        lambda: store.replace("data/b", b"new"),
        lambda: store.adopt(draft, "data/b"),
        lambda: store.move("data/a", "data/b"),
        lambda: store.remove("data/b"),
    ]
    for change in changes:
        with pytest.raises(LockedError, match="not yours"):
            change()
    assert (store.read("data/a"), store.read("data/b")) == (b"", b"four")
