"""Requests: what makes an unfinished plan another one's, and what the options of ``extract`` become."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fvcli.errors import UsageError
from fvcli.images.memory import Limits
from fvcli.records import Limit, Preprocessing, Recipe
from fvcli.run.request import ExtractRequest, make_request
from fvcli.sources.discover import Sources

RECIPE = Recipe("0" * 64, "int8", Preprocessing())
REQUEST = ExtractRequest(Sources(("photos",)))


@pytest.mark.parametrize(
    "change",
    [
        {"sources": Sources(("photos", "more"))},
        {"sources": Sources(("photos",), include=("*.jpg",))},
        {"sources": Sources(("photos",), follow_symlinks=True)},
        {"sources": Sources(("photos",), limit=3)},
        {"format": "npy"},
        {"dtype": "float16"},
        {"shard_size": 9},
        {"prune": True},
        {"prune_limit": Limit(5)},
        {"prune_limit": Limit(50)},
        {"retry_failed": True},
        {"overwrite": True},
    ],
    ids=str,
)
def test_a_plan_is_not_continued_for_another_request(change: dict[str, Any]) -> None:
    assert replace(REQUEST, **change).fingerprint(RECIPE) != REQUEST.fingerprint(RECIPE)


def test_a_plan_is_not_continued_for_another_recipe() -> None:
    for recipe in (replace(RECIPE, normalize=True), replace(RECIPE, preprocessing=Preprocessing(fit="crop"))):
        assert REQUEST.fingerprint(recipe) != REQUEST.fingerprint(RECIPE)


@pytest.mark.parametrize(
    "change",
    [{"workers": 1}, {"batch_size": 1}, {"processes": 2}, {"max_failures": Limit(1)}, {"limits": Limits(5)}],
    ids=str,
)
def test_it_is_continued_with_other_means(change: dict[str, Any]) -> None:
    assert replace(REQUEST, **change).fingerprint(RECIPE) == REQUEST.fingerprint(RECIPE)


def test_each_option_reaches_the_part_of_the_request_that_uses_it() -> None:
    made = make_request(
        ["a", "b"], "out", include=["*.jpg"], exclude=["thumbs/"], files_from="names", null=True, limit=7,
        follow_symlinks=True, fit="crop", crop_fraction=0.5, resize="bicubic", decode="exact", max_pixels=9_500,
        format="npy", dtype="float16", normalize=True, labels=3, shard_size=11, batch_size=5, workers=2, processes=1,
        retry_failed=True, max_failures="2%", model="m", engine="float", overwrite=True,
    )  # fmt: skip
    assert made.sources == Sources(
        ("a", "b"), include=("*.jpg",), exclude=("thumbs/",), files_from="names", null_separated=True, limit=7,
        follow_symlinks=True,
    )  # fmt: skip
    assert made.preprocessing == Preprocessing("exact", "crop", 0.5, "bicubic")
    assert made.limits == Limits(9_500)
    assert (made.format, made.dtype, made.normalize, made.labels) == ("npy", "float16", True, 3)
    assert (made.shard_size, made.batch_size, made.workers, made.processes) == (11, 5, 2, 1)
    assert (made.model, made.engine, made.output) == ("m", "float", "out")
    assert (made.retry_failed, made.overwrite, made.prune) == (True, True, False)
    assert made.max_failures == Limit(2, percent=True)
    assert made.prune_limit == Limit(50, percent=True)
    assert make_request(["a"], prune=True, prune_limit=3).prune_limit == Limit(3)
    assert make_request(["a"]).max_failures is None
    assert make_request(["a"], max_failures=0).max_failures == Limit(0)


def test_what_contradicts_itself_or_is_no_option_is_refused() -> None:
    with pytest.raises(UsageError, match="--limit and --prune cannot be combined"):
        make_request(["a"], limit=3, prune=True)
    with pytest.raises(TypeError, match="no option 'color'"):
        make_request(["a"], color=True)
    for wrong in ({"shard_size": 0}, {"fit": "stretch"}, {"workers": 0}, {"max_failures": "many"}):
        with pytest.raises(UsageError):
            make_request(["a"], **wrong)
