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
        gc.freeze()  # skip the final garbage collection: the process ends


if __name__ == "__main__":
    main()
