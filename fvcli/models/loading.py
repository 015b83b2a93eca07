"""From what the user names to a model that runs."""

from __future__ import annotations

from importlib import resources

from fvcli.errors import ModelError, UsageError
from fvcli.models.base import FeatureModel
from fvcli.models.card import ModelCard
from fvcli.records import Engine

EMBEDDED = "embedded"
_FILES = "mobilenet_v1_1.0_160"


def load_model(name: str = EMBEDDED, engine: Engine | None = None) -> FeatureModel:
    """The model called ``name``, ready to run on one thread (``per_thread`` gives more).

    engine: None takes the model's own: int8 for quantops networks, float for plain ones.
    Raises ModelError if there is no such model or it cannot be read; UsageError for an engine it does not have.
    """
    if name != EMBEDDED:
        raise ModelError(f"{name}: no such model; `fvcli models list` shows what there is")
    if engine not in (None, "int8"):
        raise UsageError(f"the model {name} runs with --engine int8, not {engine}")
    return _embedded()


def _embedded() -> FeatureModel:
    from fvcli.models.litert import LiteRTModel

    folder = resources.files("fvcli.models") / "embedded"
    card = ModelCard.parse((folder / f"{_FILES}.json").read_text("utf-8"))
    return LiteRTModel(card, (folder / f"{_FILES}.tflite").read_bytes())
