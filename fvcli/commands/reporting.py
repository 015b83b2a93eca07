"""What every command shares: how errors become one line and an exit code, and the options all have."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from fvcli.errors import FvcliError

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Dataset = Annotated[str, typer.Argument(metavar="DIR", help="The dataset's folder.", show_default=False)]


@contextmanager
def reported() -> Iterator[None]:
    """Turns what the library raises into one line on stderr and an exit code."""
    try:
        yield
    except FvcliError as error:
        typer.echo(f"fvcli: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if os.environ.get("FVCLI_DEBUG"):
            raise
        typer.echo(
            f"fvcli: unexpected {type(error).__name__}: {error} (a bug; FVCLI_DEBUG=1 shows where, please report it)",
            err=True,
        )
        raise typer.Exit(1) from None
