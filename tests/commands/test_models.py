"""``fvcli models``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import Result

from fvcli.models.mobilenet.compile import compile_int8
from fvcli.models.mobilenet.tflite_reader import read_tflite
from tests.helpers.commands import here
from tests.helpers.foreign_models import write_tflite
from tests.helpers.networks import quantops_network


def fvcli(*arguments: str, cache: Path) -> Result:
    return here(*arguments, FVCLI_CACHE=str(cache))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "mine.tflite"
    path.write_bytes(compile_int8(quantops_network()))
    return path


def test_list_has_the_embedded_model_and_the_whole_catalogue(tmp_path: Path) -> None:
    done = fvcli("models", "list", "--json", cache=tmp_path)
    models = json.loads(done.stdout)
    assert (done.exit_code, len(models)) == (0, 33)
    assert models[0]["place"] == "embedded"
    assert len({model["name"] for model in models}) == 33
    lines = fvcli("models", "list", cache=tmp_path).stdout.splitlines()
    assert len(lines) == 34
    assert next(line for line in lines if "mobilenet_v1_1.0_160_quant" in line).split()[1:4] == ["160", "1.0", "66.9"]


def test_show_says_what_a_file_is(model: Path, tmp_path: Path) -> None:
    shown = json.loads(fvcli("models", "show", str(model), "--json", cache=tmp_path).stdout)
    assert shown["identity"] == quantops_network().identity
    assert shown["channels"] == 2736
    assert 0 < shown["exact_channels"] < 2736
    assert "identity  " + shown["identity"] in fvcli("models", "show", str(model), cache=tmp_path).stdout.splitlines()


@pytest.mark.parametrize("name", ["embedded", "mobilenet_v1_1.0_160_quant", "file"])
def test_show_is_twelve_lines_for_people(model: Path, tmp_path: Path, name: str) -> None:
    done = fvcli("models", "show", str(model) if name == "file" else name, cache=tmp_path)
    lines = done.stdout.splitlines()
    assert 5 <= len(lines) <= 12
    assert max(map(len, lines)) < 160
    assert lines[0].split() == ["name", str(model) if name == "file" else name]


@pytest.mark.slow
def test_export_writes_what_reads_back(model: Path, tmp_path: Path) -> None:
    done = fvcli("models", "export", str(model), "-o", str(tmp_path / "out"), "--as", "tflite-uint8", cache=tmp_path)
    assert (done.exit_code, done.stdout) == (0, "")
    assert read_tflite(tmp_path / "out" / "mine.tflite").identity == quantops_network().identity
    assert f'Interpreter("{tmp_path / "out" / "mine.tflite"}")' in done.stderr, "a line to paste"
    again = fvcli("models", "export", str(model), "-o", str(tmp_path / "out"), "--as", "tflite-uint8", cache=tmp_path)
    assert again.exit_code == 2
    assert "exists" in again.stderr


def test_export_says_which_line_of_python_loads_what_it_wrote(model: Path, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    done = fvcli("models", "export", str(model), "-o", str(tmp_path / "out"), "--as", "tflite", cache=tmp_path)
    wrote, line = done.stderr.splitlines()
    assert wrote == f"wrote {tmp_path / 'out' / 'mine.tflite'}"
    loaded = eval(line.removeprefix("to use it: "), {"Interpreter": Interpreter})
    assert loaded.get_input_details()[0]["shape"].tolist() == [1, 128, 128, 3]


def test_verify_finds_what_is_damaged(model: Path, tmp_path: Path) -> None:
    assert fvcli("models", "verify", cache=tmp_path).exit_code == 0
    assert fvcli("models", "verify", str(model), "-q", cache=tmp_path).stderr == ""
    model.write_bytes(model.read_bytes()[:5000])
    done = fvcli("models", "verify", str(model), cache=tmp_path)
    assert done.exit_code == 4
    assert done.stderr.startswith("damaged: ")
    assert "mine.tflite" in done.stderr


def test_verify_of_several_models_names_each_that_is_damaged(model: Path, tmp_path: Path) -> None:
    sound, other = tmp_path / "sound.tflite", tmp_path / "other.tflite"
    sound.write_bytes(model.read_bytes())
    other.write_bytes(b"no model")
    model.write_bytes(model.read_bytes()[:5000])
    for names in ([model, sound, other], [other, model, sound]):
        done = fvcli("models", "verify", *map(str, names), "--json", cache=tmp_path)
        assert done.exit_code == 4, "a sound one last does not hide the damage before it"
        told = {each["name"]: each["problem"] for each in json.loads(done.stdout)}
        assert [told[str(each)] is None for each in (model, sound, other)] == [False, True, False]
        assert done.stderr.count("damaged: ") == 2
    assert fvcli("models", "verify", str(sound), "embedded", cache=tmp_path).exit_code == 0


def test_verify_finds_damage_in_what_is_cached(model: Path, tmp_path: Path, photographs: Path) -> None:
    assert (
        fvcli("extract", str(photographs), "-m", str(model), "-o", str(tmp_path / "f"), "-q", cache=tmp_path).exit_code
        == 0
    )
    (compiled,) = (tmp_path / "compiled").glob("*.tflite")
    data = bytearray(compiled.read_bytes())
    data[len(data) // 2] ^= 1
    compiled.write_bytes(data)
    done = fvcli("models", "verify", cache=tmp_path)
    assert done.exit_code == 4
    assert compiled.stem in done.stderr


@pytest.mark.slow
def test_verify_checks_networks_that_run_as_they_are(tmp_path: Path) -> None:
    needs_a_range = write_tflite(tmp_path / "float.tflite", normalization=None)
    assert fvcli("models", "verify", str(needs_a_range), cache=tmp_path).exit_code == 0
    whole = write_tflite(tmp_path / "whole.tflite")
    assert fvcli("models", "verify", str(whole), cache=tmp_path).exit_code == 0
    whole.write_bytes(whole.read_bytes()[:-300])
    assert fvcli("models", "verify", str(whole), cache=tmp_path).exit_code == 4


@pytest.mark.parametrize("name", ["nowhere", "mobilenet_v1_1.0_160"])
def test_errors_are_one_line(name: str, tmp_path: Path) -> None:
    for command in (["models", "export", name, "--as", "tflite"], ["extract", str(tmp_path), "-m", name, "-o", "out"]):
        done = fvcli(*command, cache=tmp_path)
        assert (done.exit_code, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1
        assert name in done.stderr
