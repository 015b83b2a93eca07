"""``fvcli selftest``."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from fvcli.commands.reporting import AsJson, Quiet, reported
from fvcli.commands.startup import import_lean


def selftest(
    engine: Annotated[Literal["int8", "tensorflow"], typer.Option("--engine", help="Which engine to test.")] = "int8",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check that this installation computes what it should, on known images; exit code 1 where it does not."""
    with reported():
        import_lean()
        from fvcli.selftest import selftest as run

        result = run(engine)
        if as_json:
            typer.echo(json.dumps(result.to_json()))
        if not quiet:
            for comparison in result.comparisons:
                said = "equal bit for bit" if comparison.equal else f"cosine {comparison.cosine:.6f}"
                typer.echo(f"{comparison.image}: {said}", err=True)
        demanded = "equal bytes" if result.bit_for_bit else f"cosine >= {result.tolerated_cosine}"
        if not result.passed:
            same = "the shipped model" if result.identity == result.identity_expected else "another model than shipped"
            typer.echo(f"fvcli: selftest failed ({same}; demanded: {demanded}); reinstall fvcli", err=True)
            raise typer.Exit(1)
        if not quiet:
            typer.echo(
                f"passed with the {engine} engine, model {result.identity[:12]} (demanded: {demanded})", err=True
            )
