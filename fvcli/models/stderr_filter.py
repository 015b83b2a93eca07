"""Filters LiteRT's and TensorFlow's start-up messages out of stderr.

Both write to file descriptor 2 from C++, before any setting of theirs takes effect. So the descriptor is redirected
while they start, and every line that is not one of those is written to the terminal afterwards.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

LITERT: Final = re.compile(rb"Created TensorFlow Lite XNNPACK delegate for CPU")
TENSORFLOW: Final = re.compile(
    rb"^([IWE]\d{4} |\d{4}-\d\d-\d\d .*: [IWE] |WARNING: All log messages before absl::InitializeLog)"
    rb"|^To enable the following instructions"
)

_one_at_a_time = threading.Lock()


def _buffer() -> IO[bytes]:
    """An in-memory file where the system has such: a full disk must not prevent a start."""
    if sys.platform == "linux":
        return open(os.memfd_create("stderr"), "w+b")
    return tempfile.TemporaryFile()


@contextmanager
def stderr_without(lines: re.Pattern[bytes]) -> Iterator[None]:
    """A context in which stderr is captured; afterwards, all but the matching ``lines`` are written. One at a time."""
    with _one_at_a_time:
        try:
            sys.stderr.flush()
            terminal = os.dup(2)
        except (OSError, ValueError, AttributeError):  # there is no stderr
            yield
            return
        with _buffer() as caught:
            os.dup2(caught.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(terminal, 2)
                os.close(terminal)
                caught.seek(0)
                for line in caught:
                    if not lines.search(line):
                        os.write(2, line)
