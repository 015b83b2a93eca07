"""Installations without TensorFlow: each path that needs it is one line that names the package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fvcli.models.mobilenet.compile import compile_int8
from tests.helpers.networks import quantops_network

pytestmark = pytest.mark.slow

HANDLE = "google/imagenet/mobilenet_v1_100_160/quantops/feature_vector/3"
_WITHOUT = (
    "import sys; sys.modules.update(dict.fromkeys({missing!r}))\nfrom fvcli.__main__ import main\nsys.exit(main())"
)


def fvcli_without(*missing: str, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs fvcli in ``folder`` where the modules ``missing`` cannot be imported."""
    command = [sys.executable, "-c", _WITHOUT.format(missing=missing), *arguments]
    environment = {"PATH": "/usr/bin:/bin", "FVCLI_CACHE": str(folder / "cache"), "HOME": str(folder)}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)


def saved_model(folder: Path) -> str:
    (folder / "saved").mkdir()
    (folder / "saved" / "saved_model.pb").write_bytes(b"x")
    return "saved?input-range=0,1"


def module(folder: Path) -> str:
    saved_model(folder)
    (folder / "saved" / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return "saved"


def touched(name: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        (folder / name).write_bytes(b"x")
        return name.removesuffix(".index")

    return write


def own_saved_model(folder: Path) -> str:
    """As fvcli exports it."""
    saved_model(folder)
    (folder / "saved" / "assets.extra").mkdir()
    (folder / "saved" / "assets.extra" / "fvcli.json").write_text('{"input_spec": {"height": 160}}')
    return "saved"


SOURCES = {
    "own saved model": own_saved_model,
    "saved model": saved_model,
    "module": module,
    "frozen graph": touched("frozen.pb"),
    "checkpoint": touched("mobilenet_v1_0.25_128.ckpt.index"),
    "keras": touched("m.keras"),
    "handle": lambda folder: HANDLE,
}


# The description of these two needs no TensorFlow.
SHOWN = [name for name in SOURCES if name not in ("saved model", "keras")]


@pytest.mark.parametrize(
    ("command", "write"),
    [("extract", name) for name in SOURCES] + [("show", name) for name in SHOWN],
)
def test_models_that_need_tensorflow_name_it(tmp_path: Path, sample_images: Path, command: str, write: str) -> None:
    model = SOURCES[write](tmp_path)
    arguments = ["models", "show", model] if command == "show" else ["extract", str(sample_images), "-m", model]
    done = fvcli_without("tensorflow", "tensorflow_hub", arguments=arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "needs tensorflow, which is not installed; install it with: pip install 'tensorflow'" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["extract", "{images}", "--engine", "tensorflow"],
        ["models", "export", "embedded", "--as", "saved-model"],
        ["models", "export", "embedded", "--as", "hub-module"],
        ["selftest", "--engine", "tensorflow"],
    ],
    ids=" ".join,
)
def test_commands_that_need_tensorflow_name_it(tmp_path: Path, sample_images: Path, arguments: list[str]) -> None:
    filled = [argument.format(images=sample_images) for argument in arguments]
    done = fvcli_without("tensorflow", "tensorflow_hub", arguments=filled, folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "needs tensorflow, which is not installed" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) in ([], ["cache"]), "nothing half-made is left"


def test_a_handle_without_tensorflow_hub_names_that(tmp_path: Path, sample_images: Path) -> None:
    arguments = ["extract", str(sample_images), "-m", HANDLE]
    done = fvcli_without("tensorflow_hub", arguments=arguments, folder=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "needs tensorflow_hub, which is not installed; install it with: pip install 'tensorflow-hub'" in done.stderr


def test_files_that_need_no_tensorflow_run_without_it(tmp_path: Path, photographs: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(compile_int8(quantops_network()))
    for model in ("embedded", "m.tflite"):
        arguments = ["extract", str(photographs), "-m", model, "-o", model.removesuffix(".tflite"), "-q"]
        done = fvcli_without("tensorflow", "tensorflow_hub", "onnxruntime", arguments=arguments, folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    export = ["models", "export", "embedded", "--as", "tflite", "-q"]
    assert fvcli_without("tensorflow", arguments=export, folder=tmp_path).returncode == 0


def test_tensorflow_hub_needs_no_pkg_resources(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['pkg_resources'] = None\n"
        "from fvcli.models.frameworks import tensorflow_hub\n"
        "print(tensorflow_hub().resolve.__name__, sys.modules.get('pkg_resources'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["resolve", "None"]
