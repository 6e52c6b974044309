"""What ``POST /_sim/edit`` can make happen: raw edits, and the verbs of a story, as if users did it in the browser.

Raw: ``{"op": "set", "type": "prospect", "id": 9, "attributes": {...}, "relations": {"owner": 2}, "touch": true}``,
``{"op": "create", "type", "attributes", "relations", "id"?}``, ``{"op": "delete", "type", "id"}``. They check nothing.

Verbs, named by ``op`` too; where one needs one id, it may also be called ``id``:
``pause``, ``resume``, ``finish``, ``activate``, ``fail``, ``bounce``, ``disable``, ``advance`` of ``{"state": id}``;
``opt_out``, ``opt_in`` of ``{"prospect": id, "how": "manual" | "unsubscribe" | "address"}`` (``unsubscribe`` marks the
first emailAddress as well, ``address`` that alone);
``skip_task`` of ``{"task": id, "how": "state" | "autoskip" | "gone"}``, ``complete_task`` of ``{"task": id}``;
``enable_sequence``, ``disable_sequence`` of ``{"sequence": id}``;
``hide`` of ``{"type", "ids": [...], "hanging": false}`` keeps records from the token without deleting them, with what
hangs on them if wanted; ``show`` ends that, of everything where no ``type`` is named;
``option`` of ``{"name", "value"}`` changes one of :class:`~worker.sim.outreach_options.Options` until the next reset;
``enrol`` of ``{"prospect": id, "sequence": id, "state"?: "active"}``; ``merge`` of ``{"winner": id, "loser": id}``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.sim import outreach_behaviour as behaviour
from worker.sim import outreach_schema as schema
from worker.sim.outreach_errors import Refusal
from worker.sim.outreach_world import CASCADES
from worker.sim.outreach_write import change_sequence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.sim.outreach_store import Record, Target
    from worker.sim.outreach_world import World

UNMARKED = {"unsubscribedAt": None, "status": None}
MOVES = {"pause": "paused", "resume": "active", "finish": "finished", "activate": "active"}
MOVES |= {"fail": "failed", "bounce": "bounced", "disable": "disabled"}


def tell(world: World, edit: Mapping[str, Any]) -> list[Record]:
    """Do one edit and return the records it changed. Raises KeyError or ValueError if it makes no sense."""
    verb = edit.get("op") or edit.get("verb")
    if verb in RAW:
        return RAW[verb](world, edit)
    if verb in MOVES:
        return _move(world, _one(world, edit, "sequenceState", "state"), verb)
    if verb in VERBS:
        try:
            return VERBS[verb](world, edit)
        except Refusal as refused:
            raise ValueError(refused.document["errors"][0]["detail"]) from refused
    raise ValueError(f"no verb {verb!r}; there are {', '.join(sorted([*RAW, *MOVES, *VERBS]))}")


def _one(world: World, edit: Mapping[str, Any], type_: str, name: str) -> Record:
    id_ = int(edit[name] if name in edit else edit["id"])
    if id_ not in world.store[type_].rows:
        raise KeyError(f"no {type_} {id_}")
    return world.store[type_].rows[id_]


def _targets(type_: str, relations: Mapping[str, Any]) -> dict[str, Target | None]:
    known = schema.resource(type_).relations
    return {name: None if id_ is None else (known[name].types[0], int(id_)) for name, id_ in relations.items()}


def _set(world: World, edit: Mapping[str, Any]) -> list[Record]:
    record = _one(world, edit, edit["type"], "id")
    related = _targets(record.type, edit.get("relations") or {})
    world.update(record, edit.get("attributes") or {}, related, touch=edit.get("touch", True))
    return [record]


def _create(world: World, edit: Mapping[str, Any]) -> list[Record]:
    related = _targets(edit["type"], edit.get("relations") or {})
    return [world.create(edit["type"], edit.get("attributes") or {}, related, id=int(edit.get("id") or 0))]


def _delete(world: World, edit: Mapping[str, Any]) -> list[Record]:
    record = _one(world, edit, edit["type"], "id")
    world.delete(record)
    return [record]


def _move(world: World, state: Record, verb: str) -> list[Record]:
    """Move a state wherever the story wants it, without the API's preconditions."""
    now, value = world.now(), MOVES[verb]
    more: dict[str, Any] = {"pauseReason": "user" if verb == "pause" else None}
    if value == "active":
        more["activeAt"] = now
    if verb in {"fail", "bounce"}:
        counter = {"fail": "failureCount", "bounce": "bounceCount"}[verb]
        more |= {"errorReason": f"{verb} in the story", counter: state.get(counter) + 1}
    behaviour.to_state(world, state, value, event="resumed" if verb == "resume" else None, **more)
    return [state]


def _advance(world: World, edit: Mapping[str, Any]) -> list[Record]:
    state = _one(world, edit, "sequenceState", "state")
    behaviour.advance(world, state)
    return [state]


def _opt(world: World, edit: Mapping[str, Any]) -> list[Record]:
    prospect = _one(world, edit, "prospect", "prospect")
    out = (edit.get("op") or edit.get("verb")) == "opt_out"
    how = edit.get("how", "manual")
    if how != "address":
        behaviour.change_prospect(world, prospect, {"emailOptedOut": out})
    for address in world.store.seen_from(prospect, "emailAddresses")[:1] if how != "manual" else ():
        told = {"unsubscribedAt": world.now(), "status": "unsubscribed"} if out else UNMARKED
        world.update(address, {**told, "statusChangedAt": world.now()})
    return [prospect, *behaviour.states_of(world, prospect)]


def _skip_task(world: World, edit: Mapping[str, Any]) -> list[Record]:
    task = _one(world, edit, "task", "task")
    behaviour.skip(world, task, edit.get("how", "state"))
    return [task, *world.store.seen_from(task, "sequenceState")]


def _complete_task(world: World, edit: Mapping[str, Any]) -> list[Record]:
    task = _one(world, edit, "task", "task")
    behaviour.complete(world, task)
    return [task, *world.store.seen_from(task, "sequenceState")]


def _switch_sequence(world: World, edit: Mapping[str, Any]) -> list[Record]:
    sequence = _one(world, edit, "sequence", "sequence")
    change_sequence(world, sequence, enabled=(edit.get("op") or edit.get("verb")) == "enable_sequence")
    return [sequence]


def _enrol(world: World, edit: Mapping[str, Any]) -> list[Record]:
    related: dict[str, Target | None] = {name: (name, int(edit[name])) for name in ("prospect", "sequence")}
    state = behaviour.enrol(world, related)
    if edit.get("state", "pending") != "pending":
        now = world.now()
        world.update(state, {"state": edit["state"], "activeAt": now, "stateChangedAt": now})
    return [state]


def _merge(world: World, edit: Mapping[str, Any]) -> list[Record]:
    """Give the loser's states, tasks and addresses to the winner and delete it; an opt-out survives."""
    winner, loser = (_one(world, {"id": edit[name]}, "prospect", "id") for name in ("winner", "loser"))
    emails = [*(winner.get("emails") or ()), *(loser.get("emails") or ())]
    out = behaviour.out_of_email(loser)
    changed = []
    for type_ in ("sequenceState", "task"):
        for id_ in sorted(world.store[type_].pointing("prospect", loser.id)):
            row = world.store[type_].rows[id_]
            moved: dict[str, Target | None] = {"prospect": ("prospect", winner.id)}
            world.update(row, {}, moved | ({"subject": ("prospect", winner.id)} if type_ == "task" else {}))
            changed.append(row)
    world.delete(loser)
    behaviour.change_prospect(world, winner, {"emails": emails} | ({"emailOptedOut": True} if out else {}))
    return [winner, loser, *changed]


def _hide(world: World, edit: Mapping[str, Any]) -> list[Record]:
    """Keep records from the token: neither lists, nor look-ups by id, nor webhooks tell them any more."""
    for id_ in map(int, edit["ids"]):
        world.store[edit["type"]].hidden.add(_one(world, {"id": id_}, edit["type"], "id").id)
        for type_, relation in CASCADES.get(edit["type"], ()) if edit.get("hanging") else ():
            world.store[type_].hidden |= world.store[type_].pointing(relation, id_)
    return []


def _show(world: World, edit: Mapping[str, Any]) -> list[Record]:
    """Let the token see records again."""
    types = [edit["type"]] if "type" in edit else list(world.store.tables)
    for table in (world.store[type_] for type_ in types):
        table.hidden -= set(map(int, edit.get("ids", table.hidden)))
    return []


def _option(world: World, edit: Mapping[str, Any]) -> list[Record]:
    world.choose(edit["name"], edit["value"])
    return []


RAW = {"set": _set, "create": _create, "delete": _delete}
VERBS = {
    "advance": _advance,
    "complete_task": _complete_task,
    "disable_sequence": _switch_sequence,
    "enable_sequence": _switch_sequence,
    "enrol": _enrol,
    "hide": _hide,
    "merge": _merge,
    "opt_in": _opt,
    "option": _option,
    "opt_out": _opt,
    "show": _show,
    "skip_task": _skip_task,
}
