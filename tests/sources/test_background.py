"""A search in a thread of its own can be left at any time."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fvcli.errors import StoppedError, UsageError
from fvcli.sources.background import in_background
from fvcli.sources.discover import Sources, discover
from tests.helpers.processes import wait_for


def stop() -> None:
    raise StoppedError("stopped", 15)


def test_items_come_in_order_and_an_error_after_those_before_it() -> None:
    assert list(in_background(lambda: iter(range(10_000)), lambda: None)) == list(range(10_000))

    def failing() -> Iterator[int]:
        yield from range(300)
        raise UsageError("no more")

    items = in_background(failing, lambda: None)
    assert list(itertools.islice(items, 300)) == list(range(300))
    with pytest.raises(UsageError, match="no more"):
        next(items)


def test_an_endless_search_ends_with_its_reader() -> None:
    before = threading.active_count()
    endless = in_background(itertools.count, lambda: None)
    assert list(itertools.islice(endless, 3)) == [0, 1, 2]
    endless.close()  # type: ignore[attr-defined]
    wait_for(lambda: threading.active_count() <= before, "the end of the searching thread")


def test_a_pipe_without_a_writer_is_left_when_asked(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoppedError):
        list(in_background(lambda: discover(Sources(files_from=str(tmp_path / "pipe"))), stop))
    os.close(os.open(tmp_path / "pipe", os.O_WRONLY | os.O_NONBLOCK))  # lets the thread end
