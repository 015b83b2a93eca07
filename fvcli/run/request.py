"""The request for a run, and the protocol of its observer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from fvcli.dataset.failures import FailureLine
from fvcli.dataset.layout import DataFormat, DType
from fvcli.errors import FvcliError
from fvcli.images.estimate import DEFAULT_LIMITS, Limits
from fvcli.models.loading import EMBEDDED
from fvcli.records import Engine, Limit, Preprocessing, Recipe
from fvcli.sources.discover import Sources

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


class Observer(Protocol):
    """The protocol of a run's observer; all calls come from one thread."""

    def discovered(self, inputs: int) -> None:
        """So many inputs have been found; called now and then while looking."""
        ...

    def dropped(self, what: str) -> None:
        """Unfinished work that was found is of no use, and is done again."""
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

    def dropped(self, what: str) -> None: ...

    def planned(self, total: int, done: int) -> None: ...

    def passed_over(self, counts: Mapping[str, int]) -> None: ...

    def advanced(self, inputs: int, failed: Sequence[FailureLine]) -> None: ...

    def stopped(self) -> int | None:
        return None
