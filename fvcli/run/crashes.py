"""Inputs that bring a process down: noted while they are in hand, found after a run died, and set aside.

Each worker notes its input on disk. A slot is 16 bytes: shard index and position in it, or -1, -1. The kernel keeps
the note when the process dies; a power cut may lose it, and then no input is to blame. The next run gives each noted
input to a process of its own: run as ``python -P -m fvcli.run.crashes``, this module is that process. It takes one
input as JSON on stdin and loads the image as a worker would. Its exit is the answer.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from fvcli.dataset import existing, layout
from fvcli.dataset.existing import FailureLine
from fvcli.dataset.manifest import Manifest
from fvcli.dataset.plan import Plan, read_entries
from fvcli.dataset.store import Store
from fvcli.errors import DatasetError, FvcliError, ImageError
from fvcli.files import translated
from fvcli.images.loader import ImageLoader
from fvcli.images.memory import Limits
from fvcli.machine import signal_name, start_module
from fvcli.records import Failure, ImageRef, InputSpec, Preprocessing, usable_folder
from fvcli.run.worker import InHand

TIMEOUT_SECONDS = 120.0
_LOOK_SECONDS = 0.1

_ASKED_TO_END = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}
_IDLE = InHand.SLOT.pack(-1, -1)
_TASK_IN_WORK = ".in-work"


@dataclass(frozen=True, slots=True)
class Notes:
    """Keys of the notes of one process. in_work: written while it runs; earlier: left by those that may have died.

    crashed: the list of inputs that are known to crash, kept until the run that reports them has ended.
    """

    in_work: str = layout.IN_WORK
    earlier: tuple[str, ...] = ()
    crashed: str = layout.CRASHED

    @classmethod
    def of_run(cls, store: Store) -> Notes:
        """The run's own, after whatever runs and tasks ran before it."""
        tasks = [f"{layout.TASKS}/{name}" for name in store.names(layout.TASKS) if name.endswith(_TASK_IN_WORK)]
        return cls(earlier=(*((layout.IN_WORK,) if store.exists(layout.IN_WORK) else ()), *tasks))

    @classmethod
    def of_part(cls, key: str) -> Notes:
        """Those of one process among several that share a plan; ``key`` tells it from the others."""
        in_work = f"{key}{_TASK_IN_WORK}"
        return cls(in_work, (in_work,), f"{key}.crashed.jsonl")


@contextmanager
def noted(store: Store, slots: int, key: str) -> Iterator[InHand]:
    """Fresh notes with ``slots`` idle slots; removed when the run ends without having died."""
    path = store.path(key)
    with translated("write", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        os.pwrite(descriptor, _IDLE * slots, 0)
    try:
        yield InHand(descriptor)
    finally:
        with suppress(DatasetError, OSError):  # a stale note costs the next run a check; do not mask the original error
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):  # else it is another run's by now
                store.remove(key)
        os.close(descriptor)


def _go_on() -> None: ...


@dataclass(frozen=True, slots=True)
class Trial:
    """The settings for loading the suspects. ``check`` is called meanwhile; what it raises ends the trial."""

    spec: InputSpec
    preprocessing: Preprocessing
    limits: Limits
    check: Callable[[], None] = _go_on


def find(store: Store, plan: Plan | None, trial: Trial, notes: Notes) -> dict[ImageRef, Failure]:
    """The inputs that crash a process, as far as earlier runs of the plan died of them.

    Each input that was in hand when a run died is tried in a process of its own.
    """
    known = {line.ref: line.failure for line in existing.read_failures(store, notes.crashed)}
    places = {place for key in notes.earlier for place in _suspects(store, key)}
    refs = []
    for index in sorted({shard for shard, _ in places}):
        if plan is None or index >= len(plan.shards):
            continue
        entries = read_entries(store, plan, plan.shards[index])
        refs += [
            entries[position].ref for shard, position in sorted(places) if shard == index and position < len(entries)
        ]
    found = crashing([ref for ref in refs if ref not in known], trial)
    if found:
        known |= found
        remember(store, notes, known)
    for key in notes.earlier:
        store.remove(key)
    return known


def remember(store: Store, notes: Notes, known: Mapping[ImageRef, Failure]) -> None:
    """Writes down which inputs crash, for as long as they are not reported among the dataset's failures."""
    store.replace(notes.crashed, existing.failures_to_bytes(FailureLine(*item) for item in known.items()))


def find_again(store: Store, base: Manifest, trial: Trial) -> dict[ImageRef, Failure]:
    """Those of the inputs that crashed before which would again, so that a retry costs no run its life."""
    lines = [line for line in existing.failures(store, base) if line.failure.stage == "crash"]
    base_folder = usable_folder(base.base_folder)
    return crashing([replace(line.ref, base_folder=base_folder) for line in lines], trial)


def in_hand(store: Store) -> dict[int, int]:
    """The furthest input in work, as {shard index: position in the shard}, of the processes that work or died."""
    furthest: dict[int, int] = {}
    for key in Notes.of_run(store).earlier:
        for shard, position in _suspects(store, key):
            furthest[shard] = max(position, furthest.get(shard, 0))
    return furthest


def _suspects(store: Store, key: str) -> list[tuple[int, int]]:
    """(shard index, position) of the inputs that were in hand when an earlier run died; none after a good end."""
    data = store.read(key) or b""
    whole = len(data) - len(data) % InHand.SLOT.size
    return sorted({place for place in InHand.SLOT.iter_unpack(data[:whole]) if place[0] >= 0})


def crashing(suspects: Sequence[ImageRef], trial: Trial) -> dict[ImageRef, Failure]:
    """Those of the suspects that bring a process down, each with the failure to report."""
    return {ref: failure for ref in suspects if (failure := _try(ref, trial)) is not None}


def _try(ref: ImageRef, trial: Trial) -> Failure | None:
    request = {
        "ref": [ref.root, ref.path, None if ref.path_bytes is None else ref.path_bytes.hex(), ref.base_folder],
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
    name = signal_name(-code)
    return Failure("crash", name, f"loading it ended a process by {name}; the file is left alone until it changes")


def _exit_code(request: bytes, check: Callable[[], None]) -> int | None:
    """The exit code of the process that gets the request; None when it takes too long."""
    with start_module("fvcli.run.crashes", subprocess.DEVNULL) as process:
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
    with suppress(OSError):  # if memory runs out, let the kernel kill this process rather than the run
        Path("/proc/self/oom_score_adj").write_text("1000")
    request = json.loads(sys.stdin.buffer.read())
    spec = dict(request["spec"])
    for name in ("value_range", "pixel_table"):
        spec[name] = None if spec[name] is None else tuple(spec[name])
    input_spec = InputSpec(**spec)
    loader = ImageLoader(input_spec, Preprocessing(**request["preprocessing"]), Limits(**request["limits"]))
    root, path, raw, base_folder = request["ref"]
    ref = ImageRef(root, path, None if raw is None else bytes.fromhex(raw), base_folder=base_folder)
    try:
        loader.load(ref, np.empty((input_spec.height, input_spec.width, 3), np.uint8))
    except ImageError:
        pass  # an ordinary failure, which the run itself will report
    except FvcliError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main()
