"""TF Hub handles, resolved and cached by tensorflow_hub (in ``$TFHUB_CACHE_DIR``)."""

from __future__ import annotations

import http.client
import tarfile
import urllib.error
from pathlib import Path

from fvcli.errors import ModelError
from fvcli.models.stderr_filter import TENSORFLOW, stderr_without, tensorflow, tensorflow_hub


def resolve_handle(handle: str) -> Path:
    """The folder of a handle's module, downloaded on first use. Raises ModelError with what to do."""
    tf, hub = tensorflow(), tensorflow_hub()
    try:
        with stderr_without(TENSORFLOW):
            return Path(hub.resolve(handle))
    except urllib.error.HTTPError as error:
        raise ModelError(
            f"{handle}: the server answered {error.code} {error.reason}; check the handle in a browser"
        ) from error
    except (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException) as error:
        raise ModelError(
            f"{handle}: cannot be reached ({getattr(error, 'reason', error)}); behind a proxy, set HTTPS_PROXY; "
            "offline, fetch the module's .tar.gz elsewhere and give its path as --model"
        ) from error
    except (tf.errors.OpError, tarfile.TarError, EOFError, OSError, ValueError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ModelError(f"{handle}: what came is no module ({reason}); try again, or give another handle") from error
