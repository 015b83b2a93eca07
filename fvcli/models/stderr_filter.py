"""Keeps what LiteRT and TensorFlow say of themselves off the user's terminal.

Both write to file descriptor 2 from C++, before any setting of theirs takes hold. So the descriptor is caught for the
moment in which they do, and every line that is not one of those comes out after all.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

LITERT: Final = re.compile(rb"Created TensorFlow Lite XNNPACK delegate for CPU")
TENSORFLOW: Final = re.compile(
    rb"^([IWE]\d{4} |\d{4}-\d\d-\d\d .*: [IWE] |WARNING: All log messages before absl::InitializeLog)"
    rb"|^To enable the following instructions"
)

_one_at_a_time = threading.Lock()


def _buffer() -> IO[bytes]:
    """A file in memory where the system has such: a full disk is no reason not to start."""
    if sys.platform == "linux":
        return open(os.memfd_create("stderr"), "w+b")
    return tempfile.TemporaryFile()


@contextmanager
def stderr_without(lines: re.Pattern[bytes]) -> Iterator[None]:
    """Catches file descriptor 2 meanwhile and drops the ``lines`` that match. One caller at a time."""
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


def tensorflow() -> Any:
    """The module tensorflow, imported without its greetings."""
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with stderr_without(TENSORFLOW), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorflow

            tensorflow.get_logger().setLevel("ERROR")
    return sys.modules["tensorflow"]


def tensorflow_hub() -> Any:
    """The module tensorflow_hub, imported without the warning that it uses pkg_resources."""
    tensorflow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_hub
    return tensorflow_hub
