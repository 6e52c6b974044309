"""The same facts in other words: what the vendors' documents leave open about the shape of their answers."""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Call, Stage
from tests.e2e.worlds import NO_EMAIL, STATE, TITLE

Json = Any


def _ids_as_text(document: Json) -> Json:
    """Every id a text, as JSON:API has them."""
    if isinstance(document, dict):
        return {
            name: str(value) if name == "id" and isinstance(value, int) else _ids_as_text(value)
            for name, value in document.items()
        }
    return [_ids_as_text(one) for one in document] if isinstance(document, list) else document


def _text_ids(call: Call, document: Json) -> Json:
    return _ids_as_text(document)


def _bare_lists(call: Call, document: Json) -> Json:
    """No meta, and no links at all on the last page."""
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        document.pop("meta", None)
        if "next" not in document.get("links", {}):
            document.pop("links", None)
    return document


def _null_next(call: Call, document: Json) -> Json:
    """The last page's next link is null."""
    if isinstance(document, dict) and isinstance(document.get("links"), dict):
        document["links"].setdefault("next", None)
    return document


def _no_updated_at(call: Call, document: Json) -> Json:
    """The attribute is missing in lists of steps and sequences."""
    for one in document.get("data", []) if isinstance(document.get("data"), list) else []:
        if one["type"] in {"sequence", "sequenceStep"}:
            one["attributes"].pop("updatedAt", None)
    return document


def _relations_beside_links(call: Call, document: Json) -> Json:
    """Relations bear links beside their data, records bear links, and there are members nobody asked for."""
    for one in document.get("data", []) if isinstance(document.get("data"), list) else []:
        one["links"] = {"self": f"/api/v2/x/{one['id']}"}
        one["attributes"]["somethingNew"] = {"deep": [1, None]}
        for relation in one.get("relationships", {}).values():
            relation["links"] = {"related": "/api/v2/y"}
    return document


@pytest.mark.parametrize("shape", [_text_ids, _bare_lists, _null_next, _no_updated_at, _relations_beside_links])
def test_outreach_in_other_words(stage: Stage, shape: Callable[[Call, Json], Json]) -> None:
    """People, states, tasks and opt-outs arrive the same, and the next pass is quiet."""
    stage.servers.outreach.reshape = shape
    stage.servers.outreach.page_size = 3
    _tell_the_story(stage)


def test_servers_that_do_not_tell_the_time(stage: Stage) -> None:
    """Without a Date header from either side our own clock serves."""
    for side in (stage.servers.outreach, stage.servers.crm):
        side.reshape, side.dated = (lambda _call, document: document), False
    _tell_the_story(stage)


def _rows(document: Json) -> list[dict[str, Any]]:
    """The rows of a list, or the objects of a receipt."""
    if not isinstance(document, dict):
        return []
    found = document.get("data") if isinstance(document.get("data"), list) else document.get("affected_objects")
    return [row for row in found or [] if isinstance(row, dict) and "id" in row]


def _numbers_as_text(call: Call, document: Json) -> Json:
    for row in _rows(document):
        for name in ("id", "lock_version", "cf_person_sequence_step"):
            row[name] = str(row[name]) if isinstance(row.get(name), int) else row.get(name)
    return document


def _flags_as_numbers(call: Call, document: Json) -> Json:
    for row in _rows(document):
        for name, value in row.items():
            row[name] = int(value) if isinstance(value, bool) else value
    return document


def _times_as_epoch(call: Call, document: Json) -> Json:
    return _times(document, lambda at: at)


def _times_as_iso(call: Call, document: Json) -> Json:
    return _times(document, lambda at: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)))


def _times(document: Json, form: Callable[[int], object]) -> Json:
    for row in _rows(document):
        for name, value in row.items():
            if isinstance(value, str) and value.endswith(f"UTC {value[-4:]}"):
                row[name] = form(calendar.timegm(time.strptime(value, "%a %b %d %H:%M:%S UTC %Y")))
    return document


def _blanks_as_empty_texts(call: Call, document: Json) -> Json:
    for row in _rows(document):
        for name, value in row.items():
            row[name] = "" if value is None else value
    return document


def _shuffled(call: Call, document: Json) -> Json:
    """Receipts in another order than the objects were sent."""
    if isinstance(document, dict) and document.get("success") is True and document.get("affected_objects"):
        document["affected_objects"].reverse()
        if document.get("affected_object_information"):
            document["affected_object_information"].reverse()
    return document


def _short_receipts(call: Call, document: Json) -> Json:
    """Receipts that tell nothing but id and version."""
    if isinstance(document, dict) and document.get("affected_objects"):
        document["affected_objects"] = [
            {name: row[name] for name in ("id", "lock_version") if name in row} for row in document["affected_objects"]
        ]
    return document


def _only_ids(call: Call, document: Json) -> Json:
    """Receipts that do not even tell the version."""
    if isinstance(document, dict) and document.get("affected_objects"):
        document["affected_objects"] = [{"id": row["id"]} for row in document["affected_objects"] if "id" in row]
    return document


def _no_information(call: Call, document: Json) -> Json:
    """Receipts without the part that tells of each object."""
    if isinstance(document, dict):
        document.pop("affected_object_information", None)
    return document


CRM_SHAPES = [
    _numbers_as_text,
    _flags_as_numbers,
    _times_as_epoch,
    _times_as_iso,
    _blanks_as_empty_texts,
    _shuffled,
    _short_receipts,
    _only_ids,
    _no_information,
]


@pytest.mark.parametrize("shape", CRM_SHAPES)
def test_the_crm_in_other_words(stage: Stage, shape: Callable[[Call, Json], Json]) -> None:
    """People, states, tasks and opt-outs arrive the same, nobody is doubled, and the next pass is quiet."""
    stage.servers.crm.reshape = shape
    _tell_the_story(stage)


def _tell_the_story(stage: Stage) -> None:
    """First pass, edits on both sides, a deletion, a skipped task, an opt-out each way: all arrive, all is quiet after."""
    made = [stage.prospect(f"p{n}@example.com", first=f"P{n}", title="Buyer") for n in range(8)]
    states = [stage.state(one) for one in made]
    stage.person(first="P0", last="Ashby", email="p0@example.com")
    stage.sync()
    assert len(stage.people()) == 8
    assert {stage.person_of(one)[STATE] for one in made} == {worlds.RUNNING}
    stage.settled()
    ids = [stage.person_of(one)["id"] for one in made]
    stage.tell({"op": "pause", "state": states[0]}, {"op": "opt_out", "prospect": made[1]})
    stage.set_prospect(made[2], title="Engineer")
    stage.set_person(ids[3], title="Planner")
    stage.set_person(ids[4], no_email=True)
    stage.delete_person(ids[5])
    task = stage.task(states[6], state="skipped")
    stage.sync()
    assert stage.of_person(ids[0])[STATE] == worlds.PAUSED
    assert [stage.of_person(ids[1])[name] for name in (STATE, NO_EMAIL)] == [worlds.OPTED_OUT, True]
    assert stage.of_person(ids[2])[TITLE] == "Engineer"
    assert stage.of_prospect(made[3])["title"] == "Planner"
    assert stage.of_prospect(made[4])["emailOptedOut"] is True
    assert stage.person_of(made[5])["id"] not in ids
    assert len(stage.cancelled(task)) == 1
    assert len(stage.people()) == 8
    stage.settled()
