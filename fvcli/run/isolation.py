"""Finds out whether an input brings a process down, by giving it to a process that may die.

Run as ``python -P -m fvcli.run.isolation``, this module is that process: it takes one input as JSON on stdin and loads
the image as a worker would. How the process ends is the answer.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fvcli.errors import FvcliError, ImageError
from fvcli.images.decode import Limits
from fvcli.images.loader import ImageLoader
from fvcli.records import Failure, ImageRef, InputSpec, Preprocessing
from fvcli.run import child_process

TIMEOUT_SECONDS = 120.0
_LOOK_SECONDS = 0.1

_ASKED_TO_END = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}


def _go_on() -> None: ...


@dataclass(frozen=True, slots=True)
class Trial:
    """How the suspects are to be loaded. ``check`` is called meanwhile; what it raises breaks the trial off."""

    spec: InputSpec
    preprocessing: Preprocessing
    limits: Limits
    check: Callable[[], None] = _go_on


def crashes(suspects: Sequence[ImageRef], trial: Trial) -> dict[ImageRef, Failure]:
    """Those of the suspects that bring a process down, each with what is to be said of it."""
    return {ref: failure for ref in suspects if (failure := _try(ref, trial)) is not None}


def _try(ref: ImageRef, trial: Trial) -> Failure | None:
    request = {
        "ref": [ref.root, ref.path, None if ref.path_bytes is None else ref.path_bytes.hex()],
        "spec": asdict(trial.spec),
        "preprocessing": asdict(trial.preprocessing),
        "limits": asdict(trial.limits),
    }
    code = _exit_code(json.dumps(request).encode(), trial.check)
    if code is None:
        return Failure(
            "crash", "TimedOut", f"loading it took more than {TIMEOUT_SECONDS:.0f} s, in a process of its own"
        )
    if code >= 0 or -code in _ASKED_TO_END:
        return None
    name = child_process.signal_name(-code)
    return Failure("crash", name, f"loading it ended a process by {name}; the file is left alone until it changes")


def _exit_code(request: bytes, check: Callable[[], None]) -> int | None:
    """How the process ends that is given the request; None when it takes too long."""
    with child_process.start("fvcli.run.isolation", subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + TIMEOUT_SECONDS
            pending: bytes | None = request
            while time.monotonic() < deadline:
                check()
                try:
                    process.communicate(pending, timeout=_LOOK_SECONDS)
                    return process.returncode
                except subprocess.TimeoutExpired:
                    pending = None
            return None
        finally:
            process.kill()


def _main() -> None:
    with suppress(OSError):  # should memory run out, the kernel is to take this process and not the run
        Path("/proc/self/oom_score_adj").write_text("1000")
    request = json.loads(sys.stdin.buffer.read())
    spec = dict(request["spec"])
    for name in ("value_range", "pixel_table"):
        spec[name] = None if spec[name] is None else tuple(spec[name])
    input_spec = InputSpec(**spec)
    loader = ImageLoader(input_spec, Preprocessing(**request["preprocessing"]), Limits(**request["limits"]))
    root, path, raw = request["ref"]
    ref = ImageRef(root, path, None if raw is None else bytes.fromhex(raw))
    try:
        loader.load(ref, np.empty((input_spec.height, input_spec.width, 3), np.uint8))
    except ImageError:
        pass  # an ordinary failure, which the run itself will report
    except FvcliError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main()
