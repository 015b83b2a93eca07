"""``fvcli verify`` and ``fvcli repair``: damage found, and dropped."""

from __future__ import annotations

from typing import Annotated

import typer

from fvcli.commands.invocation import import_lean, reported
from fvcli.commands.options import AsJson, Dataset, DatasetModel, Quiet
from fvcli.commands.terminal import counted, print_json, say
from fvcli.errors import DatasetError

EXIT_DAMAGED = 4


def verify(
    dataset: Dataset,
    recompute: Annotated[
        int, typer.Option("--recompute", min=0, metavar="N", help="Extract N random rows again and compare.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of that choice.")] = 0,
    model: DatasetModel = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check every file, row and count of a dataset; exit code 4 if something is damaged.

    With other library versions or on another CPU type, recomputed rows differ slightly: reported, but not damage.
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
            print_json(values)
        for damage in verdict.damages:
            say(f"damaged: {dataset}/{damage.file}: {damage.problem}")
        if verdict.damages:
            if any(not damage.foreign for damage in verdict.damages):
                say(f"fvcli repair {dataset} drops what is damaged; the next extract computes only that again")
            if any(damage.foreign for damage in verdict.damages):
                say("fvcli does not touch files that it did not write: move them away yourself")
        elif not quiet:
            held = f"{counted(verdict.rows, 'row')} in {counted(verdict.shards, 'shard')}"
            say(f"{dataset}: {held}, all as the manifest says")
        if again is not None and not quiet:
            say(f"recomputed {counted(again.compared, 'row')}: {again.equal:,} equal bit for bit")
            if again.equal < again.compared:
                where = "the same" if again.comparable else "other"
                say(
                    f"with {where} library versions and CPU: max difference {again.max_difference:.3g}, "
                    f"lowest cosine {again.min_cosine:.6f}: {', '.join(again.differing[:5])}"
                )
        if damaged:
            raise typer.Exit(EXIT_DAMAGED)
        if again is not None and again.said_nothing:
            raise DatasetError(
                f"recomputed nothing: of {counted(again.wanted, 'row')}, no file was found as it was when it was "
                "extracted; check that the image folders are mounted"
            )


def repair(dataset: Dataset, quiet: Quiet = False) -> None:
    """Drop the damaged parts of a dataset; the next extract computes them again."""
    with reported():
        import_lean()
        from fvcli.dataset import verify as checks
        from fvcli.dataset.store import open_store

        dropped = checks.repair(open_store(dataset))
        if quiet:
            return
        for damage in dropped:
            say(f"dropped: {dataset}/{damage.file}: {damage.problem}")
        if dropped:
            say(f"{dataset}: dropped {counted(len(dropped), 'damaged file')}; fvcli extract computes the rows again")
        else:
            say(f"{dataset}: no damaged file; nothing was dropped")
