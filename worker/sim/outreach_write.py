"""Creating, changing and deleting over the simulated Outreach API, and the member actions: checked, then done."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from worker.sim import outreach_behaviour as behaviour
from worker.sim import outreach_schema as schema
from worker.sim import outreach_webhooks as webhooks
from worker.sim.outreach_errors import invalid, not_found, refusal
from worker.sim.outreach_filters import timestamp
from worker.sim.outreach_world import ME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.sim.control import Request
    from worker.sim.instruments import Json
    from worker.sim.outreach_store import Record, Target
    from worker.sim.outreach_world import World

EMAIL = re.compile(r"^[^@\s,]+@[^@\s,]+\.[^@\s,]+$")
KINDS: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "bool": (bool,),
    "date": (str,),
    "dt": (str,),
    "int": (int,),
    "num": (int, float),
    "obj": (dict,),
    "str": (str,),
}
REQUIRED = {
    "account": ("name",),
    "emailAddress": ("email",),
    "sequence": ("name",),
    "sequenceStep": ("stepType",),
    "webhook": ("url",),
}
REQUIRED_RELATIONS = {"emailAddress": ("prospect",), "sequenceStep": ("sequence",), "task": ("owner", "subject")}


def read(world: World, type_: str, request: Request, *, id_: int | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes and relations of a request's body, checked against the schema. Raises Refusal."""
    try:
        data = json.loads(request.body)["data"]
        given, related = data.get("attributes") or {}, data.get("relationships") or {}
        type_told, id_told = data.get("type"), data.get("id")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise refusal(400, None, "The request body is not a JSON:API document.") from None
    if type_told != type_:
        raise invalid(f"Type '{type_told}' does not match '{type_}'.", "/data/type")
    if id_ is not None and str(id_told) != str(id_):
        raise invalid(f"ID '{id_told}' does not match '{id_}'.", "/data/id")
    known = schema.resource(type_)
    attributes = {name: _attribute(known.attributes.get(name), name, value) for name, value in given.items()}
    relations = {name: _relation(world, known, name, value) for name, value in related.items()}
    return attributes, relations


def _attribute(known: schema.Attribute | None, name: str, value: Json) -> Json:
    pointer = f"/data/attributes/{name}"
    if known is None:
        raise invalid(f"Attribute '{name}' is not known.", pointer)
    if known.read_only:
        raise invalid(f"Attribute '{name}' is read only.", pointer)
    if value is None:
        return None
    if not _is_a(known.kind, value):
        raise invalid(f"Attribute '{name}' has a value of the wrong type.", pointer)
    if known.longest is not None and known.longest >= len("finish") and len(value) > known.longest:
        detail = f"{name} is too long (maximum is {known.longest} characters)."
        raise refusal(422, "validationDataTooLongError", detail, pointer=pointer)
    if known.kind in {"dt", "date"}:
        return _time(value, pointer)
    if name in {"emails", "email"} and not all(EMAIL.match(str(one)) for one in _listed(value)):
        raise invalid("Contacts email is invalid.", pointer)
    return value


def _is_a(kind: str, value: Json) -> bool:
    return isinstance(value, KINDS[kind]) and (kind == "bool" or not isinstance(value, bool))


def _listed(value: Json) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _time(value: str, pointer: str) -> str:
    try:
        return f"{timestamp(value)[:19]}.000Z"
    except ValueError:
        raise invalid(f"'{value}' is not a date.", pointer) from None


def _relation(world: World, known: schema.Resource, name: str, value: Json) -> Target | None:
    pointer = f"/data/relationships/{name}"
    relation = known.relations.get(name)
    if relation is None:
        raise invalid(f"Relationship '{name}' is not known.", pointer)
    if relation.read_only or relation.many is not False:
        raise invalid(f"Relationship '{name}' is read only.", pointer)
    data = value.get("data", ...) if isinstance(value, dict) else ...
    if data is None:
        return None
    if not isinstance(data, dict) or data.get("type") not in relation.types or not str(data.get("id", "")).isdecimal():
        raise invalid(f"Relationship '{name}' is not valid.", pointer)
    target = (str(data["type"]), int(data["id"]))
    if target[0] in schema.PLURALS and world.store.find(target) is None:
        raise invalid(f"{target[0][:1].upper()}{target[0][1:]} must exist.", pointer)
    return target


def create(world: World, type_: str, request: Request) -> Record:
    """Create a record from a request. Raises Refusal."""
    attributes, relations = read(world, type_, request, id_=None)
    for name in REQUIRED.get(type_, ()):
        if not attributes.get(name):
            raise invalid(f"{name} can't be blank.", f"/data/attributes/{name}")
    for name in REQUIRED_RELATIONS.get(type_, ()):
        if relations.get(name) is None:
            raise invalid(f"{name} must exist.", f"/data/relationships/{name}")
    if type_ == "sequenceState":
        return behaviour.enrol(world, relations)
    if type_ == "prospect":
        return _create_prospect(world, attributes, relations)
    if type_ == "task":
        subject = relations["subject"]
        relations["prospect"] = subject if subject[0] == "prospect" else None
        attributes.setdefault("dueAt", world.now())
    if type_ == "webhook":
        webhooks.check(attributes)
    told = {"owner", "creator", "updater"} & schema.resource(type_).relations.keys()
    return world.create(type_, attributes, {**dict.fromkeys(told, ME), **relations})


def _create_prospect(world: World, attributes: dict[str, Any], relations: dict[str, Any]) -> Record:
    behaviour.claim_addresses(world, None, attributes.get("emails"))
    attributes.setdefault("externalSource", "outreach-api")
    wanted = behaviour.widened(world, None, attributes)
    prospect = world.create("prospect", wanted, {"owner": ME, "creator": ME, **relations})
    if behaviour.out_of_email(prospect):
        world.event("opt_out" if prospect.get("optedOut") else "emails_opt_out", prospect)
    return prospect


def update(world: World, record: Record, request: Request) -> None:
    """Change a record as a request asks. Raises Refusal."""
    attributes, relations = read(world, record.type, request, id_=record.id)
    if record.type == "prospect":
        if "emails" in attributes:
            behaviour.claim_addresses(world, record, attributes["emails"])
        behaviour.change_prospect(world, record, attributes, {**relations, "updater": ME})
        return
    more: dict[str, Any] = {}
    if record.type == "webhook":
        webhooks.check({name: record.get(name) for name in schema.resource("webhook").attributes} | attributes)
        more = dict.fromkeys(("disabledReason", "disabledSince", "disabledUntil"))
        world.courier.forgive(record)
    world.update(record, {**attributes, **more}, relations)


def change_sequence(world: World, sequence: Record, *, enabled: bool) -> None:
    """Enable or disable a sequence; whether that moves ``updatedAt`` is not established, hence an option."""
    changes = {"enabled": enabled} | ({"enabledAt": world.now()} if enabled else {})
    world.update(sequence, changes, touch=world.options.enable_touches)


def act(world: World, record: Record, verb: str, parameters: Mapping[str, str]) -> None:
    """Carry out ``POST /{plural}/{id}/actions/{verb}``; ``parameters`` are the ``actionParams``. Raises Refusal."""
    action = ACTIONS.get((record.type, verb))
    if action is None:
        raise refusal(404, "routeNotFound", f"The action '{verb}' was not found.")
    action(world, record, parameters)


def _pause(world: World, state: Record, _: Mapping[str, str]) -> None:
    behaviour.pause(world, state)


def _resume(world: World, state: Record, _: Mapping[str, str]) -> None:
    behaviour.resume(world, state)


def _finish(world: World, state: Record, _: Mapping[str, str]) -> None:
    behaviour.finish(world, state)


def _activate(world: World, sequence: Record, _: Mapping[str, str]) -> None:
    change_sequence(world, sequence, enabled=True)


def _deactivate(world: World, sequence: Record, _: Mapping[str, str]) -> None:
    change_sequence(world, sequence, enabled=False)


def _mark_complete(world: World, task: Record, told: Mapping[str, str]) -> None:
    behaviour.complete(world, task, note=told.get("completionNote"), outcome=told.get("completionAction"))


def _advance(world: World, task: Record, _: Mapping[str, str]) -> None:
    if not str(task.get("taskType")).startswith("sequence_step_"):
        raise invalid("Only a sequence step's task can be advanced.")
    behaviour.complete(world, task)


def _reschedule(world: World, task: Record, told: Mapping[str, str]) -> None:
    if not told.get("dueAt"):
        raise refusal(400, None, "actionParams[dueAt] is required.")
    world.update(task, {"dueAt": _time(told["dueAt"], "/actionParams/dueAt")})


def _snooze(world: World, task: Record, _: Mapping[str, str]) -> None:
    world.update(task, {"dueAt": behaviour.snoozed(world, task)})


def _update_note(world: World, task: Record, told: Mapping[str, str]) -> None:
    if "note" not in told:
        raise refusal(400, None, "actionParams[note] is required.")
    world.update(task, {"note": told["note"]})


def _reassign(world: World, task: Record, told: Mapping[str, str]) -> None:
    owner = told.get("ownerId", "")
    if not owner.isdecimal():
        raise refusal(400, None, "actionParams[ownerId] is required.")
    if int(owner) not in world.store["user"].rows:
        raise not_found("user", owner)
    world.update(task, {}, {"owner": ("user", int(owner))})


def _deliver(world: World, task: Record, _: Mapping[str, str]) -> None:
    if task.get("action") != "email":
        raise invalid("Only an email task can be delivered.")
    behaviour.complete(world, task)


def _log_meeting(world: World, task: Record, _: Mapping[str, str]) -> None:
    if task.get("action") != "in_person":
        raise invalid("Only an in person task can be logged.")
    behaviour.complete(world, task)


def _associate(world: World, task: Record, told: Mapping[str, str]) -> None:
    world.update(task, {"opportunityAssociation": told.get("opportunityAssociation")})


ACTIONS: dict[tuple[str, str], Callable[[World, Record, Mapping[str, str]], None]] = {
    ("sequenceState", "pause"): _pause,
    ("sequenceState", "resume"): _resume,
    ("sequenceState", "finish"): _finish,
    ("sequence", "activate"): _activate,
    ("sequence", "deactivate"): _deactivate,
    ("task", "advance"): _advance,
    ("task", "deliver"): _deliver,
    ("task", "logMeetInPerson"): _log_meeting,
    ("task", "markComplete"): _mark_complete,
    ("task", "reassignOwner"): _reassign,
    ("task", "reschedule"): _reschedule,
    ("task", "snooze"): _snooze,
    ("task", "updateNote"): _update_note,
    ("task", "updateOpportunityAssociation"): _associate,
}
