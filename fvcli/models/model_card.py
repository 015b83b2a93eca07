"""The JSON card stored next to a compiled model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from fvcli.errors import ModelError
from fvcli.records import InputSpec

CompiledEngine = Literal["int8", "float", "litert"]
"""int8 and float: a MobileNet V1 that fvcli compiled. litert: a .tflite of another network, as it is."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A compiled model's identity and shape, and whatever else its card tells people.

    file_sha256: of the .tflite next to the card (hex). identity: of the model's numbers (hex).
    notes: the card's other entries (origin, how it was made, measured accuracy, ...), as JSON values.
    """

    name: str
    identity: str
    engine: CompiledEngine
    dimension: int
    license: str
    input_spec: InputSpec
    file_sha256: str
    notes: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "identity": self.identity,
            "engine": self.engine,
            "file_sha256": self.file_sha256,
            "license": self.license,
            "input": input_spec_to_json(self.input_spec),
            "output": {"dimension": self.dimension},
            **self.notes,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelCard:
        """The inverse of :meth:`to_json`. Raises ModelError where an entry is missing or of another type."""
        known = {"name", "identity", "engine", "file_sha256", "license", "input", "output"}
        try:
            return cls(
                name=str(values["name"]),
                identity=str(values["identity"]),
                engine=cast(CompiledEngine, values["engine"]),
                dimension=int(values["output"]["dimension"]),
                license=str(values["license"]),
                input_spec=input_spec_from_json(values["input"]),
                file_sha256=str(values["file_sha256"]),
                notes={name: value for name, value in values.items() if name not in known},
            )
        except KeyError as error:
            raise ModelError(f"the model card has no {error}") from error
        except (TypeError, ValueError, IndexError) as error:
            raise ModelError(f"the model card is damaged: {error}") from error

    @classmethod
    def parse(cls, text: str) -> ModelCard:
        """The card in a JSON file's text. Raises ModelError if it is none."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ModelError(f"the model card is damaged: {error}") from error
        return cls.from_json(values)


def input_spec_to_json(spec: InputSpec) -> dict[str, object]:
    """The card as JSON values; ``pixel_table`` is "identity" where every pixel is its own code."""
    table: object = spec.pixel_table
    if spec.pixel_table == tuple(range(256)):
        table = "identity"
    values = {"height": spec.height, "width": spec.width, "value_range": spec.value_range, "pixel_table": table}
    return values if spec.channel_ranges is None else {**values, "channel_ranges": spec.channel_ranges}


def input_spec_from_json(values: Mapping[str, Any]) -> InputSpec:
    """The inverse of :func:`input_spec_to_json`. Raises KeyError, TypeError or ValueError."""
    limits, table, ranges = values["value_range"], values["pixel_table"], values.get("channel_ranges")
    if table == "identity":
        table = range(256)
    if table is not None:
        table = tuple(int(code) for code in table)
        if len(table) != 256 or not all(0 <= code <= 255 for code in table):
            raise ValueError("a pixel table has 256 codes from 0 to 255")
    return InputSpec(
        height=int(values["height"]),
        width=int(values["width"]),
        value_range=None if limits is None else (float(limits[0]), float(limits[1])),
        pixel_table=table,
        channel_ranges=None if ranges is None else tuple((float(low), float(high)) for low, high in ranges),
    )
