"""Processes that decode images within limits of time and memory, so that no image can hold up or bring down a run.

Run as ``python -P -m fvcli.images.confined``, this module is such a process: it takes requests on stdin and answers
each on stdout. A message is its length in 8 bytes, a JSON object of that length, and what the object says follows.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from fvcli.errors import ImageError
from fvcli.images.decode import decode
from fvcli.images.fit import Fitter
from fvcli.images.memory import Limits
from fvcli.machine import signal_name, start_module
from fvcli.records import InputSpec, Preprocessing, UInt8Array

#: CPU time for one image, and wall time where a process waits for something.
CPU_SECONDS, WALL_SECONDS = 20, 120.0
#: What a process may take besides an image's estimate: libraries load more code, allocators keep some.
_SLACK_BYTES = 384 * 1024**2
_LOOK_SECONDS = 0.1
_LENGTH = struct.Struct(">Q")


class AbandonedError(Exception):
    """The run is stopping; the image was not decoded."""


@dataclass(frozen=True, slots=True)
class FittedImage:
    """An image in the model's input size, uint8 RGB [height, width, 3], and what its row says: full size and format."""

    pixels: UInt8Array
    width: int
    height: int
    format: str


class DecodingProcesses:
    """Processes for one model's input and one preprocessing, started when they are needed and used again."""

    def __init__(
        self, spec: InputSpec, preprocessing: Preprocessing, limits: Limits, seconds: int = CPU_SECONDS
    ) -> None:
        self._shape = spec.height, spec.width, 3
        self._settings = {
            "height": spec.height,
            "width": spec.width,
            "preprocessing": asdict(preprocessing),
            "max_pixels": limits.max_pixels,
            "seconds": seconds,
        }
        self._idle: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._end = weakref.finalize(self, _end_all, self._idle)

    def decode(self, data: bytes, memory: int, stopped: Callable[[], bool]) -> FittedImage:
        """Decode and fit ``data`` in ``memory`` bytes. Raises ImageError, and AbandonedError once ``stopped()``."""
        with self._lock:
            process = self._idle.pop() if self._idle else None
        process = process or start_module(__name__, subprocess.PIPE)
        sound = False
        try:
            answer = self._ask(process, data, memory, stopped)
            sound = True
        finally:
            if sound:
                with self._lock:
                    self._idle.append(process)
            else:
                _end_all([process])
        error = answer.get("error")
        if error is not None:
            raise ImageError(*error)
        return FittedImage(answer["pixels"], answer["width"], answer["height"], answer["format"])

    def _ask(
        self, process: subprocess.Popen[bytes], data: bytes, memory: int, stopped: Callable[[], bool]
    ) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        request = json.dumps({**self._settings, "memory": memory, "size": len(data)}).encode()
        with contextlib.suppress(BrokenPipeError):
            for part in (_LENGTH.pack(len(request)), request, data):
                process.stdin.write(part)
            process.stdin.flush()
        deadline = time.monotonic() + WALL_SECONDS
        while not select.select([process.stdout], [], [], _LOOK_SECONDS)[0]:
            if stopped():
                raise AbandonedError
            if time.monotonic() > deadline:
                raise _timed_out()
        answer = _receive(process.stdout)
        pixels = process.stdout.read(answer["size"]) if answer else b""
        if answer is None or len(pixels) < answer["size"]:
            raise _ended(process.wait())
        answer["pixels"] = np.frombuffer(pixels, np.uint8).reshape(self._shape) if pixels else None
        return answer


def _timed_out() -> ImageError:
    return ImageError("decode", "TimedOut", "decoding it takes more time than one image may have")


def _ended(code: int) -> ImageError:
    """The reason why a decoding process ended."""
    if code == -signal.SIGXCPU:
        return _timed_out()
    if code == -signal.SIGKILL:
        return ImageError("decode", "OutOfMemory", "decoding it took more memory than there is")
    name = signal_name(-code) if code < 0 else f"exit code {code}"
    return ImageError("crash", name, f"decoding it ended a process by {name}")


def _end_all(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        process.wait()


def _receive(stream: IO[bytes]) -> dict[str, Any] | None:
    start = stream.read(_LENGTH.size)
    if len(start) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(start)
    body: dict[str, Any] = json.loads(stream.read(length) or "null")
    return body


def _serve() -> None:
    """Answer requests until there are no more."""
    with contextlib.suppress(OSError):  # if memory runs out, let the kernel kill this process rather than the run
        Path("/proc/self/oom_score_adj").write_text("1000")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a library prints may come between the answers
    while (request := _receive(sys.stdin.buffer)) is not None:
        data = sys.stdin.buffer.read(request["size"])
        answer, pixels = _answer(request, data)
        del data
        body = json.dumps({**answer, "size": len(pixels)}).encode()
        for part in (_LENGTH.pack(len(body)), body, pixels):
            answers.write(part)
        answers.flush()


def _answer(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = request["max_pixels"] // 2 + 1  # pictures within files; Pillow refuses twice as many
    _limit(request["memory"], request["seconds"])
    fitter = Fitter(InputSpec(request["height"], request["width"]), Preprocessing(**request["preprocessing"]))
    out = np.empty((request["height"], request["width"], 3), np.uint8)
    exact, limits = request["preprocessing"]["decode"] == "exact", Limits(request["max_pixels"])
    try:
        with decode(data, fitter.needed, exact=exact, limits=limits) as decoded:
            fitter.fit(decoded, out)
            return {"width": decoded.width, "height": decoded.height, "format": decoded.format}, out.tobytes()
    except ImageError as error:
        return {"error": [error.stage, error.kind, str(error)]}, b""
    except (MemoryError, ValueError, OSError) as error:
        return {"error": ["fit", "Failed", f"cannot be scaled to the model's input: {error}"]}, b""


def _limit(memory: int, seconds: int) -> None:
    """Limit this process to so much more memory and CPU time than it has taken so far."""
    import resource

    used = time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + seconds + 1, resource.RLIM_INFINITY))
    with contextlib.suppress(OSError, ValueError, IndexError):
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory + _SLACK_BYTES, resource.RLIM_INFINITY))


if __name__ == "__main__":
    _serve()
