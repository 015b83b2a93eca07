"""The budget for decoded images in memory, over all threads of the process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """Bytes shared by all threads, given out in the order they were asked for.

    A request larger than the whole budget is served alone, when nothing else is out, so it cannot wait forever; and
    nobody may overtake it, so a stream of small ones cannot starve it. Each thread holds at most one share, which
    rules out a deadlock.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._queue: deque[object] = deque()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    @property
    def used(self) -> int:
        """Bytes that are out now."""
        return self._used

    def acquire(self, amount: int) -> None:
        """Wait until ``amount`` bytes are free or nothing else is out."""
        with self._lock:
            if self._queue or not self._fits(amount):
                ticket = object()
                self._queue.append(ticket)
                try:
                    while self._queue[0] is not ticket or not self._fits(amount):
                        self._changed.wait()
                finally:
                    self._queue.remove(ticket)
                    self._changed.notify_all()
            self._used += amount

    def release(self, amount: int) -> None:
        """Give ``amount`` bytes back."""
        with self._lock:
            self._used -= amount
            if self._queue:
                self._changed.notify_all()

    @contextmanager
    def lent(self, amount: int) -> Iterator[None]:
        """Acquire ``amount`` bytes, which the block keeps if it succeeds: the owner of its result releases them."""
        self.acquire(amount)
        try:
            yield
        except BaseException:
            self.release(amount)
            raise

    @contextmanager
    def held(self, amount: int) -> Iterator[None]:
        """Acquire ``amount`` bytes for the block."""
        with self.lent(amount):
            yield
        self.release(amount)

    def _fits(self, amount: int) -> bool:
        return not self._used or self._used + amount <= self._limit


#: 512 MiB: ten 12-megapixel photographs decoded in full.
DECODED_BYTES = 512 * 1024**2
#: The one budget of this process.
DECODED = Budget(DECODED_BYTES)
