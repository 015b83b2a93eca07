"""The table of commands. Each has a module in ``fvcli/commands``; nothing heavy is imported here."""

from __future__ import annotations

from typing import Annotated

import typer

from fvcli import __version__
from fvcli.commands import (
    duplicates,
    export,
    extract,
    formats,
    inspect,
    models,
    neighbors,
    report,
    selftest,
    tasks,
    verify,
)
from fvcli.commands.invocation import open_standard_streams, run
from fvcli.commands.options import Command, CommandGroup

app = typer.Typer(
    name="fvcli",
    cls=CommandGroup,
    help="Feature vectors for folders of images: MobileNet V1 with real 8-bit arithmetic, as Parquet or npy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fvcli {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None: ...


for command in (
    extract.extract,
    tasks.plan,
    tasks.finalize,
    verify.verify,
    verify.repair,
    inspect.inspect,
    neighbors.neighbors,
    duplicates.duplicates,
    export.export,
    report.report,
    formats.formats,
    selftest.selftest,
):
    app.command(cls=Command)(command)
app.add_typer(models.app)


def main() -> None:
    """The ``fvcli`` command."""
    open_standard_streams()
    run(app)
