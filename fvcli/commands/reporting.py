"""Errors as one line and an exit code, and the options that all commands have."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from fvcli.commands.terminal import counted, say
from fvcli.errors import FvcliError

if TYPE_CHECKING:
    from fvcli.run.extract import RunSummary

EXIT_SOME_FAILED = 3

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DatasetModel = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="NAME", help="The dataset's model, where it is not embedded or cached."),
]
Dataset = Annotated[str, typer.Argument(metavar="DIR", help="The dataset's folder.", show_default=False)]


@contextmanager
def reported(as_json: bool = False) -> Iterator[None]:
    """Turns what the library raises into one line on stderr, text or JSON, and an exit code."""
    try:
        yield
    except FvcliError as error:
        complain(str(error), error.exit_code, as_json)
        raise typer.Exit(error.exit_code) from None
    except BrokenPipeError:
        # The reader has closed the pipe: nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if os.environ.get("FVCLI_DEBUG"):
            raise
        from fvcli.machine import shortage

        unexpected = f"unexpected {type(error).__name__}: {error}; FVCLI_DEBUG=1 shows where: please report it"
        complain(shortage(error) or unexpected, 1, as_json)
        raise typer.Exit(1) from None


def complain(message: str, exit_code: int, as_json: bool = False) -> None:
    """An error as one line on stderr, text or JSON."""
    if as_json:
        from fvcli.commands.json_log import event

        event("error", message=message, exit_code=exit_code)
    else:
        say(f"fvcli: {message}")


def tell(summary: RunSummary) -> None:
    """A run's outcome on stderr, for a person."""
    counts = summary.counts
    values = summary.to_json()
    parts = [f"{counts.extracted:,} extracted"]
    named = ("reused", "stale", "elsewhere", "pruned")
    parts += [f"{number:,} {name}" for name in named if (number := getattr(counts, name))]
    parts.append(f"{counts.failed:,} failed")
    rate = f", {values['images_per_second']:,.0f} images/s" if summary.extracted else ""
    rows = counted(counts.rows, "row")
    say(f"{summary.output}: {rows} ({', '.join(parts)}) in {summary.seconds:.1f} s{rate}")
    if summary.zero_vectors:
        say(f"{counted(summary.zero_vectors, 'vector')} of all zeros: they have no direction to compare")
    if summary.failures_file is not None:
        say(f"{counted(counts.failed, 'failure')} listed in {summary.failures_file}")
    if summary.remembered:
        say(f"{counted(summary.remembered, 'input')} failed before and skipped; --retry-failed tries again")
