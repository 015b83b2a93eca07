"""The specification of a dataset: everything about it but its rows, the same for every process that works on it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fvcli.dataset.columns import Encoding
from fvcli.dataset.layout import DataFormat, DType
from fvcli.dataset.manifest import SCHEMA_VERSION, Manifest
from fvcli.dataset.plan import Plan
from fvcli.dataset.standing import Merged, Standing
from fvcli.errors import DatasetError
from fvcli.images.fit import resizer
from fvcli.images.jpeg import decoder
from fvcli.images.memory import Limits
from fvcli.machine import decoders, environment, environment_id
from fvcli.models.loading import Embedder, embedder_of, load_classifier, load_recipe_model
from fvcli.models.protocol import FeatureModel
from fvcli.records import Recipe
from fvcli.run.request import ExtractRequest


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """Taken from a request and a model, or from a plan. ``model`` has the model's name, identity and license."""

    model: Mapping[str, str]
    dimension: int
    recipe: Recipe
    format: DataFormat
    dtype: DType
    limits: Limits

    @classmethod
    def of(cls, request: ExtractRequest, model: FeatureModel) -> DatasetSpec:
        """The dataset that a request asks for."""
        return cls(
            model={"name": model.name, "identity": model.identity, "license": model.license},
            dimension=model.dimension,
            recipe=Recipe(
                model.identity,
                model.engine,
                request.preprocessing,
                resizer=resizer(request.preprocessing.resize),
                decoder=decoder(),
                normalize=request.normalize,
                labels=request.labels,
                classifier=load_classifier(request.model).identity if request.labels else None,
            ),
            format=request.format,
            dtype=request.dtype,
            limits=request.limits,
        )

    @classmethod
    def planned(cls, plan: Plan) -> DatasetSpec:
        """The dataset that a plan was made for. Raises DatasetError where the plan does not say."""
        try:
            asked, settings = plan.request, plan.settings
            return cls(
                model=settings["model"],
                dimension=settings["dimension"],
                recipe=Recipe.from_json(asked["recipe"]),
                format=asked["format"],
                dtype=asked["dtype"],
                limits=Limits(**settings["limits"]),
            )
        except (KeyError, TypeError) as error:
            raise DatasetError(
                "the plan was not made by this version of fvcli; make it again with fvcli plan"
            ) from error

    def settings(self) -> dict[str, Any]:
        """The JSON values that a plan keeps besides its request, so that ``planned`` returns an equal spec."""
        return {"model": dict(self.model), "dimension": self.dimension, "limits": asdict(self.limits)}

    def load_model(self) -> FeatureModel:
        """The model, from wherever it is on this machine. Raises ModelError, DatasetError where it is another one."""
        return load_recipe_model(self.model["name"], self.recipe)

    def embedder(self, model: FeatureModel) -> Embedder:
        """The model with what the recipe asks for. Raises ModelError, DatasetError where the classifier is another."""
        return embedder_of(self.model["name"], self.recipe, model)

    @property
    def encoding(self) -> Encoding:
        """The format of shards. Each says what it is, so that one without its manifest can still be identified."""
        values = {
            "schema_version": SCHEMA_VERSION,
            "model": dict(self.model),
            "recipe": self.recipe.to_json(),
            "recipe_identity": self.recipe.identity,
        }
        metadata = {"fvcli": json.dumps(values, sort_keys=True)}
        return Encoding(self.format, self.dtype, self.dimension, metadata, labels=self.recipe.labels > 0)

    @property
    def circumstances(self) -> str:
        """A short hash of the limits and decoding libraries, which decide with a file whether it can be decoded."""
        return environment_id({**decoders(), **{name: str(value) for name, value in asdict(self.limits).items()}})

    def require_same(self, standing: Standing, output: str) -> None:
        """Raises DatasetError where the dataset, or the unfinished run that is to make it, has another recipe."""
        now = {"format": self.format, "dtype": self.dtype, **self.recipe.to_json()}
        base, plan = standing.manifest, standing.plan
        if base is not None:
            there = {"format": base.format, "dtype": base.dtype, **base.recipe.to_json()}
            _compare(output, _named(there, base.model), _named(now, self.model))
        elif plan is not None:
            there = {"format": plan.request["format"], "dtype": plan.request["dtype"], **plan.request["recipe"]}
            _compare(output, _named(there, plan.settings["model"]), _named(now, self.model))

    def describe(self, standing: Standing, merged: Merged, started: float, extracted: int) -> Manifest:
        """The manifest of the merged shards, without its list of failures.

        started: of this process's part, by the monotonic clock; extracted: the vectors that it computed.
        """
        base, plan = standing.manifest, standing.require_plan()
        made = {environment_id(values): values for values in merged.environments}
        roots = set(plan.roots)
        known: Mapping[str, str] = next(iter(made.values()), environment())
        if base is not None and not plan.overwrite:
            if standing.todo(plan.shards):  # rows that an unfinished shard was to drop are still there
                roots |= set(base.roots)
            known = known if made else base.environment
        seconds = time.monotonic() - started
        run = {
            "started": (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
            "host": socket.gethostname(),
            "environment": ",".join(sorted(made)) or environment_id(known),
            "worked": extracted,
            **merged.counts.to_json(),
            "passed_over": dict(plan.settings.get("passed_over", {})),
        }
        described = Manifest(
            format=self.format,
            dtype=self.dtype,
            dimension=self.dimension,
            model=self.model,
            recipe=self.recipe,
            environment=known,
            base_folder=plan.base_folder,
            roots=tuple(sorted(roots)),
            shards=merged.shards,
            counts=merged.counts,
            runs=base.runs if base is not None else (),
        )
        return described.with_run(run)


def _named(recipe: Mapping[str, Any], model: Mapping[str, str]) -> dict[str, Any]:
    """The recipe with the model's name before its identity."""
    return {**recipe, "model": (model["name"], recipe["model"])}


def _compare(output: str, there: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    differing = [name for name in sorted({*there, *now}) if _value(there.get(name)) != _value(now.get(name))]
    if differing:
        alike = "model" in differing and there["model"][0] == now["model"][0]
        then, asked = (", ".join(_told(name, recipe.get(name), alike) for name in differing) for recipe in (there, now))
        raise DatasetError(
            f"{output} holds vectors made with {then}; this command asks for {asked}. "
            "Name another folder with -o, or replace the dataset with --overwrite"
        )


def _value(value: object) -> object:
    return value[1] if isinstance(value, tuple) else value


def _told(field: str, value: object, with_identity: bool) -> str:
    """A field of a recipe; a model by its name, with the first digits of its identity where names do not differ."""
    if value is None:
        return f"no {field}"
    if not isinstance(value, tuple):
        return f"{field} {value}"
    name, identity = value
    return f"{field} {name} ({identity[:12]})" if with_identity else f"{field} {name}"
