"""One run at a time for each dataset.

The lock is an flock on ``.fvcli/lock``: the kernel drops it when its process ends, however it ends. The file says who
holds it. On a folder that is shared by hosts between which flock does not work, the file's time
decides: its holder touches it every 15 seconds, and another host may take it over after two minutes without that.

For a dataset in a bucket there is a second lock, an object in it; see :mod:`fvcli.dataset.bucket_lock`.

A task that works on a slice of a plan holds a lock of its own under ``.fvcli/tasks``. Tasks and a run that holds the
dataset's lock keep each other out; tasks with different locks do not.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from fvcli.dataset import layout
from fvcli.dataset.bucket_lock import HEARTBEAT_SECONDS, STALE_SECONDS, BucketLease, UnavailableError
from fvcli.dataset.layout import LOCK, TASKS, permitted
from fvcli.dataset.store import Store
from fvcli.errors import FvcliError, LockedError
from fvcli.files import translated

TASK_LOCK = ".lock"


class Lease:
    """A lock as its holder sees it: it can be lost, where its host was suspended for longer than others wait."""

    def __init__(self, path: Path, content: bytes, place: str) -> None:
        self._path = path
        self._content = content
        self._place = place
        self.beyond: BucketLease | None = None  # the lock between hosts where files are not shared

    def is_ours(self) -> bool:
        """Whether the lock still names this holder."""
        try:
            return self._read() == self._content
        except OSError:
            return False

    def lost(self) -> LockedError | None:
        """The error of a run that another one has taken the lock from, None where none has."""
        try:
            return self._taken(self._read())
        except OSError:  # gone with its folder, or not to be read
            return None

    def require(self) -> None:
        """Raises LockedError where another run has taken the lock over, DatasetError where it cannot be read.

        To be called before anything is changed.
        """
        with translated("read", self._path):
            content = self._read()
        if (lost := self._taken(content)) is not None:
            raise lost

    def _taken(self, content: bytes) -> LockedError | None:
        if content == self._content and not (self.beyond is not None and self.beyond.lost()):
            return None
        return LockedError(
            f"{self._place}: another run has taken over while this one was suspended, which has changed nothing "
            "since; repeat the command when the other has ended"
        )

    def _read(self) -> bytes:
        """The content of the lock file. It is reopened, so that a network mount is read again."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return os.pread(descriptor, 4096, 0)
        finally:
            os.close(descriptor)


@contextmanager
def hold(store: Store, key: str = LOCK) -> Iterator[Lease]:
    """Holds the dataset's lock, or the task's lock of that name. Meanwhile the store changes nothing once it is lost.

    Raises LockedError naming the holder, DatasetError where none can be made.
    """
    store.make_folder(key.rsplit("/", 1)[0])
    path = store.path(key)
    with translated("lock", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        lease = Lease(path, _take(descriptor, store.place), store.place)
        stop = threading.Event()
        heart = threading.Thread(target=_beat, args=(descriptor, lease, stop), name="lock", daemon=True)
        heart.start()
        try:
            others = task_locks(store) if key == LOCK else [LOCK]
            for other in others:
                _refuse_if_held(store, other)
            with _between_hosts(store, key, others) as lease.beyond, _explained(lease):
                store.permit = lease.require
                yield lease
        finally:
            store.permit = permitted
            stop.set()
            heart.join()
            if lease.is_ours():
                with suppress(OSError):
                    os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


@contextmanager
def _between_hosts(store: Store, key: str, others: Sequence[str]) -> Iterator[BucketLease | None]:
    """Holds the lock in the bucket, where the dataset is in one whose store has conditional writes."""
    with ExitStack() as stack:
        held = None
        try:
            if (locks := store.bucket_locks()) is not None:
                held = stack.enter_context(locks.hold(key, others))
        except UnavailableError as error:
            store.unlocked = f"other hosts are not kept away from {store.place}: {error}"
        yield held


@contextmanager
def _explained(lease: Lease) -> Iterator[None]:
    """Turns the error of a run that has lost its lock into LockedError: what it met is another run's work."""
    try:
        yield
    except FvcliError as error:
        if (lost := lease.lost()) is not None:
            raise lost from error
        raise


def is_held(store: Store) -> bool:
    """Whether a run holds the dataset's lock. Changes nothing. Raises DatasetError where the lock cannot be read."""
    return holder(store) is not None


def holder(store: Store, key: str = LOCK) -> dict[str, object] | None:
    """``host``, ``pid`` and ``since`` of the process that holds a lock, as far as it says; None where it is free.

    Changes nothing. Raises DatasetError where the lock cannot be read.
    """
    if not store.exists(key):
        with suppress(UnavailableError):
            locks = store.bucket_locks()
            return None if locks is None else locks.holder(key)
        return None
    with translated("read", store.path(key)):
        descriptor = os.open(store.path(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _refuse_if_locked(descriptor, store.place)
        _refuse_if_beating(descriptor, store.place)
    except LockedError:
        return _holder(descriptor)
    finally:
        os.close(descriptor)
    return None


def task_locks(store: Store) -> list[str]:
    """The locks of tasks, held or not."""
    return [f"{TASKS}/{name}" for name in store.names(TASKS) if name.endswith(TASK_LOCK)]


def _refuse_if_held(store: Store, key: str) -> None:
    if not store.exists(key):
        return
    with translated("lock", store.path(key)):
        descriptor = os.open(store.path(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _refuse_if_locked(descriptor, store.place)
        _count_from_now(descriptor)
        _refuse_if_beating(descriptor, store.place)
    finally:
        os.close(descriptor)


def _refuse_if_locked(descriptor: int, folder: str) -> None:
    """Raises LockedError if a process that this kernel knows of has the lock."""
    with suppress(OSError):  # a file system without locks
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise layout.in_use(folder, _holder(descriptor)) from None


def _take(descriptor: int, folder: str) -> bytes:
    """Makes the lock this process's. Returns what it says now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise layout.in_use(folder, _holder(descriptor)) from None
    except OSError:
        pass  # a file system without locks: the holder's heartbeat below is all there is
    _count_from_now(descriptor)
    _refuse_if_beating(descriptor, folder)
    content = json.dumps(layout.this_holder()).encode()
    with translated("write", os.path.join(folder, LOCK)):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)
    return content


def _refuse_if_beating(descriptor: int, folder: str) -> None:
    """Raises LockedError if another host holds the lock, which flock need not tell."""
    holder = _holder(descriptor)
    if holder.get("host", socket.gethostname()) != socket.gethostname():
        age = time.time() - os.fstat(descriptor).st_mtime
        if age < STALE_SECONDS:
            raise layout.in_use(folder, holder)


def _count_from_now(descriptor: int) -> None:
    """Sets a time in the future (of a wrong clock) to now. A living holder sets it again."""
    if os.fstat(descriptor).st_mtime - time.time() > STALE_SECONDS:
        with suppress(OSError):
            os.utime(descriptor)


def _holder(descriptor: int) -> dict[str, object]:
    return layout.holder_in(os.pread(descriptor, 4096, 0))


def _beat(descriptor: int, lease: Lease, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        if lease.is_ours():
            with suppress(OSError):
                os.utime(descriptor)
