"""Handles: what they are short for, and what is said where they cannot be resolved."""

from __future__ import annotations

import io
import socket
import tarfile
from pathlib import Path

import pytest

from fvcli.errors import ModelError
from fvcli.models.hub import full_handle
from fvcli.models.loading import load_model
from fvcli.models.mobilenet.catalog import CATALOG, entry_of_handle
from fvcli.models.mobilenet.export import export_model
from fvcli.models.source import find_source
from tests.helpers.networks import quantops_network
from tests.helpers.servers import serve

MODULE = "google/imagenet/mobilenet_v1_100_160/quantops/feature_vector/3"
KAGGLE = "google/mobilenet-v1/tensorFlow1/100-160-feature-vector/1"


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "handle"),
    [
        (MODULE, f"https://tfhub.dev/{MODULE}"),
        (f"tfhub.dev/{MODULE}", f"https://tfhub.dev/{MODULE}"),
        (f"https://tfhub.dev/{MODULE}", f"https://tfhub.dev/{MODULE}"),
        (KAGGLE, f"https://www.kaggle.com/models/{KAGGLE}"),
        (f"https://www.kaggle.com/models/{KAGGLE}", f"https://www.kaggle.com/models/{KAGGLE}"),
        ("photos/model.tflite", None),
        ("models/google/3/m", None),
        ("mobilenet_v1_1.0_160_quant", None),
    ],
)
def test_handles_need_no_host(name: str, handle: str | None) -> None:
    assert full_handle(name) == handle


def test_a_folder_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_source(MODULE).kind == "handle"
    Path(MODULE).mkdir(parents=True)
    Path(MODULE, "m.tflite").write_bytes(b"x")
    assert find_source(MODULE).kind == "tflite"


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_a_handle_is_known_by_the_network_that_it_stands_for(entry: object) -> None:
    assert entry_of_handle(entry.handle) is entry  # type: ignore[attr-defined]
    assert entry_of_handle(entry.handle.replace("feature_vector/3", "classification/5")) is entry  # type: ignore[attr-defined]
    assert entry_of_handle("https://tfhub.dev/google/imagenet/mobilenet_v2_100_160/feature_vector/3") is None


@pytest.mark.slow
def test_without_a_network_every_way_out_is_named(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        handle = f"http://127.0.0.1:{free.getsockname()[1]}/{MODULE}"
    with pytest.raises(ModelError) as caught:
        load_model(handle)
    message = str(caught.value)
    assert message.startswith(f"{handle}: cannot be reached")
    assert f"fetch {handle}?tf-hub-format=compressed elsewhere" in message
    assert "TFHUB_CACHE_DIR" in message
    assert "fvcli models pull mobilenet_v1_1.0_160_quant" in message
    assert "\n" not in message


@pytest.mark.slow
def test_an_emptied_hub_cache_is_named_with_what_to_delete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary folders are cleaned file by file, and tensorflow_hub takes what is left for the module."""
    module = export_model(quantops_network(), "module", "hub-module", tmp_path)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(module, arcname=".")
    path = "/vendor/module/1"
    with serve({f"{path}?tf-hub-format=compressed": buffer.getvalue()}) as site:
        assert load_model(site.url + path).dimension == 256
        (folder,) = (each for each in (tmp_path / "hub").iterdir() if each.is_dir())
        for file in [each for each in folder.rglob("*") if each.is_file()]:
            file.unlink()
        monkeypatch.setenv("FVCLI_CACHE", str(tmp_path / "another"))
        with pytest.raises(ModelError) as caught:
            load_model(site.url + path)
        assert f"{folder} in TF Hub's cache is empty; delete that folder" in str(caught.value)
