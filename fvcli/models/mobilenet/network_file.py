"""A file's bytes to a network, for every reader of single files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fvcli.errors import ModelError
from fvcli.models.mobilenet.network import MobileNetV1


def read_network(path: Path, parse: Callable[[bytes], MobileNetV1]) -> MobileNetV1:
    """What ``parse`` makes of the file. Raises ModelError, which names the file whatever is wrong with it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        return parse(data)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
