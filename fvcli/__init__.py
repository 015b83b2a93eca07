"""Feature vectors of images, by MobileNet V1 with real 8-bit arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fvcli.api import Dataset, Model, extract, load_model, open_dataset

__version__ = "0.1.0"
__all__ = ["Dataset", "Model", "__version__", "extract", "load_model", "open_dataset"]


def __getattr__(name: str) -> Any:
    """Loads the Python interface when it is first used: the command must not wait for it."""
    if name in __all__:
        from fvcli import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
