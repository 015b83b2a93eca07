"""The cache of compiled models: what is damaged or another model's counts as absent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from fvcli.errors import ModelError
from fvcli.models import cache
from fvcli.models.cache import KnownSource
from fvcli.models.model_card import ModelCard
from fvcli.records import InputSpec

DATA = b"a compiled model"
CARD = ModelCard(
    "its-name", "ab" * 32, "int8", 12, "Apache-2.0", InputSpec(8, 8, (0.0, 1.0)), hashlib.sha256(DATA).hexdigest()
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)


def test_a_compiled_model_comes_back_under_the_name_it_has_here() -> None:
    cache.write_compiled(CARD, DATA)
    found = cache.read_compiled(CARD.identity, "int8", "another name", "MIT")
    assert found is not None
    card, data = found
    assert data == DATA
    assert (card.name, card.license, card.dimension, card.input_spec) == ("another name", "MIT", 12, CARD.input_spec)


@pytest.mark.parametrize("harm", [flip, Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])])
@pytest.mark.parametrize("suffix", [".tflite", ".json"])
def test_a_damaged_one_counts_as_absent(harm: Callable[[Path], object], suffix: str) -> None:
    cache.write_compiled(CARD, DATA)
    harm(cache.compiled_path(CARD.identity, "int8").with_suffix(suffix))
    assert cache.read_compiled(CARD.identity, "int8", "", "") is None


def test_the_card_of_another_model_is_no_use() -> None:
    cache.write_compiled(CARD, DATA)
    own, other = cache.compiled_path(CARD.identity, "int8"), cache.compiled_path("cd" * 32, "int8")
    for suffix in (".tflite", ".json"):
        other.with_suffix(suffix).write_bytes(own.with_suffix(suffix).read_bytes())
    assert cache.read_compiled("cd" * 32, "int8", "", "") is None


def test_sources_and_classifiers_are_known_again_unless_damaged(folder: Path) -> None:
    cache.write_known("print", KnownSource("ab" * 32, "float"))
    assert cache.read_known("print") == KnownSource("ab" * 32, "float")
    assert cache.read_known("another") is None
    cache.write_classifier("print", DATA, 7)
    assert cache.read_classifier("print") == (DATA, 7)
    for file in (*(folder / "classifiers").glob("*.tflite"), *(folder / "sources").iterdir()):
        file.write_bytes(file.read_bytes()[:-1])
    assert cache.read_classifier("print") is None
    assert cache.read_known("print") is None


def test_the_folder_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path) -> None:
    assert cache.cache_folder() == folder
    monkeypatch.delenv(cache.CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "xdg" / "fvcli"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.cache_folder() == tmp_path / "home" / ".cache" / "fvcli"


def test_a_folder_that_cannot_be_written_is_an_error_that_names_the_variable(folder: Path) -> None:
    folder.write_text("a file in its place")
    with pytest.raises(ModelError, match=r"the cache cannot be written .*set FVCLI_CACHE"):
        cache.write_compiled(CARD, DATA)
