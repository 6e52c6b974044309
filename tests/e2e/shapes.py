"""The shapes of `--json` documents, written by hand: nothing beside what is named, and everything that is."""

from __future__ import annotations

from typing import Any

import jsonschema  # type: ignore[import-untyped]

Shape = dict[str, Any]

NUMBER: Shape = {"type": "integer"}
TEXT: Shape = {"type": "string"}
FLAG: Shape = {"type": "boolean"}
SECONDS: Shape = {"type": "number"}
MOMENT: Shape = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"}
DAY: Shape = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"}
ANYTHING: Shape = {}


def maybe(one: Shape) -> Shape:
    """That, or null."""
    return {"anyOf": [one, {"type": "null"}]}


def many(one: Shape) -> Shape:
    """A list of those."""
    return {"type": "array", "items": one}


def shape(optional: dict[str, Shape] | None = None, /, **fields: Shape) -> Shape:
    """An object with exactly these keys, and perhaps some of the optional ones."""
    properties = fields | (optional or {})
    return {"type": "object", "properties": properties, "required": list(fields), "additionalProperties": False}


def fits(document: object, wanted: Shape) -> None:
    """Raise unless the document is of the shape."""
    jsonschema.validate(document, wanted)
