"""Inputs from object stores, read before their turn so that the CPUs do not wait for the network."""

from __future__ import annotations

import threading
from collections.abc import Container, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from fvcli.records import ImageFile, ImageRef
from fvcli.sources.places import is_slow
from fvcli.sources.read import read

#: Requests under way at once: at 50 ms each this keeps up with some 600 images a second.
REQUESTS = 32
#: Bytes that are being read or wait for their worker.
LIMIT_BYTES = 256 * 1024**2
_UNKNOWN_SIZE = 1024**2
_PATIENCE_SECONDS = 0.5


class Prefetch:
    """One thread asks with ``begin``, the workers fetch with ``read``. left_out: inputs that nobody will fetch."""

    def __init__(self, left_out: Container[ImageRef] = ()) -> None:
        self._left_out = left_out
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: dict[ImageRef, Future[ImageFile]] = {}
        self._bytes = 0
        self._changed = threading.Condition()

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def begin(self, refs: Iterable[ImageRef]) -> None:
        """Asks for the inputs that are slow to reach, as far as there is room; a worker reads the rest itself."""
        for ref in refs:
            if is_slow(ref) and ref not in self._left_out:
                self._begin(ref)

    def _begin(self, ref: ImageRef) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(REQUESTS, thread_name_prefix="read")
        cost = _cost(ref)
        with self._changed:
            if self._bytes and self._bytes + cost > LIMIT_BYTES:
                self._changed.wait(timeout=_PATIENCE_SECONDS)  # not for ever: no worker has this batch yet
                if self._bytes + cost > LIMIT_BYTES:
                    return
            self._bytes += cost
            self._under_way[ref] = self._pool.submit(read, ref)

    def read(self, ref: ImageRef) -> ImageFile:
        """As :func:`fvcli.sources.read.read`."""
        with self._changed:
            future = self._under_way.pop(ref, None)
        if future is None:
            return read(ref)
        try:
            return future.result()
        finally:
            with self._changed:
                self._bytes -= _cost(ref)
                self._changed.notify()


def _cost(ref: ImageRef) -> int:
    return ref.size_bytes if ref.size_bytes >= 0 else _UNKNOWN_SIZE
