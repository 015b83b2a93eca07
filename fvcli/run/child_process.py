"""Modules of ours that run as processes of their own, so that the run survives what becomes of them."""

from __future__ import annotations

import signal
import subprocess
import sys


def start(module: str, stdout: int) -> subprocess.Popen[bytes]:
    """``module`` as a process that is spoken to over stdin. stdout: subprocess.PIPE or DEVNULL."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],  # -P: nothing is imported from the user's folder
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the run, and must not look as if the process had ended by itself
    )


def signal_name(number: int) -> str:
    """SIGKILL, or "signal 35" for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
