"""The request for a run, and the protocol of its observer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol, TypeAlias, TypeVar

from fvcli.dataset.existing import FailureLine
from fvcli.dataset.layout import DataFormat, DType
from fvcli.declared import declared
from fvcli.errors import FvcliError, UsageError
from fvcli.images.memory import DEFAULT_LIMITS, Limits
from fvcli.models.loading import EMBEDDED
from fvcli.options import RunOptions
from fvcli.records import Engine, Limit, Preprocessing, Recipe
from fvcli.sources.discover import Sources

PathName: TypeAlias = str | os.PathLike[str]
T = TypeVar("T")

HALF = Limit(50, percent=True)


class TooManyFailuresError(FvcliError):
    """More inputs failed than the run was allowed."""


@dataclass(frozen=True, slots=True)
class RayOptions:
    """A cluster and what to take of it. address: "auto" or HOST:PORT; workers: actors, None for all that fit."""

    address: str = "auto"
    workers: int | None = None
    cpus_per_worker: int = 1


@dataclass(frozen=True, slots=True)
class ExtractRequest:
    """Everything that ``fvcli extract`` can be asked.

    normalize: vectors of unit length; labels: classes written per image;
    workers: None for all CPUs the process may use; processes: that share them, see :class:`fvcli.run.pool.Resources`;
    batch_size: images that one worker holds at once;
    shard_size: rows of a data file; prune_limit: rows of a root that may be dropped;
    max_failures: when to stop; ray: where to work instead of here.
    """

    sources: Sources
    output: str = "features"
    model: str = EMBEDDED
    engine: Engine | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    limits: Limits = DEFAULT_LIMITS
    format: DataFormat = "parquet"
    dtype: DType = "float32"
    normalize: bool = False
    labels: int = 0
    shard_size: int = 10_000
    batch_size: int = 32
    workers: int | None = None
    processes: int | None = None
    prune: bool = False
    prune_limit: Limit = HALF
    retry_failed: bool = False
    overwrite: bool = False
    max_failures: Limit | None = None
    ray: RayOptions | None = None

    def fingerprint(self, recipe: Recipe) -> dict[str, Any]:
        """The fields that decide a plan, as JSON values: an unfinished plan is resumed if they are equal."""
        sources = {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self.sources).items()
        }
        return {
            "sources": sources,
            "recipe": recipe.to_json(),
            "format": self.format,
            "dtype": self.dtype,
            "shard_size": self.shard_size,
            "prune": self.prune,
            "prune_limit": str(self.prune_limit),
            "retry_failed": self.retry_failed,
            "overwrite": self.overwrite,
        }


def make_request(sources: Iterable[PathName], output: PathName = "features", **given: Any) -> ExtractRequest:
    """An ExtractRequest from the options of ``extract``. Raises UsageError for a value that means nothing."""
    ray = given.pop("ray", None)
    values = complete(given)
    if values["limit"] is not None and values["prune"]:
        raise UsageError("--limit and --prune cannot be combined: inputs beyond the limit are not searched for")
    for name in ("include", "exclude"):
        values[name] = tuple(values[name] or ())
    values["null_separated"] = values.pop("null")
    limit = values.pop("max_failures")
    values["prune_limit"] = Limit.parse(str(values["prune_limit"]), "--prune-limit")
    return ExtractRequest(
        sources=_built(Sources, values, paths=tuple(map(os.fspath, sources))),
        output=os.fspath(output),
        preprocessing=_built(Preprocessing, values),
        limits=_built(Limits, values),
        max_failures=None if limit is None else Limit.parse(str(limit), "--max-failures"),
        ray=ray,
        **values,
    )


def _built(kind: type[T], values: dict[str, Any], **more: Any) -> T:
    """Takes what belongs to a dataclass out of ``values``."""
    own = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    return kind(**more, **{name: values.pop(name) for name in own if name in values})


def complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """All options of ``RunOptions``, with the declared defaults where ``values`` has none.

    Raises UsageError for a value that an option does not take, TypeError for a name that is no option.
    """
    known = {each.name: each for each in declared(RunOptions)}
    unknown = sorted(values.keys() - known.keys())
    if unknown:
        raise TypeError(f"extract() has no option {unknown[0]!r}")
    for name, value in values.items():
        known[name].check(value)
    return {name: values.get(name, each.option.default) for name, each in known.items()}


class Observer(Protocol):
    """The protocol of a run's observer; all calls come from one thread."""

    def discovered(self, inputs: int) -> None:
        """So many inputs have been found; called now and then while looking."""
        ...

    def noted(self, text: str) -> None:
        """Something about the dataset that the user has to know."""
        ...

    def planned(self, total: int, done: int) -> None:
        """``total`` inputs have to be read, ``done`` of them were by an earlier run."""
        ...

    def passed_over(self, counts: Mapping[str, int]) -> None:
        """The search for inputs has ended; ``counts`` by kind are what it passed over, the largest first."""
        ...

    def advanced(self, inputs: int, failed: Sequence[FailureLine]) -> None:
        """So many more inputs were dealt with; ``failed`` are those among them that gave no vector."""
        ...

    def stopped(self) -> int | None:
        """The number of the signal that stops the run, None to continue."""
        ...


class Silent:
    """An observer that prints nothing and never stops a run."""

    def discovered(self, inputs: int) -> None: ...

    def noted(self, text: str) -> None: ...

    def planned(self, total: int, done: int) -> None: ...

    def passed_over(self, counts: Mapping[str, int]) -> None: ...

    def advanced(self, inputs: int, failed: Sequence[FailureLine]) -> None: ...

    def stopped(self) -> int | None:
        return None
