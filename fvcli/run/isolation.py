"""Finds out whether an input brings a process down, by giving it to a process that may die.

Run as ``python -m fvcli.run.isolation``, this module is that process: it takes one JSON line for each input on stdin,
loads the image as a worker would, and answers with one line. An answer that never comes is a crash.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from fvcli.errors import FvcliError, ImageError
from fvcli.images.decode import Limits
from fvcli.images.pipeline import ImageLoader
from fvcli.records import Failure, ImageRef, InputSpec, Preprocessing

TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Trial:
    """How the suspects are to be loaded."""

    spec: InputSpec
    preprocessing: Preprocessing
    limits: Limits


def crashes(suspects: Sequence[ImageRef], trial: Trial) -> dict[ImageRef, Failure]:
    """Those of the suspects that bring a process down, each with what is to be said of it."""
    return {ref: failure for ref in suspects if (failure := _try(ref, trial)) is not None}


def _try(ref: ImageRef, trial: Trial) -> Failure | None:
    request = {
        "location": os.fsdecode(ref.location),
        "spec": asdict(trial.spec),
        "preprocessing": asdict(trial.preprocessing),
        "limits": asdict(trial.limits),
    }
    try:
        child = subprocess.run(
            [sys.executable, "-m", "fvcli.run.isolation"],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Failure(
            "crash", "TimedOut", f"loading it took more than {TIMEOUT_SECONDS:.0f} s, in a process of its own"
        )
    if child.returncode >= 0:
        return None
    try:
        name = signal.Signals(-child.returncode).name
    except ValueError:
        name = f"signal {-child.returncode}"
    return Failure("crash", name, f"loading it ended a process by {name}; the file is left alone until it changes")


def _main() -> None:
    request = json.loads(sys.stdin.buffer.read())
    spec = dict(request["spec"])
    for name in ("value_range", "pixel_table"):
        spec[name] = None if spec[name] is None else tuple(spec[name])
    input_spec = InputSpec(**spec)
    loader = ImageLoader(input_spec, Preprocessing(**request["preprocessing"]), Limits(**request["limits"]))
    raw = os.fsencode(request["location"])
    ref = ImageRef("", raw.decode("utf-8", "backslashreplace"), raw)
    try:
        loader.load(ref, np.empty((input_spec.height, input_spec.width, 3), np.uint8))
    except ImageError:
        pass  # an ordinary failure, which the run itself will report
    except FvcliError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main()
