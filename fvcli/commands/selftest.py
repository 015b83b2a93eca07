"""``fvcli selftest``: this installation checked on known images."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from fvcli.commands.invocation import import_lean, reported
from fvcli.commands.options import AsJson, Quiet
from fvcli.commands.terminal import print_json, say


def selftest(
    engine: Annotated[Literal["int8", "tensorflow"], typer.Option("--engine", help="Which engine to test.")] = "int8",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check that this installation computes the right vectors for known images; exit code 1 if not."""
    with reported():
        import_lean()
        from fvcli.selftest import selftest as run

        result = run(engine)
        if as_json:
            print_json(result.to_json())
        if not quiet:
            for comparison in result.comparisons:
                said = "equal bit for bit" if comparison.equal else f"cosine {comparison.cosine:.6f}"
                say(f"{comparison.image}: {said}")
        demanded = "equal bytes" if result.bit_for_bit else f"cosine >= {result.tolerated_cosine}"
        if not result.passed:
            same = "the shipped model" if result.identity == result.identity_expected else "another model than shipped"
            say(f"fvcli: selftest failed ({same}; required: {demanded}); reinstall fvcli")
            raise typer.Exit(1)
        if not quiet:
            say(f"passed with the {engine} engine, model embedded {result.identity[:12]} (required: {demanded})")
