"""The model that made a dataset, found by its identity.

A manifest may come from anywhere, so a path in it is never opened: what it calls its model is only told.
"""

from __future__ import annotations

from pathlib import Path

from fvcli.dataset.manifest import Manifest
from fvcli.errors import DatasetError, ModelError
from fvcli.images.loader import ImageLoader
from fvcli.images.memory import DEFAULT_LIMITS
from fvcli.models.cache import read_compiled
from fvcli.models.loading import EMBEDDED, embedded_file, load_model
from fvcli.models.protocol import FeatureModel


def model_of(found: Manifest, given: str | None = None) -> FeatureModel:
    """The embedded model, one in the user's cache, or the one that ``given`` names, if it made the dataset.

    Raises ModelError where it is none of these, DatasetError where ``given`` is another one.
    """
    if given is not None:
        model = load_model(given, found.recipe.engine)
        if model.identity != found.recipe.model:
            raise DatasetError(
                f"the model {given} ({model.identity[:12]}) is not the one that made the dataset "
                f"({_name(found)}, {found.recipe.model[:12]})"
            )
        return model
    cached = _cached(found)
    if cached is None or cached.identity != found.recipe.model:
        raise ModelError(
            f"the model that made the dataset ({_name(found)}, {found.recipe.model[:12]}) is neither the embedded one "
            "nor in the cache; name it with --model"
        )
    return cached


def _cached(found: Manifest) -> FeatureModel | None:
    """The embedded model or one in the cache, None where it is neither."""
    identity, engine = found.recipe.model, found.recipe.engine
    if embedded_file()[0].identity == identity:
        return load_model(EMBEDDED, engine)
    if engine in ("int8", "float"):
        compiled = read_compiled(identity, engine, _name(found), found.model["license"])
        if compiled is not None:
            from fvcli.models.litert import LiteRTModel

            return LiteRTModel(*compiled)
    from fvcli.models.mobilenet.catalog import find_entry

    name = found.model["name"]
    if find_entry(name) is None or Path(name).exists():  # a file of that name would come first
        return None
    return load_model(name, engine)


def _name(found: Manifest) -> str:
    return str(found.model["name"])


def loader_of(found: Manifest, model: FeatureModel) -> ImageLoader:
    """The preprocessing of a dataset's files."""
    return ImageLoader(model.input_spec, found.recipe.preprocessing, DEFAULT_LIMITS)
