"""Worker processes as their run sees them: started while threads work already, replaced when one dies."""

from __future__ import annotations

import pickle
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from fvcli.errors import DatasetError, FvcliError
from fvcli.machine import ended_by, start_module
from fvcli.records import Failure, Float32Array, ImageInfo, ImageRef
from fvcli.run import crashes
from fvcli.run.crashes import Trial
from fvcli.run.shard import Job
from fvcli.run.worker import Batch, BatchDroppedError, Dispatcher, Found, InHand, Outcome, Success, WorkerLostError
from fvcli.run.worker_process import Setup

_SOCKETS_PER_THREAD = 2
_LOOK_SECONDS = 0.2  # how soon a stop is noticed while a batch is in work
_UNEXPLAINED_DEATHS = 8
_VARIABLES = {"OPENBLAS_NUM_THREADS": "1"}  # BLAS, which a worker does not use, has a thread per core


class ProcessGroup:
    """The worker processes of one job, as a context: they start when it is entered and end when it is left.

    trial: how an input is tried that was in hand when a process died. What it finds to crash is added to the job's
    crashing inputs and left alone.
    """

    def __init__(
        self,
        job: Job,
        setups: Sequence[Setup],
        dispatcher: Dispatcher,
        in_hand: InHand,
        trial: Trial,
        stopped: Callable[[], bool],
    ) -> None:
        self.stopped = stopped
        self._job = job
        self._setups = setups
        self._dispatcher = dispatcher
        self._in_hand = in_hand
        self._trial = trial
        self._lock = threading.Lock()
        self._processes: set[WorkerProcess] = set()
        self._closed = False
        self._joined = False
        self._unexplained = 0

    def __enter__(self) -> ProcessGroup:
        for setup in self._setups:
            self._start(setup)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            processes, self._processes = self._processes, set()
        for process in processes:
            process.close()
        self._dispatcher.fail(BatchDroppedError())

    def _start(self, setup: Setup) -> None:
        threading.Thread(target=self._bring_in, args=(setup,), name="process", daemon=True).start()

    def _bring_in(self, setup: Setup) -> None:
        try:
            process = WorkerProcess(setup)
        except OSError as error:
            with self._lock:
                alone = self._joined and not self._processes
            if alone:  # else the run continues with the workers that it has
                self._dispatcher.fail(
                    DatasetError(f"cannot start a worker process: {error.strerror}; try --processes 0")
                )
            return
        with self._lock:
            if not self._closed:
                self._processes.add(process)
        if self._closed:
            process.close()
            return
        try:
            ready = process.wait_until_ready()
        except FvcliError as error:
            self._dispatcher.fail(error)
            return
        if ready:
            workers = [RemoteWorker(self, process, connection) for connection in process.connections]
            self._joined = True
            self._dispatcher.join(workers, setup.threads)
        else:
            self.lost(process, None)

    def find(self, sha256: str) -> Found | None:
        """The existing row that was made from content with this hash."""
        return None if self._job.existing is None else self._job.existing.find(sha256)

    def lost(self, process: WorkerProcess, batch: Batch | None) -> None:
        """Starts another process in place of a dead one, and finds out whether an input of the batch is to blame.

        Called for every batch that the process had; returns when the batch can be given to another worker.
        """
        with self._lock:
            if self._closed:
                return
            first = process in self._processes
            if first:
                self._processes.discard(process)
                self._unexplained += 1
                process.suspects = self._in_hand.places(process.setup.slot, process.setup.threads)
        suspects = (
            []
            if batch is None
            else [
                ref
                for position, ref in zip(batch.positions, batch.refs, strict=True)
                if (batch.shard, position) in process.suspects
            ]
        )
        found = crashes.crashing(suspects, self._trial)
        with self._lock:
            if found:
                self._unexplained = 0
                self._job.crashing.update(found)
                crashes.remember(self._job.store, self._job.notes, self._job.crashing)
        if self._unexplained > _UNEXPLAINED_DEATHS:
            self._dispatcher.fail(
                DatasetError(
                    f"worker processes keep ending, the last {process.ending()}, and no input is to blame; "
                    "give them more memory, or work with fewer of them (--processes, --workers)"
                )
            )
        elif first:
            process.close()
            self._start(process.setup)


class WorkerProcess:
    """One process. connections: the near ends of its sockets. suspects: the inputs in hand when it died."""

    def __init__(self, setup: Setup) -> None:
        """Raises OSError where no process can be started."""
        self.setup = setup
        self.suspects: list[tuple[int, int]] = []
        near, far = [], []
        for _ in range(setup.threads * _SOCKETS_PER_THREAD):
            here, there = socket.socketpair()
            near.append(Connection(here.detach()))
            far.append(there)
        try:
            self._process = start_module(
                "fvcli.run.worker_process", subprocess.DEVNULL, [there.fileno() for there in far], _VARIABLES
            )
        finally:
            numbers = [there.fileno() for there in far]
            for there in far:
                there.close()
        self.connections = near
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has died already, which shows when it is waited for
            self._process.stdin.write(pickle.dumps((setup, numbers)))
            self._process.stdin.flush()

    def wait_until_ready(self) -> bool:
        """Whether the process came up: False where it ended before. Raises what kept it from coming up."""
        try:
            answer = self.connections[0].recv()
        except (EOFError, OSError):
            return False
        if isinstance(answer, Exception):
            raise answer
        return True

    def ending(self) -> str:
        """The end of the process, in words."""
        return ended_by(self._process.wait())

    def close(self) -> None:
        """Kills the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        for connection in self.connections:
            connection.close()


class RemoteWorker:
    """The near end of one socket: a Worker in another process."""

    def __init__(self, group: ProcessGroup, process: WorkerProcess, connection: Connection) -> None:
        self._group = group
        self._process = process
        self._connection = connection
        self._usable = True

    def __call__(self, batch: Batch, crashing: Mapping[ImageRef, Failure]) -> list[Outcome]:
        """Works as :class:`fvcli.run.worker.ImageWorker` does. Raises WorkerLostError if the process died meanwhile."""
        if not self._usable:
            raise BatchDroppedError
        self._usable = False
        known = {number: crashing[ref] for number, ref in enumerate(batch.refs) if ref in crashing} if crashing else {}
        try:
            self._connection.send((batch.shard, batch.positions, list(map(_ref_fields, batch.refs)), known))
            answer = self._answer()
        except (EOFError, OSError):
            self._group.lost(self._process, batch)
            raise WorkerLostError from None
        self._usable = True
        if isinstance(answer, Exception):
            raise answer
        return _unpacked(*answer)

    def _answer(self) -> Any:
        """The outcomes of the batch. Meanwhile the process may ask for existing rows, by their content's SHA-256."""
        while True:
            while not self._connection.poll(_LOOK_SECONDS):
                if self._group.stopped():
                    raise BatchDroppedError
            answer = self._connection.recv()
            if not isinstance(answer, str):
                return answer
            self._connection.send(self._group.find(answer))


def _ref_fields(ref: ImageRef) -> tuple[Any, ...]:
    return ref.root, ref.path, ref.path_bytes, ref.size_bytes, ref.mtime_ns, ref.offset, ref.base_folder


def _unpacked(fields: Sequence[Any], vectors: Float32Array | None) -> list[Outcome]:
    rows = iter(vectors if vectors is not None else ())
    return [
        Failure(*values) if len(values) == 3 else Success(ImageInfo(*values[1:]), next(rows), values[0])
        for values in fields
    ]
