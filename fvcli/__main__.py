"""The ``fvcli`` command, also as ``python -m fvcli``."""

from __future__ import annotations

import gc
import signal


def main() -> None:
    """Runs the command line; Ctrl-C ends it without a traceback wherever no run has yet taken the signal over."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from fvcli.cli import main as run

    try:
        run()
    finally:
        gc.freeze()  # the process ends: to look through all its objects for rubbish would take a twentieth of a second


if __name__ == "__main__":
    main()
