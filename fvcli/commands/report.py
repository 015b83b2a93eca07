"""``fvcli report``."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fvcli.commands.invocation import reported
from fvcli.commands.options import Dataset, Quiet, file_to_write
from fvcli.commands.terminal import counted, print_line, say, stderr_width

if TYPE_CHECKING:
    from fvcli.report.facts import Facts

_LINE_EVERY_SECONDS = 10.0


def report(
    dataset: Dataset,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")] = "report.html",
    threshold: Annotated[
        float,
        typer.Option("--threshold", min=0.5, max=1.0, help="Lowest cosine of near-duplicates when the page opens."),
    ] = 0.90,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the samples and of the wall.")] = 0,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Show pictures, read from the image files.")
    ] = True,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    quiet: Quiet = False,
) -> None:
    """Show a dataset as one HTML file: a wall of pictures sorted by similarity, near-duplicates, clusters, outliers.

    The file needs no network and no other files. Pictures come from the image files. Prints the page's address.

    Examples:

        fvcli report features -o report.html

        fvcli report features --open
    """
    with reported():
        target = file_to_write(output, "-o")  # checked now rather than after the work
        from fvcli.dataset.reader import open_local_dataset
        from fvcli.dataset.store import LocalStore
        from fvcli.machine import usable_cpus
        from fvcli.report.gather import Options, gather
        from fvcli.report.page import render

        options = Options(seed, threshold, pictures, usable_cpus())
        with _Steps(quiet) as steps:
            facts = gather(open_local_dataset(dataset), dataset, options, steps)
        page = render(facts)
        LocalStore(target.parent).replace(target.name, page)
        address = target.resolve().as_uri()
        if not quiet:
            _tell(facts, output, len(page))
            print_line(address)
        if open_page and not _opened(address):
            say(f"no browser could be started; open {address}")


def _tell(facts: Facts, output: str, size: int) -> None:
    from fvcli.text import in_bytes

    say(f"{output}: {counted(facts.summary.rows, 'row')}, {in_bytes(size)}")
    states = Counter(facts.states)
    if gone := states["gone"]:
        say(
            f"no picture for {gone:,} of {counted(states.total(), 'image')}: their files are not there "
            "(names are relative to the folder where extract ran)"
        )


def _opened(address: str) -> bool:
    import webbrowser

    try:
        return webbrowser.open(address)
    except webbrowser.Error:
        return False


class _Steps:
    """The observer of a report, on stderr: a line per step and, where a step has shares, a bar or more lines."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._pictures = 0
        self._done = 0
        self._next_line = 0.0
        self._over = threading.Event()

    def __enter__(self) -> _Steps:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def step(self, what: str) -> None:
        self._end()
        self._next_line = time.monotonic() + _LINE_EVERY_SECONDS
        if not self._quiet:
            say(f"{what} ...")
            self._over = threading.Event()
            threading.Thread(target=self._wait, args=(self._over, time.monotonic()), daemon=True).start()

    def _wait(self, over: threading.Event, started: float) -> None:
        """A line every so often during a step that reports no progress."""
        while not over.wait(_LINE_EVERY_SECONDS):
            say(f"... {time.monotonic() - started:.0f} s")

    def share(self, done: float) -> None:
        self._advance(done, f"{done:.0%}")

    def reading(self, pictures: int) -> None:
        self.step(f"reading {counted(pictures, 'picture')}")
        self._pictures, self._done = pictures, 0

    def read(self) -> None:
        self._done += 1
        self._advance(self._done / self._pictures, f"{self._done:,} of {counted(self._pictures, 'picture')}")

    def _advance(self, share: float, line: str) -> None:
        self._over.set()
        if self._quiet:
            return
        if stderr_width():
            if self._bar is None:
                from tqdm import tqdm

                tqdm.monitor_interval = 0
                form = "{percentage:3.0f} % [{elapsed}<{remaining}]"
                self._bar = tqdm(total=1.0, bar_format=form, delay=1, leave=False)
            self._bar.update(share - self._bar.n)
        elif (now := time.monotonic()) >= self._next_line:
            self._next_line = now + _LINE_EVERY_SECONDS
            say(line)

    def _end(self) -> None:
        self._over.set()
        if self._bar is not None:
            self._bar.close()
            self._bar = None
