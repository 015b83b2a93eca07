"""Modules of ours that run as processes of their own, so that the run survives their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence


def start(
    module: str, stdout: int, descriptors: Sequence[int] = (), variables: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """``module`` as a process that reads its orders from stdin. stdout: subprocess.PIPE or DEVNULL.

    descriptors: open files that the process gets besides, under the same numbers.
    variables: of the environment, besides this process's own. Raises OSError.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],  # -P: nothing is imported from the user's folder
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        pass_fds=descriptors,
        env={**os.environ, **(variables or {})},
        start_new_session=True,  # Ctrl-C is for the run, and must not look as if the process had ended by itself
    )


def signal_name(number: int) -> str:
    """SIGKILL, or "signal 35" for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
