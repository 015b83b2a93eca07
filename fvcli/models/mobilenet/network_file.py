"""The reading of a file's bytes, shared by every reader of single files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fvcli.errors import ModelError
from fvcli.models.mobilenet.network import MobileNetV1


class OtherNetworkError(ModelError):
    """A sound file of another network than MobileNet V1."""


def read_network(path: Path, parse: Callable[[bytes], MobileNetV1]) -> MobileNetV1:
    """The network that ``parse`` reads from the file's bytes. Raises ModelError, which names the file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        return parse(data)
    except ModelError as error:
        raise type(error)(f"{path}: {error}") from error
