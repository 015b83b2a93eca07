"""``fvcli report``."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from fvcli.commands.reporting import Dataset, Quiet, reported
from fvcli.commands.target import file_to_write
from fvcli.commands.terminal import counted, say


def report(
    dataset: Dataset,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")] = "report.html",
    threshold: Annotated[
        float, typer.Option("--threshold", min=0.5, max=1.0, help="Cosine from which two images are near-duplicates.")
    ] = 0.98,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Chooses the random sample.")] = 0,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Read the images again to show them.")
    ] = True,
    quiet: Quiet = False,
) -> None:
    """Show a dataset as one HTML file: a map of the vectors, neighbours, near-duplicates, failures, sizes.

    The file needs no network and nothing beside it. Run it where extract ran: pictures come from the image files,
    and names are relative to that folder.

    Example:

        fvcli report features -o report.html
    """
    with reported():
        target = file_to_write(output, "-o")  # checked now rather than after the work
        from fvcli.dataset.local_store import LocalStore
        from fvcli.dataset.reader import open_dataset
        from fvcli.machine import usable_cpus
        from fvcli.report.facts import missing
        from fvcli.report.gather import Options, gather
        from fvcli.report.histograms import in_bytes
        from fvcli.report.page import render

        options = Options(seed, threshold, pictures, usable_cpus())
        with _Steps(quiet) as steps:
            facts = gather(open_dataset(dataset), dataset, options, steps)
        page = render(facts)
        LocalStore(target.parent).replace(target.name, page)
        if not quiet:
            without = missing(facts.items)
            say(f"{output}: {counted(facts.summary.rows, 'row')}, {in_bytes(len(page))}")
            if gone := without.get("gone"):
                say(
                    f"no picture for {gone:,} of {len(facts.items):,} images: their files are not there "
                    "(names are relative to the folder where extract ran)"
                )


class _Steps:
    """How far the report is, on stderr: a line for each step, a bar for the pictures where there is a terminal."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None

    def __enter__(self) -> _Steps:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, what: str) -> None:
        if not self._quiet:
            say(f"{what} ...")

    def reading(self, pictures: int) -> None:
        self.step(f"{pictures:,} pictures")
        if not self._quiet and sys.stderr.isatty():
            from tqdm import tqdm

            tqdm.monitor_interval = 0
            self._bar = tqdm(total=pictures, unit=" images", dynamic_ncols=True, leave=False)

    def read(self) -> None:
        if self._bar is not None:
            self._bar.update()
