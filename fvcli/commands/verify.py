"""``fvcli verify`` and ``fvcli repair``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fvcli.commands.reporting import AsJson, Dataset, DatasetModel, Quiet, reported
from fvcli.commands.startup import import_lean

EXIT_DAMAGED = 4


def verify(
    dataset: Dataset,
    recompute: Annotated[
        int, typer.Option("--recompute", min=0, metavar="N", help="Extract N random rows again and compare.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Chooses those rows.")] = 0,
    model: DatasetModel = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check every file, row and count of a dataset; exit code 4 names what is damaged.

    Rows recomputed with other library versions or on another CPU type may differ a little: that distance is told and
    is no damage.
    """
    with reported():
        import_lean()
        from fvcli.dataset import verify as checks
        from fvcli.dataset.store import open_store

        store = open_store(dataset)
        verdict = checks.verify(store)
        again = None
        if recompute and not verdict.damages:
            from fvcli.explore.recompute import recompute as extract_again

            again = extract_again(store, recompute, seed, model)
        damaged = bool(verdict.damages) or (again is not None and again.damaged)
        if as_json:
            values: dict[str, object] = {
                "shards": verdict.shards,
                "rows": verdict.rows,
                "damages": [damage.to_json() for damage in verdict.damages],
            }
            if again is not None:
                values["recomputed"] = again.to_json()
            typer.echo(json.dumps(values))
        for damage in verdict.damages:
            typer.echo(f"damaged: {dataset}/{damage.file}: {damage.problem}", err=True)
        if verdict.damages:
            if any(not damage.foreign for damage in verdict.damages):
                typer.echo(f"fvcli repair {dataset} drops what is damaged; the next extract redoes just that", err=True)
            if any(damage.foreign for damage in verdict.damages):
                typer.echo("files that fvcli did not write are yours to move away", err=True)
        elif not quiet:
            typer.echo(
                f"{dataset}: {verdict.rows:,} rows in {verdict.shards:,} shards, all as the manifest says", err=True
            )
        if again is not None and not quiet:
            typer.echo(f"recomputed {again.compared} rows: {again.equal} equal bit for bit", err=True)
            if again.equal < again.compared:
                where = "the same" if again.comparable else "other"
                typer.echo(
                    f"with {where} library versions and CPU: max difference {again.max_difference:.3g}, "
                    f"lowest cosine {again.min_cosine:.6f}: {', '.join(again.differing[:5])}",
                    err=True,
                )
        if damaged:
            raise typer.Exit(EXIT_DAMAGED)


def repair(dataset: Dataset, quiet: Quiet = False) -> None:
    """Drop what is damaged from a dataset, so that the next extract redoes just that."""
    with reported():
        import_lean()
        from fvcli.dataset import verify as checks
        from fvcli.dataset.store import open_store

        dropped = checks.repair(open_store(dataset))
        if quiet:
            return
        for damage in dropped:
            typer.echo(f"dropped: {dataset}/{damage.file}: {damage.problem}", err=True)
        after = "run fvcli extract again to redo them" if dropped else "nothing to do"
        typer.echo(f"{dataset}: {len(dropped)} damaged files; {after}", err=True)
