"""What a dataset is to be, apart from its rows: the same for every process that works on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fvcli.dataset.layout import DataFormat, DType
from fvcli.dataset.manifest import SCHEMA_VERSION
from fvcli.dataset.plan import Plan
from fvcli.dataset.shard_file import Encoding
from fvcli.errors import DatasetError
from fvcli.images.decode import Limits
from fvcli.models.loading import load_model
from fvcli.models.protocol import FeatureModel
from fvcli.records import Recipe
from fvcli.run.request import ExtractRequest


@dataclass(frozen=True, slots=True)
class Product:
    """Read off a request and a model, or off a plan. ``model`` has the model's name, identity and licence."""

    model: Mapping[str, str]
    dimension: int
    recipe: Recipe
    format: DataFormat
    dtype: DType
    limits: Limits

    @classmethod
    def of(cls, request: ExtractRequest, model: FeatureModel) -> Product:
        """What a request asks for."""
        return cls(
            model={"name": model.name, "identity": model.identity, "licence": model.licence},
            dimension=model.dimension,
            recipe=Recipe(model.identity, model.engine, request.preprocessing),
            format=request.format,
            dtype=request.dtype,
            limits=request.limits,
        )

    @classmethod
    def planned(cls, frozen: Plan) -> Product:
        """What a plan was made for. Raises DatasetError where the plan does not say."""
        try:
            asked, settings = frozen.request, frozen.settings
            return cls(
                model=settings["model"],
                dimension=settings["dimension"],
                recipe=Recipe.from_json(asked["recipe"]),
                format=asked["format"],
                dtype=asked["dtype"],
                limits=Limits(**settings["limits"]),
            )
        except (KeyError, TypeError) as error:
            raise DatasetError(f"the plan lacks {error}; make it again with the fvcli in use here") from error

    def settings(self) -> dict[str, Any]:
        """What a plan keeps besides its request, so that ``planned`` gives the same product; JSON values."""
        return {"model": dict(self.model), "dimension": self.dimension, "limits": asdict(self.limits)}

    def load_model(self) -> FeatureModel:
        """The model, from wherever it is on this machine. Raises ModelError, DatasetError where it is another one."""
        model = load_model(self.model["name"], self.recipe.engine)
        if model.identity != self.recipe.model:
            raise DatasetError(
                f"the model {model.name} here ({model.identity[:12]}) is not the one the dataset is made with "
                f"({self.recipe.model[:12]}); use the fvcli or the model file that planned it"
            )
        return model

    @property
    def encoding(self) -> Encoding:
        """How shards are written. Every one says what it is, so that one that lost its manifest can still be told."""
        values = {
            "schema_version": SCHEMA_VERSION,
            "model": dict(self.model),
            "recipe": self.recipe.to_json(),
            "recipe_identity": self.recipe.identity,
        }
        return Encoding(self.format, self.dtype, self.dimension, {"fvcli": json.dumps(values, sort_keys=True)})
