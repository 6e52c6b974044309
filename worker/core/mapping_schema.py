"""The mapping's JSON Schema with real names in it: an editor then offers the fields and labels that there are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from worker.core import mapping_file
from worker.core.attributes import ATTRIBUTES, LISTS, READ_ONLY

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

LINE = "#/$defs/FieldLine"


def live(
    *,
    fields: Mapping[str, str],
    labels: Sequence[str],
    statuses: Sequence[str],
    actions: Sequence[str],
    attributes: Collection[str],
) -> str:
    """Return the schema, as text, for a CRM with these person ``fields`` (name → what it is) and these labels.

    ``statuses`` are those of a task, ``actions`` the entries from which people pick a sequence action, ``attributes`` a
    prospect's. What is empty stays as the file alone knows it. Names with brackets, such as main_location[email], belong to
    records beside the person, of which the CRM does not tell the fields: any may be written.
    """
    whole: dict[str, Any] = json.loads(mapping_file.schema())
    sections, top = whole["$defs"], whole["properties"]
    if fields:
        known = {name: {"$ref": LINE, "description": words} for name, words in sorted(fields.items())}
        top["fields"] |= {
            "properties": known,
            "patternProperties": {r"\[": {"$ref": LINE}},
            "additionalProperties": False,
        }
    if labels:
        top["labels"]["additionalProperties"] = {"enum": list(labels)}
    if statuses:
        _offer(sections["TaskSection"]["properties"]["status"], statuses)
    for word in sections["Words"]["properties"].values() if actions else ():
        _offer(word, actions)
    names = attributes or ATTRIBUTES | READ_ONLY | LISTS
    offered = sorted(f"{name}[0]" if name in LISTS else name for name in names)
    _offer(sections["FieldLine"]["properties"]["outreach"], [*offered, None])
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _offer(told: dict[str, Any], values: Sequence[str | None]) -> None:
    """Let a key hold these values only."""
    for one in ("anyOf", "type", "minLength", "pattern"):
        told.pop(one, None)
    told["enum"] = list(values)
