"""``fvcli report``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fvcli.commands.reporting import Dataset, Quiet, reported
from fvcli.errors import FvcliError


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
        from fvcli.dataset.local_store import LocalStore
        from fvcli.dataset.reader import open_dataset
        from fvcli.machine import usable_cpus
        from fvcli.report.facts import missing
        from fvcli.report.gather import Options, gather
        from fvcli.report.histograms import in_bytes
        from fvcli.report.page import render

        target = Path(output)
        if target.is_dir() or not target.parent.is_dir():  # said now rather than after the work
            raise FvcliError(f"cannot write {output}: it is a folder, or the folder it would be in is not there")
        options = Options(seed, threshold, pictures, usable_cpus())
        with _Steps(quiet) as steps:
            facts = gather(open_dataset(dataset), dataset, options, steps)
        page = render(facts)
        LocalStore(target.parent).replace(target.name, page)
        if not quiet:
            without = missing(facts.items)
            typer.echo(f"{output}: {facts.summary.rows:,} rows, {in_bytes(len(page))}", err=True)
            if gone := without.get("gone"):
                typer.echo(
                    f"no picture for {gone:,} of {len(facts.items):,} images: their files are not there "
                    "(names are relative to the folder where extract ran)",
                    err=True,
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
            typer.echo(f"{what} ...", err=True)

    def reading(self, pictures: int) -> None:
        self.step(f"{pictures:,} pictures")
        if not self._quiet and sys.stderr.isatty():
            from tqdm import tqdm

            tqdm.monitor_interval = 0
            self._bar = tqdm(total=pictures, unit=" images", dynamic_ncols=True, leave=False)

    def read(self) -> None:
        if self._bar is not None:
            self._bar.update()
