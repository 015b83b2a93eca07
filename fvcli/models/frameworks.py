"""TensorFlow, TensorFlow Hub and ONNX Runtime, imported when a model first needs them, and start-up messages dropped.

Each may be absent: a lean installation has none of them. Every use starts here, so that a missing package is one
message that names it.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from fvcli.errors import ModelError, first_line
from fvcli.machine import stderr_without

LITERT: Final = re.compile(rb"Created TensorFlow Lite XNNPACK delegate for CPU")
TENSORFLOW: Final = re.compile(
    rb"^([IWE]\d{4} |\d{4}-\d\d-\d\d .*: [IWE] |WARNING: All log messages before absl::InitializeLog)"
    rb"|^To enable the following instructions"
)

_PKG_RESOURCES: Final = "pkg_resources"


def tensorflow() -> Any:
    """The module tensorflow, imported without its start-up messages. Raises ModelError if it is not installed."""
    if sys.modules.get("tensorflow") is None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with stderr_without(TENSORFLOW), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = _imported("tensorflow", "tensorflow")
            module.get_logger().setLevel("ERROR")
    return sys.modules["tensorflow"]


def tensorflow_hub() -> Any:
    """The module tensorflow_hub. Raises ModelError if it or TensorFlow is not installed."""
    tensorflow()
    if sys.modules.get("tensorflow_hub") is not None:
        return sys.modules["tensorflow_hub"]
    with warnings.catch_warnings(), _version_parser_as_pkg_resources():
        warnings.simplefilter("ignore")
        return _imported("tensorflow_hub", "tensorflow-hub")


def onnxruntime() -> Any:
    """The module onnxruntime. Raises ModelError if it is not installed."""
    return _imported("onnxruntime", "fvcli[onnx]")


def _imported(module: str, package: str) -> Any:
    """The module. Raises ModelError, which names the package to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == module
        reason = "is not installed" if missing else f"cannot be imported ({first_line(error)})"
        raise ModelError(f"this needs {module}, which {reason}; install it with: pip install '{package}'") from error


@contextmanager
def _version_parser_as_pkg_resources() -> Iterator[None]:
    """A context in which ``pkg_resources`` is a stand-in with the one function that tensorflow_hub imports from it.

    setuptools 82 no longer has the module: https://setuptools.pypa.io/en/latest/history.html
    """
    from packaging.version import parse

    stand_in: Any = types.ModuleType(_PKG_RESOURCES)
    stand_in.parse_version = parse
    before = sys.modules.get(_PKG_RESOURCES)
    sys.modules[_PKG_RESOURCES] = stand_in
    try:
        yield
    finally:
        if before is None:
            del sys.modules[_PKG_RESOURCES]
        else:
            sys.modules[_PKG_RESOURCES] = before
