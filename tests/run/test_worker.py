"""The outcomes of a worker thread's batch, and its notes of the input that it processes."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fvcli.images.loader import ImageLoader
from fvcli.models.loading import Embedder, Embeddings
from fvcli.records import ImageInfo, ImageRef, Preprocessing
from fvcli.run.processes import _ref_fields, _unpacked
from fvcli.run.worker import Batch, BatchDroppedError, Failure, ImageWorker, Success
from fvcli.run.worker_process import packed
from tests.helpers import pictures
from tests.helpers.in_process import FakeModel


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """Three inputs of shard 4, of which the one in the middle is broken."""
    data = [pictures.picture(0), pictures.broken(1), pictures.picture(2)]
    for number, content in enumerate(data):
        pictures.put(tmp_path, f"{number}.png", content)
    return Batch(4, (10, 11, 12), tuple(ImageRef(str(tmp_path), f"{number}.png") for number in range(3)))


def worker(**options: object) -> ImageWorker:
    model = FakeModel()
    return ImageWorker(Embedder(model), ImageLoader(model.input_spec, Preprocessing()), "float32", **options)  # type: ignore[arg-type]


def test_outcomes_are_in_the_order_of_the_inputs(batch: Batch) -> None:
    first, broken, last = worker()(batch)
    alone = [worker()(Batch(4, (number,), (ref,)))[0] for number, ref in enumerate(batch.refs)]
    assert isinstance(broken, Failure)
    for one, same in ((first, alone[0]), (last, alone[2])):
        assert isinstance(one, Success)
        assert isinstance(same, Success)
        assert one.info == same.info
        assert np.array_equal(one.vector, same.vector)
    assert not np.array_equal(first.vector, last.vector)  # type: ignore[union-attr]


def test_the_input_in_hand_is_noted_and_none_is_once_the_batch_is_done(batch: Batch) -> None:
    notes: list[tuple[int, int]] = []
    worker(note=lambda shard, position: notes.append((shard, position)))(batch)
    assert notes == [(4, 10), (4, 11), (4, 12), (-1, -1)]


def test_inputs_that_crash_are_not_touched(batch: Batch) -> None:
    crash = Failure("crash", "SIGSEGV", "it ended the process")
    read: list[ImageRef] = []

    def watched(ref: ImageRef) -> object:
        read.append(ref)
        raise AssertionError

    assert worker(read=watched)(Batch(0, (0,), batch.refs[:1]), {batch.refs[0]: crash}) == [crash]
    assert read == []


def test_a_stop_ends_the_batch_between_two_images(batch: Batch) -> None:
    asked = iter([False, True])
    notes: list[int] = []
    with pytest.raises(BatchDroppedError):
        worker(stopped=lambda: next(asked, True), note=lambda _, position: notes.append(position))(batch)
    assert notes in ([], [10])


def test_outcomes_are_the_same_on_both_sides_of_a_process() -> None:
    info = ImageInfo("ab" * 32, 11, -5, 640, 480, "PNG", ("cat", "dog"), (0.75, 0.25))
    failure = Failure("decode", "Truncated", "it ends")
    outcomes = [
        Success(info, np.array([1, 2], np.float32)),
        failure,
        Success(replace(info, width=3, labels=(), scores=()), np.array([3, 4], np.float32), reused=True),
    ]
    fields, vectors = pickle.loads(pickle.dumps(packed(outcomes)))
    first, second, third = _unpacked(fields, vectors)
    assert second == failure
    for got, sent in ((first, outcomes[0]), (third, outcomes[2])):
        assert isinstance(got, Success)
        assert isinstance(sent, Success)
        assert (got.info, got.reused, got.vector.tolist()) == (sent.info, sent.reused, sent.vector.tolist())
    assert _unpacked(*packed([failure])) == [failure]


def test_an_input_is_the_same_on_both_sides_of_a_process() -> None:
    ref = ImageRef("root", "a.zip!/b.jpg", b"\xff", 12, 34, 56, base_folder="/base")
    *values, base = _ref_fields(ref)
    assert ImageRef(*values, base_folder=base) == ref
    assert ImageRef(*values, base_folder=base).base_folder == "/base"
    assert ImageRef(*values, base_folder=base).offset == 56


def test_the_model_gets_the_images_that_are_whole_and_each_input_its_own_classes(batch: Batch) -> None:
    given: list[int] = []

    def embed(images: np.ndarray) -> Embeddings:
        given.append(len(images))
        classes = [((f"class {number}",), (number / 10,)) for number in range(len(images))]
        return Embeddings(np.ones((len(images), 3), np.float32), classes)

    model: Any = embed
    model.input_spec = FakeModel().input_spec
    first, broken, last = ImageWorker(model, ImageLoader(model.input_spec, Preprocessing()), "float32")(batch)
    assert given == [2]
    assert isinstance(first, Success)
    assert isinstance(broken, Failure)
    assert isinstance(last, Success)
    assert [(one.info.labels, one.info.scores) for one in (first, last)] == [
        (("class 0",), (0.0,)),
        (("class 1",), (0.1,)),
    ]
