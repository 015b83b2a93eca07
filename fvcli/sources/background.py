"""A search for inputs in a thread of its own, so that who waits for it can stop waiting."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from fvcli.records import ImageRef
from fvcli.sources.candidates import PassedOver
from fvcli.sources.discover import Discovery, Sources
from fvcli.sources.roots import KnownRoots

T = TypeVar("T")

_TELL_EVERY = 1000
_GROUP = 256  # items that pass together
_GROUPS = 8  # that wait to be taken
_POLL_SECONDS = 0.1


class BackgroundDiscovery:
    """A :class:`Discovery` in a thread of its own: a place that does not answer must not hide a signal."""

    def __init__(
        self,
        sources: Sources,
        passed_over: PassedOver,
        known: KnownRoots,
        found: Callable[[int], None],
        check: Callable[[], None],
    ) -> None:
        """found: called with the number of inputs now and then. check: called meanwhile, may raise to end the wait."""
        self._sources = sources
        self._passed_over = passed_over
        self._known = known
        self._found = found
        self._check = check
        self._discovery: Discovery | None = None

    def __iter__(self) -> Iterator[ImageRef]:
        for number, ref in enumerate(in_background(self._begin, self._check)):
            if number % _TELL_EVERY == 0:
                self._found(number)
                self._check()
            yield ref

    def _begin(self) -> Iterator[ImageRef]:
        self._discovery = Discovery(self._sources, self._passed_over, self._known)
        return iter(self._discovery)

    @property
    def roots(self) -> list[str]:
        return self._begun.roots

    def looked_for(self, row: ImageRef) -> bool:
        return self._begun.looked_for(row)

    def renamed(self, row: ImageRef) -> bool:
        return self._begun.renamed(row)

    @property
    def _begun(self) -> Discovery:
        """The discovery, which is there as soon as the first input is, or none is left."""
        assert self._discovery is not None
        return self._discovery


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
