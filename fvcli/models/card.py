"""What stands beside a compiled model and makes it usable without reading its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from fvcli.errors import ModelError
from fvcli.records import InputSpec

CompiledEngine = Literal["int8", "float"]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A compiled model's identity and shape, and whatever else its card tells people.

    file_sha256: of the .tflite that the card stands beside (hex). identity: of the model's numbers (hex).
    notes: the card's other entries (origin, how it was made, measured accuracy, ...), as JSON values.
    """

    name: str
    identity: str
    engine: CompiledEngine
    dimension: int
    licence: str
    input_spec: InputSpec
    file_sha256: str
    notes: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        spec = self.input_spec
        return {
            "name": self.name,
            "identity": self.identity,
            "engine": self.engine,
            "file_sha256": self.file_sha256,
            "licence": self.licence,
            "input": {
                "height": spec.height,
                "width": spec.width,
                "value_range": None if spec.value_range is None else list(spec.value_range),
                "pixel_table": pixel_table_to_json(spec.pixel_table),
            },
            "output": {"dimension": self.dimension},
            **self.notes,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelCard:
        """The inverse of :meth:`to_json`. Raises ModelError where an entry is missing or of another type."""
        known = {"name", "identity", "engine", "file_sha256", "licence", "input", "output"}
        try:
            image = values["input"]
            value_range = image["value_range"]
            return cls(
                name=str(values["name"]),
                identity=str(values["identity"]),
                engine=cast(CompiledEngine, values["engine"]),
                dimension=int(values["output"]["dimension"]),
                licence=str(values["licence"]),
                input_spec=InputSpec(
                    height=int(image["height"]),
                    width=int(image["width"]),
                    value_range=None if value_range is None else (float(value_range[0]), float(value_range[1])),
                    pixel_table=pixel_table_from_json(image["pixel_table"]),
                ),
                file_sha256=str(values["file_sha256"]),
                notes={name: value for name, value in values.items() if name not in known},
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ModelError(f"the model card is damaged: {error!r}") from error

    @classmethod
    def parse(cls, text: str) -> ModelCard:
        """The card in a JSON file's text. Raises ModelError if it is none."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ModelError(f"the model card is damaged: {error}") from error
        return cls.from_json(values)


def pixel_table_to_json(table: tuple[int, ...] | None) -> object:
    """ "identity" for the table that maps every pixel to itself, else the 256 codes, or None."""
    return "identity" if table == tuple(range(256)) else table if table is None else list(table)


def pixel_table_from_json(value: object) -> tuple[int, ...] | None:
    """The inverse of :func:`pixel_table_to_json`. Raises ValueError."""
    if value is None:
        return None
    if value == "identity":
        return tuple(range(256))
    codes = tuple(int(code) for code in cast(list[int], value))
    if len(codes) != 256 or not all(0 <= code <= 255 for code in codes):
        raise ValueError("a pixel table has 256 codes from 0 to 255")
    return codes
