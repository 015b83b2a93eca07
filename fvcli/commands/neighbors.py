"""``fvcli neighbors``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from fvcli.commands.invocation import import_lean, reported
from fvcli.commands.options import AsJson, Dataset, DatasetModel, Quiet
from fvcli.commands.terminal import print_json, print_line, print_row
from fvcli.errors import UsageError

if TYPE_CHECKING:
    from fvcli.explore.search import Neighbor


def neighbors(
    dataset: Dataset,
    queries: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE|ROW...", help="Image files, or paths of rows.", show_default=False),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-k", metavar="N", min=1, help="Rows per image.")] = 10,
    unique: Annotated[
        bool, typer.Option("--unique", help="Show only one of several files with equal content.")
    ] = False,
    files_from: Annotated[
        str | None,
        typer.Option(
            "--files-from",
            metavar="FILE",
            help="Read more names from FILE; - is stdin.",
            show_default=False,
        ),
    ] = None,
    null: Annotated[bool, typer.Option("--null", "-0", help="Names in FILE end in NUL.")] = False,
    model: DatasetModel = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find the rows most similar to each image by cosine; the search is exact.

    Examples:

        fvcli neighbors features photo.jpg -k 5

        find new/ -name '*.jpg' -print0 | fvcli neighbors features --files-from - -0 -k 1 --json
    """
    with reported():
        if null and files_from is None:
            raise UsageError("-0 belongs to --files-from")
        import_lean(matrices=True)
        from fvcli.dataset.reader import open_local_dataset
        from fvcli.explore.search import neighbors as search
        from fvcli.sources.named import read_listing

        names = list(queries or ())
        if files_from is not None:
            names += [path if raw is None else os.fsdecode(raw) for path, raw in read_listing(files_from, null)]
        if not names:
            raise UsageError("name an image file or a row, or give --files-from")
        found = search(open_local_dataset(dataset), names, count, unique=unique, model=model)
        if as_json:
            rows = zip(names, found, strict=True)
            print_json([{"query": name, **row.to_json()} for name, near in rows for row in near])
        else:
            _print_table(names, found)


def _print_table(names: Sequence[str], found: Sequence[Sequence[Neighbor]]) -> None:
    """A line per row: in columns for a person, separated by tabs with the query first for a program."""
    for number, (name, near) in enumerate(zip(names, found, strict=True)):
        if not sys.stdout.isatty():
            for row in near:
                print_row((name, f"{row.score:.4f}", row.name, *row.labels[:1]))
            continue
        if len(names) > 1:
            if number:
                print_line()
            print_line(f"{name}:")
        for row in near:
            print_line("  ".join([f"{row.score:.4f}", row.name, *row.labels[:1]]))
