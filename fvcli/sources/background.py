"""An iterator that runs in a thread of its own, so that a waiting caller can stop waiting."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

_GROUP = 256  # items that pass together
_GROUPS = 8  # that wait to be taken
_POLL_SECONDS = 0.1


def in_background(items: Callable[[], Iterator[T]], check: Callable[[], None]) -> Iterator[T]:
    """The items of ``items()``, in order, made ahead by a thread.

    check: called about every tenth of a second while nothing comes; what it raises ends the wait at once, also where
        the thread hangs in a system call (a dead network mount, a pipe without a writer, a store that does not answer).
    Raises what ``items`` raises.
    """
    passed: queue.Queue[list[T] | BaseException | None] = queue.Queue(_GROUPS)
    left = threading.Event()

    def put(item: list[T] | BaseException | None) -> None:
        while not left.is_set():
            try:
                passed.put(item, timeout=_POLL_SECONDS)
                return
            except queue.Full:
                continue

    def run() -> None:
        group: list[T] = []
        try:
            for item in items():
                group.append(item)
                if len(group) == _GROUP:
                    put(group)
                    group = []
                if left.is_set():
                    return
            put(group)
            put(None)
        except BaseException as error:
            put(group)
            put(error)

    # A daemon, because nothing can wake it out of a system call.
    threading.Thread(target=run, name="search", daemon=True).start()
    try:
        while True:
            try:
                taken = passed.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                check()
                continue
            if taken is None:
                return
            if isinstance(taken, BaseException):
                raise taken
            yield from taken
    finally:
        left.set()
