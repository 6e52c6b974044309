"""How the outcome of a batch is told: the success reply of the facts, and failures in any of the shapes seen or said.

Where the vendor shows no JSON (conflicts, partial failures) the option ``failure_shape`` or ``conflict_shape`` decides:

* ``failures``: top level ``failures: [{"index", "id", "field", "message"}]``; ``failure_words``: the messages alone;
* ``information``: ``affected_object_information[i]`` with ``success`` false and ``errors`` ``{field: [words]}``;
* ``errors2009``: ``errors: {"[]": {field: words}}`` and ``affected_object_errors: [{field: [words]}]`` (the manual).

What concerns the whole record and no field of it stands under ``base``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.sim.workbooks_options import Options

STALE = "This record cannot be saved since it has already been updated elsewhere."
GONE = "This record is no longer accessible."
WHOLE = "base"


@dataclass(slots=True)
class Done:
    """An object that was saved; ``told`` is its element of ``affected_objects``."""

    told: dict[str, Any]


@dataclass(slots=True)
class Failed:
    """An object that was not saved. ``conflict``: its lock_version is stale or it is not to be had any more."""

    id: int
    version: int
    errors: dict[str, list[str]]
    conflict: bool = False

    def words(self) -> list[tuple[str, str]]:
        """Return field and message, one pair an error; a field's name leads the words about it."""
        pairs = [(field, one) for field, many in self.errors.items() for one in many]
        return [(field, one if field == WHOLE else f"{_title(field)} {one}") for field, one in pairs]


Outcome = Done | Failed


def _title(field: str) -> str:
    return re.sub(r"^cf_[a-z]+_", "", field).replace("_", " ").replace("[", " ").replace("]", "").strip().capitalize()


def told(outcomes: list[Outcome], options: Options, *, rolled_back: bool) -> dict[str, Any]:
    """Return the reply. ``rolled_back``: a failure anywhere kept every object from being saved."""
    failed = [one for one in outcomes if isinstance(one, Failed)]
    if not failed:
        return {
            "success": True,
            "affected_object_information": [_information(one, options) for one in outcomes],
            "affected_objects": [one.told for one in outcomes if isinstance(one, Done)],
            "flash": "Updated successfully",
            "updates": {},
        }
    shapes = {_shape(one, options) for one in failed if one.errors}
    document: dict[str, Any] = {"success": options.partial_success and not rolled_back, "flash": "", "updates": {}}
    if not rolled_back or "information" in shapes:
        document["affected_objects"] = [_object(one) for one in outcomes]
    if shapes != {"errors2009"} and (not rolled_back or "information" in shapes):
        document["affected_object_information"] = [_information(one, options) for one in outcomes]
    if shapes & {"failures", "failure_words"}:
        document["failures"] = _failures(outcomes, options)
    if "errors2009" in shapes:
        document |= _errors2009(outcomes, options)
    return document


def _shape(one: Failed, options: Options) -> str:
    return options.conflict_shape if one.conflict else options.failure_shape


def _object(one: Outcome) -> dict[str, Any]:
    if isinstance(one, Done):
        return one.told
    return {"id": one.id, "lock_version": one.version} if one.id else {}


def _information(one: Outcome, options: Options) -> dict[str, Any]:
    if isinstance(one, Done):
        return {"success": True, "errors": {}, "warnings": {}}
    errors = one.errors if _shape(one, options) == "information" else {}
    return {"success": False, "errors": errors, "warnings": {}}


def _failures(outcomes: list[Outcome], options: Options) -> list[Any]:
    found: list[Any] = []
    for index, one in enumerate(outcomes):
        if isinstance(one, Done) or _shape(one, options) not in {"failures", "failure_words"}:
            continue
        for field, message in one.words():
            whole = {"index": index, "id": one.id, "field": None if field == WHOLE else field, "message": message}
            found.append(message if _shape(one, options) == "failure_words" else whole)
    return found


def _errors2009(outcomes: list[Outcome], options: Options) -> dict[str, Any]:
    each = [one.errors if isinstance(one, Failed) and _shape(one, options) == "errors2009" else {} for one in outcomes]
    flat = {field: words[0] for errors in each for field, words in errors.items()}
    return {"errors": {"[]": flat}, "affected_object_errors": each}
