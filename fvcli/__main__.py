"""The ``fvcli`` command, also as ``python -m fvcli``."""

from __future__ import annotations

import gc
import signal


def main() -> None:
    """Runs the command line; Ctrl-C ends it without a traceback wherever no run has yet taken the signal over."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # what is imported stays, and to look at it again and again takes a tenth of the time to start
    from fvcli.cli import main as run

    gc.freeze()
    gc.enable()
    try:
        run()
    finally:
        gc.freeze()  # skip the final garbage collection: the process ends


if __name__ == "__main__":
    main()
