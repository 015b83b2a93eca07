"""``fvcli inspect``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fvcli.commands.reporting import AsJson, Dataset, Quiet, reported
from fvcli.commands.startup import import_lean
from fvcli.commands.terminal import print_json, print_line

if TYPE_CHECKING:
    from fvcli.explore.inspect import Inspection

_KINDS = 8
_ROOTS = 3


def inspect(dataset: Dataset, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Show a dataset on one screen: rows, failures by kind, model, recipe, size, rate, last runs.

    Example:

        fvcli inspect features
    """
    with reported():
        import_lean()
        from fvcli.dataset.reader import open_dataset
        from fvcli.explore.inspect import inspect as look

        found = look(open_dataset(dataset))
        if as_json:
            print_json(found.to_json())
        elif not quiet:
            for name, text in _lines(found):
                print_line(f"{name:14}{text}")


def _lines(found: Inspection) -> Iterator[tuple[str, str]]:
    counts = found.counts
    stale = f", {counts['stale']:,} of them stale (their files are gone)" if counts["stale"] else ""
    yield "dataset", found.folder + (" (a run is unfinished)" if found.unfinished else "")
    yield "rows", f"{counts['rows']:,}{stale}"
    zeros = f", {found.zero_vectors:,} of them all zeros" if found.zero_vectors else ""
    yield "vectors", f"{found.dimension} x {found.dtype}{zeros}"
    size = found.bytes / 1e6
    per_row = f", {found.bytes / counts['rows']:,.0f} bytes per row" if counts["rows"] else ""
    yield "files", f"{found.shards:,} {found.format} shards, {size:,.1f} MB{per_row}"
    more = f" and {len(found.roots) - _ROOTS:,} more" if len(found.roots) > _ROOTS else ""
    yield "from", (", ".join(found.roots[:_ROOTS]) or "files named one by one") + more
    yield "inputs", f"{counts['discovered']:,}, of which {counts['failed']:,} have no vector"
    for kind in found.failures[:_KINDS]:
        yield "", f"{kind.count:>7,}  {kind.stage}: {kind.error}, e.g. {kind.example}: {kind.message}"
    if len(found.failures) > _KINDS:
        yield "", f"and {len(found.failures) - _KINDS} more kinds; all are in {found.folder}/failures"
    model = found.model
    yield "model", f"{model['name']} ({str(model['identity'])[:12]}, {model['licence']})"
    recipe = ", ".join(f"{name} {value}" for name, value in found.recipe.items() if name not in ("model", "identity"))
    yield "recipe", recipe
    yield "made with", ", ".join(f"{name} {value}" for name, value in found.environment.items())
    if found.images_per_second is not None:
        yield "rate", f"{found.images_per_second:,.0f} images/s, start-up included"
    for position, run in enumerate(found.runs):
        yield (
            "" if position else "last runs",
            f"{run['started']}  {run['worked']:>9,} extracted  {run['failed']:>6,} failed  {run['seconds']:>8,.1f} s",
        )
