"""Archives of the catalog: fetched once, resumed, and refused where they are damaged."""

from __future__ import annotations

import hashlib
import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fvcli.errors import ModelError
from fvcli.models.download import archive_folder, pull
from fvcli.models.loading import load_model, pull_model
from fvcli.models.mobilenet import catalog
from fvcli.models.mobilenet.catalog import CATALOG, catalog_entry
from fvcli.models.mobilenet.compile_uint8 import compile_uint8
from fvcli.models.overview import describe_model, list_models, verify_models
from fvcli.models.source import UnknownModelError
from tests.helpers.networks import quantops_network, random_images
from tests.helpers.servers import Site, serve

NAME = "mobilenet_v1_0.25_128_quant"
PATH = f"/mobilenet_v1_2018_08_02/{NAME}.tgz"


@pytest.fixture(scope="module")
def archive() -> bytes:
    """An archive laid out as the official ones: a .tflite beside other files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in (
            (f"./{NAME}.tflite", compile_uint8(quantops_network())),
            (f"./{NAME}_info.txt", b"Model: mobilenet_v1"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def site(archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A server that has the archive, a catalog that holds its checksum, and a cache of its own."""
    entries = tuple(
        replace(entry, sha256=hashlib.sha256(archive).hexdigest()) if entry.name == NAME else entry for entry in CATALOG
    )
    monkeypatch.setattr(catalog, "CATALOG", entries)
    monkeypatch.setenv("FVCLI_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serve({PATH: archive}) as running:
        monkeypatch.setenv("FVCLI_ARCHIVES_URL", running.url)
        yield running


def stored(tmp_path: Path) -> list[str]:
    cache = tmp_path / "cache"
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file())


def test_a_pulled_model_runs_and_is_listed(site: Site, tmp_path: Path) -> None:
    assert {model.name: model.place for model in list_models()}[NAME] == "not here"
    assert describe_model(NAME)["place"] == "not here"
    with pytest.raises(ModelError, match=f"fvcli models pull {NAME}"):
        load_model(NAME)
    seen: list[tuple[int, int | None]] = []
    model = pull_model(NAME, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(site.files[PATH]), len(site.files[PATH]))
    assert (model.dimension, model.engine, model.license) == (256, "int8", "Apache-2.0")
    assert np.isfinite(model(random_images(1, 128))).all()
    assert {listed.name: listed.place for listed in list_models()}[NAME] == "cached"
    assert describe_model(NAME)["identity"] == model.identity
    assert [checked.problem for checked in verify_models()] == [None, None, None]
    pull(catalog_entry(NAME))
    assert len(site.requests) == 1, "what is here is not fetched again"
    assert not any(name.endswith(".part") for name in stored(tmp_path))


def test_an_interrupted_download_goes_on_where_it_stopped(site: Site) -> None:
    site.drop_after = [1000, 5000]
    pull(catalog_entry(NAME))
    assert [wanted for _, wanted in site.requests] == [None, "bytes=1000-", "bytes=5000-"]


def test_two_at_once_fetch_it_once(site: Site) -> None:
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(pull, [catalog_entry(NAME)] * 2))
    assert folders[0] == folders[1]
    assert len(site.requests) == 1


def test_a_download_that_ended_in_an_earlier_run_goes_on(site: Site) -> None:
    part = archive_folder(catalog_entry(NAME)).with_name(f"{NAME}.tgz.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(site.files[PATH][:777])
    pull(catalog_entry(NAME))
    assert site.requests == [(PATH, "bytes=777-")]


def test_a_server_without_ranges_starts_afresh(site: Site) -> None:
    site.ranges, site.drop_after = False, [1000]
    assert pull(catalog_entry(NAME)).is_dir()


def test_a_part_longer_than_the_file_is_thrown_away(site: Site) -> None:
    part = archive_folder(catalog_entry(NAME)).with_name(f"{NAME}.tgz.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(len(site.files[PATH]) + 5))
    assert pull(catalog_entry(NAME)).is_dir()


def test_a_flipped_byte_is_refused_and_nothing_is_kept(site: Site, tmp_path: Path) -> None:
    damaged = bytearray(site.files[PATH])
    damaged[len(damaged) // 2] ^= 1
    site.files[PATH] = bytes(damaged)
    with pytest.raises(ModelError, match=rf"{NAME}\.tgz: SHA-256 is [0-9a-f]{{64}}, should be"):
        pull(catalog_entry(NAME))
    assert stored(tmp_path) == [f"archives/.{NAME}.lock"]


def test_errors_say_what_to_do(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"the server answered 404 .*give its path as --model"):
        pull(catalog_entry("mobilenet_v1_1.0_224"))
    monkeypatch.setenv("FVCLI_ARCHIVES_URL", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"cannot reach 127\.0\.0\.1 .*set HTTPS_PROXY; offline"):
        pull(catalog_entry("mobilenet_v1_1.0_224"))
    monkeypatch.setenv("FVCLI_ARCHIVES_URL", "http://archives.invalid")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"check the proxy http://127\.0\.0\.1:9"):
        pull(catalog_entry("mobilenet_v1_1.0_224"))
    with pytest.raises(ModelError, match="fvcli models list"):
        catalog_entry("mobilenet_v2_1.0_224")


def test_a_damaged_compiled_file_is_named_and_made_again(site: Site, tmp_path: Path) -> None:
    before = pull_model(NAME)(random_images(1, 128))
    (path,) = (tmp_path / "cache" / "compiled").glob("*.tflite")
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    assert [checked.path for checked in verify_models() if checked.problem] == [path]
    assert load_model(NAME)(random_images(1, 128)).tobytes() == before.tobytes()
    assert not [checked for checked in verify_models() if checked.problem]


def test_the_catalog_is_the_published_one(shared: Path) -> None:
    lines = (shared / "models" / "archives.tsv").read_text().splitlines()[1:]
    published = [(line + "\t\t").split("\t")[:4] for line in lines]
    found = [
        [
            entry.archive,
            entry.sha256,
            "" if entry.top1 is None else f"{entry.top1:.1f}",
            "" if entry.top5 is None else f"{entry.top5:.1f}",
        ]
        for entry in CATALOG
    ]
    assert found == published
    assert catalog_entry("mobilenet_v1_1.0_160_quant").handle == (
        "https://tfhub.dev/google/imagenet/mobilenet_v1_100_160/quantops/feature_vector/3"
    )


def test_an_archive_without_its_model_is_damaged_and_an_unknown_name_is_an_error(site: Site) -> None:
    folder = pull(catalog_entry(NAME))
    for file in folder.rglob("*"):
        if file.is_file():
            file.unlink()
    (checked,) = verify_models([NAME])
    assert "holds no model" in (checked.problem or "")
    with pytest.raises(UnknownModelError, match="no-such-model"):
        list(verify_models(["no-such-model"]))
