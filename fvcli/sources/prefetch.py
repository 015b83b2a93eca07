"""Inputs read before their turn, so that the CPUs do not wait for a network or a slow disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Container, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from fvcli.records import ImageFile, ImageRef
from fvcli.sources.places import is_slow
from fvcli.sources.read import read

#: Requests under way at once: at 50 ms each this keeps up with some 600 images per second.
REQUESTS = 32
#: Bytes that are being read or wait for their worker, in all processes of a run.
LIMIT_BYTES = 256 * 1024**2
_UNKNOWN_SIZE = 1024**2
_PATIENCE_SECONDS = 0.5

#: Files of a local folder are read ahead once reading one makes its worker wait so long on average, CPU time apart,
#: and no longer once it does not: files in the page cache are not worth a change of threads.
_SLOW_SECONDS, _FAST_SECONDS = 0.001, 0.0003
_SMOOTHING = 1 / 32


class Prefetch:
    """Workers ask with ``begin`` and fetch with ``read``.

    left_out: inputs that no worker fetches. limit: bytes that are being read or wait. patience: seconds that ``begin``
    waits for room, 0 where the thread that asks is the one that fetches.
    """

    def __init__(
        self,
        left_out: Container[ImageRef] = (),
        limit: int = LIMIT_BYTES,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        self._left_out = left_out
        self._limit = limit
        self._patience = patience
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: dict[ImageRef, Future[ImageFile]] = {}
        self._bytes = 0
        self._changed = threading.Condition()
        self._wait = 0.0
        self._ahead = False

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def begin(self, refs: Iterable[ImageRef]) -> None:
        """Asks for the inputs that are slow to reach, as far as there is room; a worker reads the rest itself."""
        for ref in refs:
            if (self._ahead or is_slow(ref)) and ref not in self._left_out:
                self._begin(ref)

    def _begin(self, ref: ImageRef) -> None:
        cost = _cost(ref)
        with self._changed:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(REQUESTS, thread_name_prefix="read")
            if self._bytes and self._bytes + cost > self._limit:
                self._changed.wait(timeout=self._patience)  # not forever: no worker has this batch yet
                if self._bytes + cost > self._limit:
                    return
            self._bytes += cost
            self._under_way[ref] = self._pool.submit(self._read, ref)

    def read(self, ref: ImageRef) -> ImageFile:
        """Returns what :func:`fvcli.sources.read.read` does."""
        future = None
        if self._pool is not None:
            with self._changed:
                future = self._under_way.pop(ref, None)
        if future is None:
            return self._read(ref)
        try:
            return future.result()
        finally:
            with self._changed:
                self._bytes -= _cost(ref)
                self._changed.notify()

    def _read(self, ref: ImageRef) -> ImageFile:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return read(ref)
        finally:
            waited = time.perf_counter() - wall - (time.thread_time() - cpu)
            self._wait += (waited - self._wait) * _SMOOTHING  # threads may overwrite each other: it is an estimate
            self._ahead = self._wait > (_FAST_SECONDS if self._ahead else _SLOW_SECONDS)


def _cost(ref: ImageRef) -> int:
    return ref.size_bytes if ref.size_bytes >= 0 else _UNKNOWN_SIZE
