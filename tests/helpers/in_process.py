"""Extraction in the test's own process, with a small model in place of the real one, whose work is counted."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fvcli.dataset import verify
from fvcli.dataset.existing import FailureLine
from fvcli.dataset.store import LocalStore
from fvcli.records import Engine, Float32Array, InputSpec, UInt8Array
from fvcli.run import extract as extraction
from fvcli.run.request import ExtractRequest
from fvcli.sources.discover import Sources
from tests.helpers import contents

_SIDE = 8


@dataclass
class FakeModel:
    """The first pixels of the image as its vector. ``images`` counts those it was given, over all threads."""

    images: list[int] = field(default_factory=lambda: [0])
    name: str = "fake"
    input_spec: InputSpec = field(default_factory=lambda: InputSpec(_SIDE, _SIDE, (0.0, 1.0)))
    dimension: int = 12
    identity: str = hashlib.sha256(b"fake").hexdigest()
    engine: Engine = "int8"
    license: str = "CC0-1.0"

    def __call__(self, images: UInt8Array) -> Float32Array:
        self.images[0] += len(images)
        return (images.reshape(len(images), -1)[:, : self.dimension] / np.float32(255)).astype(np.float32)

    def per_thread(self) -> FakeModel:
        return self


@dataclass
class Observed:
    """An observer that remembers, and calls ``meanwhile`` whenever inputs were dealt with."""

    meanwhile: Callable[[int], int | None] = lambda done: None
    total: int = 0
    done: int = 0
    failed: list[FailureLine] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _signal: int | None = None

    def discovered(self, inputs: int) -> None: ...

    def noted(self, text: str) -> None:
        self.notes.append(text)

    def planned(self, total: int, done: int) -> None:
        self.total, self.done = total, done

    def passed_over(self, counts: Mapping[str, int]) -> None: ...

    def advanced(self, inputs: int, failed: Sequence[FailureLine]) -> None:
        self.done += inputs
        self.failed += failed
        self._signal = self._signal or self.meanwhile(self.done)

    def stopped(self) -> int | None:
        return self._signal


@dataclass
class Bench:
    """Photographs, a dataset, and the fake model between them. notes: what runs noted."""

    photographs: Path
    features: Path
    model: FakeModel
    notes: list[str] = field(default_factory=list)

    def extract(
        self,
        *,
        output: Path | None = None,
        sources: Sources | None = None,
        meanwhile: Callable[[int], int | None] = lambda done: None,
        **options: Any,
    ) -> int:
        """Runs an extraction; returns how many images the model was given. ``meanwhile`` may return a signal."""
        before = self.model.images[0]
        request = ExtractRequest(
            sources=sources or Sources((str(self.photographs),)),
            output=str(output or self.features),
            **{"shard_size": 10, "batch_size": 4, "workers": 2, **options},
        )
        observed = Observed(meanwhile, notes=self.notes)
        extraction.extract(request, observed)
        return self.model.images[0] - before

    def rows(self) -> dict[str, contents.Row]:
        """The rows of the photographs' folder, by path."""
        return {
            path: row for (root, path), row in contents.rows(self.features).items() if root == str(self.photographs)
        }

    def counts(self) -> dict[str, int]:
        return contents.counts(self.features)

    def failed(self) -> dict[str, str]:
        """Stage by path of what has no vector."""
        return {line["path"]: line["stage"] for line in contents.failures(self.features)}

    def damages(self) -> list[str]:
        """The findings of verify, in its words."""
        return [f"{damage.file}: {damage.problem}" for damage in verify.verify(LocalStore(self.features)).damages]


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A folder in memory where there is such a place: commits wait for the disk several times each."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fvcli-test-", dir=place) as folder:
        yield Path(folder)


@pytest.fixture
def bench(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Empty photographs, no dataset yet."""
    model = FakeModel()
    monkeypatch.setattr(extraction, "load_model", lambda name, engine: model)
    photographs = memory_path / "photographs"
    photographs.mkdir()
    return Bench(photographs, memory_path / "features", model)


def opened(monkeypatch: pytest.MonkeyPatch, ending: bytes) -> list[str]:
    """A list that gets the name of each file that is opened from now on, of those whose paths end with ``ending``."""
    names: list[str] = []
    opening = os.open

    def noted(path: str | bytes, flags: int, mode: int = 0o777) -> int:
        if os.fsencode(path).endswith(ending):
            names.append(os.path.basename(os.fsdecode(path)))
        return opening(path, flags, mode)

    monkeypatch.setattr(os, "open", noted)
    return names
