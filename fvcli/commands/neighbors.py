"""``fvcli neighbors``: the rows nearest to an image, or near-duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fvcli.commands.reporting import AsJson, Dataset, DatasetModel, Quiet, reported
from fvcli.commands.startup import import_lean
from fvcli.commands.terminal import counted, print_json, print_line, say
from fvcli.errors import UsageError

if TYPE_CHECKING:
    from fvcli.explore.search import Neighbor


def neighbors(
    dataset: Dataset,
    query: Annotated[
        str | None, typer.Argument(metavar="IMAGE|ROW", help="An image file, or the path of a row.", show_default=False)
    ] = None,
    count: Annotated[int | None, typer.Option("--count", "-k", min=1, help="How many rows.", show_default="10")] = None,
    duplicates: Annotated[bool, typer.Option("--duplicates", help="Find groups of near-duplicates instead.")] = False,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", min=0.01, max=1, help="Cosine of near-duplicates.", show_default="0.98"),
    ] = None,
    model: DatasetModel = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find the rows most like an image, by cosine, exactly; or the near-duplicates in a dataset.

    Examples:

        fvcli neighbors features photo.jpg -k 5

        fvcli neighbors features --duplicates --threshold 0.95 --json
    """
    with reported():
        if duplicates and (query is not None or count is not None):
            raise UsageError("--duplicates looks at all rows: it goes without an image and -k")
        if not duplicates and query is None:
            raise UsageError("name an image file or a row, or give --duplicates")
        if not duplicates and threshold is not None:
            raise UsageError("--threshold belongs to --duplicates")
        import_lean(matrices=True)
        from fvcli.dataset.reader import open_dataset
        from fvcli.explore import search as search

        opened = open_dataset(dataset)
        if query is not None:
            found = search.neighbors(opened, query, 10 if count is None else count, model)
            if as_json:
                print_json([row.to_json() for row in found])
            else:
                _print(found)
            return
        groups = search.duplicates(opened, 0.98 if threshold is None else threshold)
        if as_json:
            print_json([[row.to_json() for row in group] for group in groups])
        else:
            for group in groups:
                _print(group)
                print_line()
        if not quiet:
            say(f"{counted(len(groups), 'group')}, {sum(map(len, groups)):,} of {counted(len(opened), 'row')}")


def _print(rows: list[Neighbor]) -> None:
    for row in rows:
        print_line(f"{row.score:.4f}  {row.name}")
