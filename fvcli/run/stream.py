"""Names in, rows out, in the order of the input: no dataset, and each batch as soon as it is ready."""

from __future__ import annotations

import os
import queue
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count, islice

import numpy as np

from fvcli.dataset.columns import Encoding, Rows
from fvcli.dataset.existing import FailureLine
from fvcli.dataset.stream_file import RowStream
from fvcli.errors import StoppedError, UsageError
from fvcli.images.loader import ImageLoader
from fvcli.locations import local_path
from fvcli.machine import MemoryTrimmer, usable_cpus
from fvcli.models.loading import load_model
from fvcli.records import Failure, ImageRef
from fvcli.run.request import ExtractRequest, Observer, TooManyFailuresError
from fvcli.run.spec import DatasetSpec
from fvcli.run.worker import Batch, BatchDroppedError, ImageWorker, Outcome, Success
from fvcli.sources.candidates import Filter, PassedOver
from fvcli.sources.discover import Sources, discover
from fvcli.sources.named import NameSplitter

_AHEAD = 8  # batches a worker has waiting, done or not: what a slow reader makes us hold
_FIRST_BATCH = 4  # images; each batch then takes one more
_POLL_SECONDS = 0.1  # how soon a signal is noticed while nothing comes in
_BLOCK = 1 << 16
_STDIN = 0


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """Counts of the names that came in, the rows that went out, and the inputs that gave none."""

    inputs: int
    rows: int
    failed: int
    seconds: float

    def to_json(self, output: str) -> dict[str, object]:
        """The summary as JSON values, with the file that was written."""
        rate = self.rows / self.seconds if self.seconds > 0 else 0.0
        return {
            "discovered": self.inputs,
            "extracted": self.rows,
            "failed": self.failed,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(rate, 1),
            "output": output,
        }


def stream(request: ExtractRequest, open_rows: Callable[[Encoding], RowStream], observer: Observer) -> StreamSummary:
    """Writes a row for each input of ``request``, in the order of the input, as often as it is named.

    Folders and files named as sources come first, sorted; then the lines of ``files_from``, as they are read. Of
    ``request``, fields about a dataset's folder have no effect. The observer receives failures in the same order.
    Raises UsageError, ModelError, TooManyFailuresError, StoppedError, DatasetError where the rows cannot be written,
    and BrokenPipeError where their reader has gone.
    """
    started = time.monotonic()
    if request.max_failures is not None and request.max_failures.percent:
        raise UsageError("--max-failures P% needs the number of inputs, which a stream does not know: give a number")
    sources = request.sources
    found: Iterator[ImageRef] = iter(())
    passed_over = PassedOver()
    if sources.paths:
        found = discover(replace(sources, files_from=None, null_separated=False), passed_over)
    descriptor = None if sources.files_from is None else _open(sources.files_from)
    model = load_model(request.model, request.engine)
    spec = DatasetSpec.of(request, model)
    loader = ImageLoader(model.input_spec, request.preprocessing, request.limits)
    embedder = spec.embedder(model)
    threads = request.workers or usable_cpus()
    workers = [
        ImageWorker(each, loader, request.dtype, stopped=lambda: observer.stopped() is not None)
        for each in (embedder, *(embedder.per_thread() for _ in range(threads - 1)))
    ]
    batches = _limited(_batches(found, descriptor, sources, request.batch_size), sources.limit)
    rows = failures = 0
    give_back = MemoryTrimmer()
    out = open_rows(spec.encoding)
    with _Line(workers, batches) as line:
        for batch, outcomes in line.results(observer):
            pairs = list(zip(batch.refs, outcomes, strict=True))
            made = [(ref, outcome) for ref, outcome in pairs if isinstance(outcome, Success)]
            failed = [FailureLine(ref, outcome) for ref, outcome in pairs if isinstance(outcome, Failure)]
            if made:
                vectors = np.stack([outcome.vector for _, outcome in made])
                out.append(Rows([ref for ref, _ in made], [outcome.info for _, outcome in made], vectors))
            rows += len(made)
            failures += len(failed)
            observer.advanced(len(outcomes), failed)
            give_back(len(outcomes))
            if request.max_failures is not None and request.max_failures.exceeded(failures, 0):
                raise TooManyFailuresError(f"stopped: {failures:,} inputs failed, more than --max-failures allows")
    out.close()
    observer.passed_over(passed_over.to_json())
    return StreamSummary(rows + failures, rows, failures, time.monotonic() - started)


def _batches(
    found: Iterator[ImageRef], descriptor: int | None, sources: Sources, size: int
) -> Iterator[tuple[ImageRef, ...]]:
    """The inputs, at most ``size`` together, fewer at first, so that a handful occupies all workers; of what is still
    being written to the pipe, as many as there are."""
    growing = (min(number, size) for number in count(_FIRST_BATCH))
    while some := tuple(islice(found, next(growing))):
        yield some
    if descriptor is None:
        return
    wanted = Filter(sources.include, sources.exclude)
    try:
        for names in _names(descriptor, sources.null_separated):
            refs = [ref for ref in map(_ref, names) if wanted.takes(ref.path)]
            for start in range(0, len(refs), size):
                yield tuple(refs[start : start + size])
    finally:
        if descriptor != _STDIN:
            os.close(descriptor)


def _limited(batches: Iterator[tuple[ImageRef, ...]], limit: int | None) -> Iterator[tuple[ImageRef, ...]]:
    """Of the inputs in the batches the first ``limit``."""
    left = limit
    for batch in batches:
        if left is None:
            yield batch
            continue
        yield batch[:left]
        left -= len(batch)
        if left <= 0:
            return


def _open(files_from: str) -> int:
    """A descriptor of the list; a pipe that nobody writes to yet is not waited for."""
    if files_from == "-":
        return _STDIN
    try:
        return os.open(local_path(files_from), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise UsageError(f"cannot read the list of files {files_from!r}: {error.strerror}") from None


def _names(descriptor: int, null_separated: bool) -> Iterator[list[bytes]]:
    """The names as they arrive, those that came together in one list. Raises UsageError."""
    splitter = NameSplitter(null_separated)
    if descriptor != _STDIN:
        select.select([descriptor], [], [])  # until there is a writer
        os.set_blocking(descriptor, True)
    while True:
        try:
            block = os.read(descriptor, _BLOCK)
        except OSError as error:
            raise UsageError(f"cannot read the list of files: {error.strerror}") from None
        yield splitter.feed(block) if block else splitter.end()
        if not block:
            return


def _ref(name: bytes) -> ImageRef:
    try:
        return ImageRef("", name.decode())
    except UnicodeDecodeError:
        return ImageRef("", name.decode(errors="backslashreplace"), name)


class _Line:
    """A thread that takes inputs as they come and hands them to workers, who are waited for in that order.

    Unlike :func:`fvcli.run.worker.ordered_map` it never waits for the next input while a result is ready.
    """

    def __init__(self, workers: Sequence[ImageWorker], batches: Iterator[tuple[ImageRef, ...]]) -> None:
        self._batches = batches
        self._idle: queue.SimpleQueue[ImageWorker] = queue.SimpleQueue()
        for worker in workers:
            self._idle.put(worker)
        self._pool = ThreadPoolExecutor(len(workers), thread_name_prefix="worker")
        self._free = threading.Semaphore(len(workers) * _AHEAD)
        # No SimpleQueue: its get() waits for ever where a signal's handler takes longer than the timeout.
        self._started: queue.Queue[tuple[Batch, Future[list[Outcome]]] | BaseException | None] = queue.Queue()
        self._ended = False
        # A daemon, because nothing can wake it while it waits for a name.
        self._feeder = threading.Thread(target=self._feed, name="feeder", daemon=True)

    def __enter__(self) -> _Line:
        self._feeder.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._free.release()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def results(self, observer: Observer) -> Iterator[tuple[Batch, list[Outcome]]]:
        """Raises what reading the inputs raised, and StoppedError once the observer has a signal."""
        while True:
            if (number := observer.stopped()) is not None:
                raise StoppedError("interrupted", number)
            try:
                item = self._started.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            batch, future = item
            try:
                outcomes = future.result()
            except BatchDroppedError:
                continue  # the observer knows why
            yield batch, outcomes
            self._free.release()

    def _feed(self) -> None:
        try:
            for number, refs in enumerate(self._batches):
                batch = Batch(number, tuple(range(len(refs))), refs)
                self._free.acquire()
                if self._ended:
                    return
                self._started.put((batch, self._pool.submit(self._process, batch)))
            self._started.put(None)
        except BaseException as error:
            self._started.put(error)

    def _process(self, batch: Batch) -> list[Outcome]:
        worker = self._idle.get()
        try:
            return worker(batch)
        finally:
            self._idle.put(worker)
