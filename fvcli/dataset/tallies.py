"""The findings of a comparison per root, and whether they are plausible."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fvcli.errors import SourceError
from fvcli.records import Limit


@dataclass(slots=True)
class Tally:
    """Counts of one root. inputs: found now; rows: there were; gone: of these, looked for and not found.

    renamed: of these, found under another root.
    """

    inputs: int = 0
    rows: int = 0
    gone: int = 0
    renamed: int = 0

    def staying(self, pruned: bool) -> int:
        """The rows that stay."""
        return self.rows - self.renamed - (self.gone if pruned else 0)


class Tallies(dict[str, Tally]):
    """A tally per root; "" stands for files named one by one."""

    def __missing__(self, root: str) -> Tally:
        self[root] = Tally()
        return self[root]

    @property
    def inputs(self) -> dict[str, int]:
        """The number of inputs per root that has any."""
        return {root: tally.inputs for root, tally in sorted(self.items()) if tally.inputs}

    def roots(self, pruned: bool) -> tuple[str, ...]:
        """The roots that the dataset will have: those with inputs or with rows that stay."""
        return tuple(sorted(root for root, tally in self.items() if tally.inputs or tally.staying(pruned)))

    def require_inputs(self, named: Iterable[str], pruned: bool) -> None:
        """Raises SourceError for a named root without any image: a disk that is not mounted looks like that."""
        for root in named:
            tally = self[root]
            if tally.inputs:
                continue
            name = root or "the files named"
            if not tally.rows:
                raise SourceError(f"no images found in {name}; check the path and --include/--exclude")
            if not (pruned and tally.gone == tally.rows):
                raise SourceError(
                    f"no images found in {name}, and the dataset has {_rows(tally.rows)} from there; nothing was "
                    "changed. Check that its disk is mounted, the path and --include/--exclude; if the files are "
                    "gone for good, add --prune --prune-limit 100%"
                )

    def require_few_gone(self, limit: Limit) -> None:
        """Raises SourceError for a root that would lose more of its rows than the limit allows."""
        for root, tally in sorted(self.items()):
            if tally.gone and limit.exceeded(tally.gone, tally.rows):
                name = root or "the files named"
                raise SourceError(
                    f"--prune would drop {tally.gone:,} of the {_rows(tally.rows)} from {name}, more than {limit}; "
                    "nothing was changed. Check that its disk is mounted; if the files are gone for good, add "
                    "--prune-limit 100%"
                )


def _rows(number: int) -> str:
    return f"{number:,} row" if number == 1 else f"{number:,} rows"
