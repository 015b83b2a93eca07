"""The figures by which models are compared, on cases whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from training.scores import Answers, average_precision, means, retrieval, scores, shared_neighbors, standard_errors


def test_top1_and_top5_count_right_answers() -> None:
    logits = np.tile(np.arange(10, dtype=np.float32), (4, 1))  # 9 is first, 5 is fifth, 4 is sixth
    values = scores(Answers(np.ones((4, 2), np.float32), logits), np.array([9, 5, 4, 9]))
    assert values["top1"].tolist() == [1, 0, 0, 1]
    assert values["top5"].tolist() == [1, 1, 0, 1]
    likely = np.exp(9) / np.exp(np.arange(10)).sum()
    assert values["cross_entropy"][0] == pytest.approx(-np.log(likely))
    assert "agreement" not in values


def test_divergence_is_that_of_kullback_and_leibler() -> None:
    wanted, given = np.array([[0.5, 0.25, 0.25]] * 2), np.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]])
    features = np.array([[1, 0], [1, 1]], np.float32)
    teacher = Answers(np.array([[1, 0], [1, 0]], np.float32), np.log(wanted).astype(np.float32) + 3)
    # top5 needs classes; without the right ones only the teacher counts.
    values = scores(Answers(features, np.log(given).astype(np.float32)), teacher=teacher)
    assert values["divergence"] == pytest.approx([0, 0.5 * np.log(2) - 0.25 * np.log(2)], abs=1e-6)
    assert values["agreement"].tolist() == [1, 0]
    assert values["cosine"] == pytest.approx([1, np.sqrt(0.5)])


def test_retrieval_asks_for_one_of_the_class_among_the_ten_nearest() -> None:
    angles = np.linspace(0, 1.2, 14)
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    truth = np.arange(14)
    truth[1] = 0  # the neighbor of the first
    truth[13] = 2  # 11 places from the third, which has 10 nearer ones
    # Only photographs whose class another one has are counted: 0, 1, 2 and 13.
    assert retrieval(features, truth).tolist() == [True, True, False, False]
    assert retrieval(features * np.arange(1, 15, dtype=np.float32)[:, None], truth).tolist() == [
        True,
        True,
        False,
        False,
    ]


def test_average_precision_is_one_where_the_class_comes_first() -> None:
    angles = np.array([0, 0.1, 0.22, 0.36, 0.6])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    truth = np.array([7, 7, 3, 7, 5])
    # By nearness, 0 sees 1 (same), 2, 3 (same), 4; 1 sees 0 (same), 2, 3 (same), 4; 3 sees 2, 4, 1 (same), 0 (same).
    first, second, third = average_precision(features, truth)
    assert first == pytest.approx((1 + 2 / 3) / 2)
    assert second == pytest.approx((1 + 2 / 3) / 2)
    assert third == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_shared_neighbors_are_those_of_the_teachers_ten_that_are_kept() -> None:
    angles = np.linspace(0, 1.5, 22)
    wanted = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert shared_neighbors(wanted * 3, wanted).tolist() == [1.0] * 22
    moved = wanted.copy()
    moved[[1, 21]] = moved[[21, 1]]  # the second photograph now lies at the other end
    values = shared_neighbors(moved, wanted)
    assert values[0] == pytest.approx(0.9), "one of its ten is gone"
    assert values[1] == 0, "none of its ten is near the other end"


def test_a_standard_error_shrinks_with_the_root_of_the_count() -> None:
    values = {"top1": np.array([0.0, 1.0] * 50)}
    assert means(values) == {"top1": 0.5}
    assert standard_errors(values) == {"top1": pytest.approx(0.05)}
    assert np.isnan(means({"retrieval": np.array([])})["retrieval"])
