"""``fvcli extract`` as a function."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fvcli.dataset import lock
from fvcli.dataset.manifest import Counts
from fvcli.dataset.store import open_store
from fvcli.models.loading import load_model
from fvcli.run.request import ExtractRequest, Observer
from fvcli.run.session import Session


@dataclass(frozen=True, slots=True)
class RunSummary:
    """``counts`` describe the dataset as the run left it; ``extracted`` is how many vectors this process computed.

    failures_file: path of the list of inputs without a vector, None where there is none.
    """

    counts: Counts
    extracted: int
    seconds: float
    output: str
    model: str
    identity: str
    failures_file: str | None

    def to_json(self) -> dict[str, object]:
        rate = self.extracted / self.seconds if self.seconds > 0 else 0.0
        return {
            **self.counts.to_json(),
            "seconds": round(self.seconds, 3),
            "images_per_second": round(rate, 1),
            "output": self.output,
            "model": self.model,
            "identity": self.identity,
        }


def extract(request: ExtractRequest, observer: Observer) -> RunSummary:
    """Brings the dataset in ``request.output`` up to date with the sources.

    Raises UsageError, ModelError, DatasetError (LockedError when another run holds it), TooManyFailuresError and
    StoppedError; what was committed stays, and the same call goes on from there.
    """
    started = time.monotonic()
    model = load_model(request.model, request.engine)
    store = open_store(request.output)
    store.make_folder()
    with lock.hold(store):
        session = Session(request, model, store, observer)
        result = session.run()
    return RunSummary(
        counts=result.counts,
        extracted=session.extracted,
        seconds=time.monotonic() - started,
        output=request.output,
        model=model.name,
        identity=model.identity,
        failures_file=store.describe(result.failures[0].file) if result.failures else None,
    )
