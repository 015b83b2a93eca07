"""Which input each worker has in hand, on disk, so that an input that brings the process down can be found.

A slot is 16 bytes: shard index and position in it, or -1, -1. The kernel keeps what was written when the process dies;
a power cut may lose it, and then no input is to blame.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fvcli.dataset.disk import translated
from fvcli.dataset.layout import IN_WORK, TASKS
from fvcli.dataset.store import Store
from fvcli.errors import DatasetError

TASK_IN_WORK = ".in-work"

_SLOT = struct.Struct("<qq")
_IDLE = _SLOT.pack(-1, -1)


class InWork:
    """The record of one run. ``mark`` is called by several threads, each with a slot of its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def mark(self, slot: int, shard: int, position: int) -> None:
        os.pwrite(self._descriptor, _SLOT.pack(shard, position), slot * _SLOT.size)

    def clear(self, slot: int) -> None:
        os.pwrite(self._descriptor, _IDLE, slot * _SLOT.size)


@contextmanager
def record(store: Store, slots: int, key: str = IN_WORK) -> Iterator[InWork]:
    """A fresh record with ``slots`` idle slots; removed when the run ends, in whatever good order."""
    path = store.path(key)
    with translated("write", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        os.pwrite(descriptor, _IDLE * slots, 0)
    try:
        yield InWork(descriptor)
    finally:
        os.close(descriptor)
        with suppress(DatasetError):  # it costs the next run a look, and must not hide why this one ends
            store.remove(key)


def suspects(store: Store, key: str = IN_WORK) -> list[tuple[int, int]]:
    """(shard index, position) of the inputs that were in hand when an earlier run died; none after a good end."""
    data = store.read(key) or b""
    slots = (_SLOT.unpack_from(data, start) for start in range(0, len(data) - _SLOT.size + 1, _SLOT.size))
    return sorted({(shard, position) for shard, position in slots if shard >= 0})


def records(store: Store) -> list[str]:
    """Keys of all records: the run's and those of tasks."""
    tasks = [f"{TASKS}/{name}" for name in store.names(TASKS) if name.endswith(TASK_IN_WORK)]
    return [IN_WORK, *tasks] if store.exists(IN_WORK) else tasks
