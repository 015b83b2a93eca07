"""``fvcli extract --dry-run`` as a function: what a run would do, found out without writing anything."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

from fvcli.dataset import shard_file
from fvcli.dataset.compare import Comparison, is_changed
from fvcli.dataset.existing import BaseRow, FailureLine, Tally
from fvcli.dataset.plan import Entry
from fvcli.dataset.standing import join
from fvcli.dataset.store import open_store
from fvcli.errors import ImageError
from fvcli.models.loading import load_model
from fvcli.records import ImageRef
from fvcli.run.extract import search
from fvcli.run.request import ExtractRequest, Observer
from fvcli.run.shard import RunProgress
from fvcli.run.spec import DatasetSpec
from fvcli.sources.candidates import PassedOver
from fvcli.sources.read import read

Difference: TypeAlias = Literal["new", "changed", "renamed", "gone", "retried", "failed before"]
Tell: TypeAlias = Callable[[Difference, ImageRef], None]


@dataclass(slots=True)
class Preview:
    """Counts of what a run would find. same: inputs whose rows stay. renamed: new names of content whose row goes.

    gone, elsewhere: rows without a file, looked for and not. passed_over: by kind.
    unfinished: shards of an interrupted run that would be resumed or published first.
    """

    output: str
    new: int = 0
    changed: int = 0
    renamed: int = 0
    same: int = 0
    gone: int = 0
    elsewhere: int = 0
    retried: int = 0
    failed_before: int = 0
    unfinished: int = 0
    passed_over: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def preview(request: ExtractRequest, found: Tell, observer: Observer) -> Preview:
    """Returns what ``extract`` would do with this request.

    found: called for each input or row that differs, in no order. Only files that may be renamed are read, to compare
    their content. Raises UsageError, ModelError, DatasetError, and SourceError where the run itself would refuse.
    """
    model = load_model(request.model, request.engine)
    store = open_store(request.output)
    spec = DatasetSpec.of(request, model)
    passed_over = PassedOver()
    standing = join(store, lambda plan: plan.shards)
    if not request.overwrite:
        spec.require_same(standing, request.output)
    inputs, policy = search(request, spec, standing, RunProgress(observer, None), passed_over)
    counts = Preview(request.output, unfinished=0 if standing.plan is None else len(standing.plan.shards))
    comparison = _Previewed(store, None if request.overwrite else standing.manifest, inputs, policy)
    comparison.show(counts, found)
    counts.passed_over = passed_over.to_json()
    observer.passed_over(counts.passed_over)
    comparison.tallies.require_inputs(inputs.roots, policy.prune)
    if policy.prune:
        comparison.tallies.require_few_gone(policy.prune_limit)
    return counts


class _Previewed(Comparison):
    """A comparison that plans nothing and says what it finds."""

    def show(self, counts: Preview, found: Tell) -> None:
        """Runs the comparison. New inputs are held back while one of the rows that are gone may be theirs."""
        self._counts = counts
        self._found = found
        self._new: list[ImageRef] = []
        self._gone: list[BaseRow] = []
        self.run()
        contents = self._contents_of_gone()
        for ref in self._new:
            if _known(ref, contents):
                counts.renamed += 1
                found("renamed", ref)
            else:
                counts.new += 1
                found("new", ref)

    def emit(self, entries: list[Entry], pruned: int = 0) -> None:
        """Nothing is planned."""

    def compare(self, ref: ImageRef | None, row: BaseRow | None, failure: FailureLine | None) -> None:
        """Counts what stands under one key."""
        counts = self._counts
        before = replace(self.tallies[row.ref.root]) if row is not None else Tally()
        super().compare(ref, row, failure)
        if row is not None and ref is None:
            now = self.tallies[row.ref.root]
            if now.renamed > before.renamed:
                self._gone.append(row)
            elif now.gone > before.gone:
                counts.gone += 1
                self._gone.append(row)
                self._found("gone", row.ref)
            else:
                counts.elsewhere += 1
        elif ref is not None and row is not None:
            if is_changed(ref, row.ref):
                counts.changed += 1
                self._found("changed", ref)
            else:
                counts.same += 1
        elif ref is not None and failure is not None:
            if self.still_fails(ref, failure):
                counts.failed_before += 1
                self._found("failed before", ref)
            else:
                counts.retried += 1
                self._found("retried", ref)
        elif ref is not None:
            if self._shards:
                self._new.append(ref)
            else:
                counts.new += 1
                self._found("new", ref)

    def _contents_of_gone(self) -> dict[int, set[str]]:
        """SHA-256 of the rows that are gone, by the size of their files."""
        found: dict[int, set[str]] = {}
        for shard, rows in itertools.groupby(self._gone, key=lambda row: row.shard):
            hashes = shard_file.read_metadata(self._store, self._shards[shard], ["sha256"]).column(0)
            for row in rows:
                found.setdefault(row.ref.size_bytes, set()).add(hashes[row.row].as_py())
        return found


def _known(ref: ImageRef, contents: Mapping[int, set[str]]) -> bool:
    """Whether an input has the content of a row that is gone. Only those of the right size are read."""
    same_size = contents.get(ref.size_bytes)
    if same_size is None:
        return False
    try:
        return read(ref).sha256 in same_size
    except ImageError:
        return False
