"""``fvcli duplicates``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fvcli.commands.invocation import import_lean, reported
from fvcli.commands.options import AsJson, Dataset, Quiet
from fvcli.commands.terminal import counted, print_json_list, print_line, print_row, say, stderr_width
from fvcli.errors import UsageError

if TYPE_CHECKING:
    from fvcli.explore.duplicates import DuplicateGroup

Threshold = Annotated[
    float, typer.Option("--threshold", metavar="COSINE", min=0.01, max=1, help="Lowest cosine of two near-duplicates.")
]


def duplicates(
    dataset: Dataset,
    threshold: Threshold = 0.90,
    exact: Annotated[bool, typer.Option("--exact", help="Find files of identical content only.")] = False,
    wanted: Annotated[
        Literal["keep", "same-file", "smaller", "others"] | None,
        typer.Option(
            "--print",
            metavar="WHICH",
            help="Print only file names: keep, same-file, smaller, or others (all but keep).",
            show_default=False,
        ),
    ] = None,
    null: Annotated[bool, typer.Option("--null", "-0", help="End each name with NUL, for xargs -0.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find groups of near-duplicate images, the largest saving first, and the image to keep in each.

    Examples:

        fvcli duplicates features

        fvcli duplicates features --print others -0 | xargs -0 mv -t aside/
    """
    with reported():
        if null and wanted is None:
            raise UsageError("-0 needs --print")
        if as_json and wanted is not None:
            raise UsageError("--json and --print cannot be combined")
        import_lean()
        from fvcli.dataset.reader import open_local_dataset
        from fvcli.explore.duplicates import find_duplicates
        from fvcli.text import in_bytes

        opened = open_local_dataset(dataset)
        with _progress(len(opened), quiet) as progress:
            groups = find_duplicates(opened, threshold, exact, progress)
        images, saving = sum(len(group.images) for group in groups), sum(group.saving for group in groups)
        if as_json:
            values: dict[str, object] = {
                "rows": len(opened),
                "threshold": None if exact else threshold,
                "images": images,
                "saving_bytes": saving,
            }
            print_json_list(values, "groups", (group.to_json() for group in groups))
        elif wanted is not None:
            _print_names(groups, wanted, null)
        else:
            _print_table(groups)
        if not quiet:
            say(f"{counted(len(groups), 'group')}, {counted(images, 'image')}, {in_bytes(saving)} could be freed")


@contextmanager
def _progress(rows: int, quiet: bool) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal, for searches that take more than two seconds."""
    from tqdm import tqdm

    with tqdm(
        total=1.0,
        desc=f"comparing {counted(rows, 'row')}",
        bar_format="{desc}: {percentage:3.0f} % [{elapsed}<{remaining}]",
        delay=2,
        leave=False,
        disable=quiet or not stderr_width(),
    ) as bar:
        yield lambda share: bar.update(share - bar.n)


def _print_table(groups: Sequence[DuplicateGroup]) -> None:
    """A line per image: in columns for a person, separated by tabs with the group's number for a program."""
    from fvcli.text import in_bytes

    for number, group in enumerate(groups, 1):
        for image in group.images:
            score, pixels = f"{image.score:.4f}", (image.width, image.height)
            if not sys.stdout.isatty():
                print_row((number, image.status, score, *pixels, image.size_bytes, image.ref.name))
                continue
            size = "x".join(map(str, pixels))
            print_line(f"{score} {size:>11} {in_bytes(image.size_bytes):>8}  {image.status:9}  {image.ref.name}")
        if sys.stdout.isatty():
            print_line()


def _print_names(groups: Sequence[DuplicateGroup], wanted: str, null: bool) -> None:
    """Writes names as the file system has them. Raises UsageError for one that a line cannot hold."""
    end = b"\0" if null else b"\n"
    for group in groups:
        for image in group.images:
            status = image.status.replace(" ", "-")
            if status == wanted or (wanted == "others" and status != "keep"):
                name = image.ref.location
                if b"\n" in name and not null:
                    raise UsageError(f"{image.ref.name} has a line break in its name; add -0")
                sys.stdout.buffer.write(name + end)
    sys.stdout.buffer.flush()
