"""Shards on a Ray cluster: a driver hands out the numbers of planned shards, actors turn them into commits.

Only numbers and commit records travel. Plan, unit of work, commit and manifest are those of every other run, so a run
that began here can end elsewhere, and the other way round. The driver is a process of its own: what Ray prints, the
signal handlers it sets, and its threads when the cluster is taken from under them are not the run's.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from fvcli.dataset import layout
from fvcli.dataset.commit import Commit
from fvcli.errors import DatasetError, StoppedError, UsageError
from fvcli.locations import is_remote
from fvcli.machine import ended_by, start_module
from fvcli.run.ray.actor import ActorOptions
from fvcli.run.ray.driver import ClusterRequest, RayError
from fvcli.run.request import RayOptions
from fvcli.run.shard import Job, RunProgress

_LOOK_SECONDS = 0.2
_END_SECONDS = 5.0


class RayRunner:
    """A Runner: the nodes of a cluster. output: the dataset as the user named it; batch_size: images per thread."""

    def __init__(self, output: str, options: RayOptions, batch_size: int) -> None:
        self._output = output if is_remote(output) else os.path.abspath(output)
        self._options = options
        self._batch_size = batch_size

    def run(self, job: Job, progress: RunProgress) -> Iterator[Commit]:
        """Yields each commit as it comes, in any order. The job's todo must not be empty.

        Raises UsageError without Ray; RayError; what stopped an actor as DatasetError. Whenever it ends,
        the actors end with it.
        """
        options = self._options
        actor = ActorOptions(self._output, os.getcwd(), job.plan.id, options.cpus_per_worker, self._batch_size)
        shards = {shard.index: shard for shard in job.todo}
        job.store.make_folder(layout.TASKS)
        request = ClusterRequest(options.address, options.workers, list(shards), actor)
        with suppress(StoppedError), _driver(request) as driver:
            for answer in _answers(driver, progress):
                commit = Commit.from_bytes(answer["commit"].encode())
                progress.inputs(shards[commit.index].extract, commit.counts.extracted, commit.failures)
                yield commit


@contextmanager
def _driver(request: ClusterRequest) -> Iterator[subprocess.Popen[bytes]]:
    """The driver with the request in hand; it ends when the end of its stdin tells it that the run has."""
    with start_module("fvcli.run.ray.driver", subprocess.PIPE) as driver:
        assert driver.stdin is not None
        try:
            with suppress(BrokenPipeError):
                driver.stdin.write(json.dumps(asdict(request)).encode() + b"\n")
                driver.stdin.flush()
            yield driver
        finally:
            with suppress(BrokenPipeError):
                driver.stdin.close()
            try:
                driver.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                driver.kill()


def _answers(driver: subprocess.Popen[bytes], progress: RunProgress) -> Iterator[dict[str, Any]]:
    """The answers that are commits. Raises the errors that the others describe, and StoppedError."""
    for line in _lines(driver, progress):
        match json.loads(line):
            case {"done": True}:
                return
            case {"usage": message}:
                raise UsageError(message)
            case {"cluster": message}:
                raise RayError(message)
            case {"worker": message}:
                raise DatasetError(f"on a worker: {message}")
            case answer:
                yield answer
    raise RayError(f"the driver of the Ray cluster ended {ended_by(driver.wait())}; run the same command to resume")


def _lines(driver: subprocess.Popen[bytes], progress: RunProgress) -> Iterator[bytes]:
    """The lines of the driver, as they come, while signals are handled. Raises StoppedError."""
    assert driver.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(driver.stdout, selectors.EVENT_READ)
        while True:
            progress.raise_if_stopped()
            if selector.select(_LOOK_SECONDS):
                data = os.read(driver.stdout.fileno(), 2**20)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                yield from lines
