"""TF Hub and Kaggle handles, resolved and cached by tensorflow_hub (in ``$TFHUB_CACHE_DIR``)."""

from __future__ import annotations

import http.client
import re
import socket
import tarfile
import urllib.error
from pathlib import Path
from typing import Final

from fvcli.errors import ModelError, first_line
from fvcli.machine import stderr_without
from fvcli.models.frameworks import TENSORFLOW, tensorflow, tensorflow_hub
from fvcli.models.mobilenet.catalog import entry_of_handle

SIGNATURES: Final = ("default", "image_feature_vector")
"""Signatures of an image feature vector module: https://www.tensorflow.org/hub/common_signatures/images"""

GOOGLE: Final = ("https://tfhub.dev/google/", "https://www.kaggle.com/models/google/")

_TFHUB: Final = "https://tfhub.dev/"
_KAGGLE: Final = "https://www.kaggle.com/models/"
_KAGGLE_NAME: Final = re.compile(r"[\w-]+/[\w-]+/(?:tensorFlow[12]|tfLite|keras|tfJs)/[\w-]+/\d+", re.IGNORECASE)
_TFHUB_NAME: Final = re.compile(r"google/[\w-]+(?:/[\w.-]+)*/\d+")


def full_handle(name: str) -> str | None:
    """The address of a handle, with or without its host; None for a name that is no handle.

    ``google/imagenet/.../3`` is at tfhub.dev, ``google/mobilenet-v1/tensorFlow1/.../1`` (owner, model, framework,
    variation, version) at Kaggle.
    """
    if name.startswith(("https://", "http://")):
        return name
    for host in (_TFHUB, _KAGGLE):
        bare = host.removeprefix("https://")
        if name.startswith(bare):
            return host + name.removeprefix(bare)
    if _KAGGLE_NAME.fullmatch(name):
        return _KAGGLE + name
    return _TFHUB + name if _TFHUB_NAME.fullmatch(name) else None


def resolve_handle(handle: str) -> Path:
    """The folder of a handle's module, downloaded on first use. Raises ModelError with what to do."""
    tf, hub = tensorflow(), tensorflow_hub()
    try:
        with stderr_without(TENSORFLOW):
            folder = Path(hub.resolve(handle))
    except urllib.error.HTTPError as error:
        raise ModelError(
            f"{handle}: the server answered {error.code} {error.reason}; check the handle in a browser"
        ) from error
    except (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        reason = "the name is not known" if isinstance(reason, socket.gaierror) else reason
        raise ModelError(f"{handle}: cannot be reached ({reason}); {_without_network(handle)}") from error
    except (tf.errors.OpError, tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise ModelError(
            f"{handle}: the download is not a module ({first_line(error)}); try again, or give another handle"
        ) from error
    if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
        raise ModelError(
            f"{handle}: its folder {folder} in TF Hub's cache is empty; delete that folder and run the same command "
            "again (set TFHUB_CACHE_DIR to a folder that is not cleaned up)"
        )
    return folder


def _without_network(handle: str) -> str:
    """The advice for a handle that cannot be reached."""
    entry = entry_of_handle(handle)
    mark = "&" if "?" in handle else "?"
    pull = f", or use the same network from Google's archive: fvcli models pull {entry.name}" if entry else ""
    return (
        f"behind a proxy, set HTTPS_PROXY; offline, fetch {handle}{mark}tf-hub-format=compressed elsewhere and "
        f"give the .tar.gz as --model, or set TFHUB_CACHE_DIR to a cache that holds it{pull}"
    )
