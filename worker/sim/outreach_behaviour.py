"""What happens of itself in Outreach when somebody opts out, is enrolled, moves on a step or has a task done."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from worker.sim.outreach_errors import invalid, refusal
from worker.sim.outreach_store import stamp
from worker.sim.outreach_world import ME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.sim.instruments import Json
    from worker.sim.outreach_store import Record, Target
    from worker.sim.outreach_world import World

LEFT_BY_OPT_OUT = frozenset({"active", "paused", "pending"})
TASK_TYPES = {"call": "call", "task": "action_item", "manual_email": "email"}
"""Step type to the action of the task it makes; ``auto_email`` makes none."""
STEP_TASK_TYPES = {"call": "sequence_step_call", "task": "sequence_step_task", "manual_email": "sequence_step_email"}
CHANNELS = {
    "emailsOptStatus": "email",
    "emailOptedOut": "email",
    "callsOptStatus": "call",
    "callOptedOut": "call",
    "optedOut": "",
}
"""Writable attribute to the channel it is about, blank for all; of several in one request the last here counts."""
STATUS = {
    "email": ("emailOptedOut", "emailsOptStatus", "emailsOptedAt"),
    "call": ("callOptedOut", "callsOptStatus", "callsOptedAt"),
}


def widened(world: World, prospect: Record | None, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return written prospect attributes with what opting out or back in entails.

    Without the organisation's granular opt-out any channel widens to all of them (support article 360020110033; the
    attributes' descriptions in the OpenAPI document). Stamps are set when it becomes true and cleared when it ends.
    """
    written = dict(attributes)
    for name, channel in CHANNELS.items():
        if name not in attributes:
            continue
        value = attributes[name]
        out = value == "opted_out" if name.endswith("Status") else bool(value)
        everything = not channel or not world.options.granular_opt_out
        for names in STATUS.values() if everything else [STATUS[channel]]:
            _switch(world, prospect, written, names, out=out)
        if everything:
            before = bool(prospect.get("optedOut")) if prospect else False
            written["optedOut"] = out
            if out != before:
                written["optedOutAt"] = world.now() if out else None
    return written


def _switch(
    world: World, prospect: Record | None, written: dict[str, Any], names: tuple[str, str, str], *, out: bool
) -> None:
    flag, status, at = names
    before = bool(prospect.get(flag)) if prospect is not None else False
    written[flag] = out
    if out != before:
        written[status] = "opted_out" if out else "opted_in"
        written[at] = world.now() if out else None


def out_of_email(prospect: Record) -> bool:
    """Return whether e-mail may not be sent to a prospect."""
    flags = bool(prospect.get("optedOut") or prospect.get("emailOptedOut"))
    return flags or prospect.get("emailsOptStatus") == "opted_out"


def change_prospect(
    world: World,
    prospect: Record,
    attributes: Mapping[str, Any],
    relations: Mapping[str, Target | None] | None = None,
) -> None:
    """Write a prospect; opting out takes it out of its running sequences, transactional ones excepted."""
    was_out, was_all, was_mute = out_of_email(prospect), bool(prospect.get("optedOut")), prospect.get("callOptedOut")
    world.update(prospect, widened(world, prospect, attributes), relations)
    is_out, is_all = out_of_email(prospect), bool(prospect.get("optedOut"))
    if was_all != is_all:
        world.event("opt_out" if is_all else "opt_out_revert", prospect)
    elif was_out != is_out:
        world.event("emails_opt_out" if is_out else "emails_opt_out_revert", prospect)
    if was_all == is_all and was_mute != prospect.get("callOptedOut"):
        world.event("calls_opt_out_revert" if was_mute else "calls_opt_out", prospect)
    if is_out and not was_out:
        leave_sequences(world, prospect)


def leave_sequences(world: World, prospect: Record) -> None:
    """End the running states of somebody who opted out."""
    for state in states_of(world, prospect):
        sequence = world.store.find(state.relations.get("sequence"))
        if state.get("state") in LEFT_BY_OPT_OUT and not (sequence is not None and sequence.get("transactional")):
            to_state(world, state, world.options.opt_out_state, optOutCount=state.get("optOutCount") + 1)


def states_of(world: World, prospect: Record) -> list[Record]:
    """Return a prospect's sequence states by id."""
    return world.store.seen_from(prospect, "sequenceStates")


def to_state(world: World, state: Record, value: str, *, event: str | None = None, **more: Json) -> None:
    """Move a sequence state to another value, now."""
    named = event or {"finished": "finished", "paused": "paused"}.get(value)
    name = f"sequence_state_{named}" if named else None
    world.update(state, {"state": value, "stateChangedAt": world.now(), **more}, event=name)


def pause(world: World, state: Record, reason: str | None = "user") -> None:
    """Pause an active state. Raises Refusal on any other."""
    _needs(state, "active", "paused")
    to_state(world, state, "paused", pauseReason=reason)


def resume(world: World, state: Record) -> None:
    """Let a paused state run on. Raises Refusal on any other."""
    _needs(state, "paused", "resumed")
    to_state(world, state, "active", event="resumed", activeAt=world.now(), pauseReason=None)


def finish(world: World, state: Record, **more: Json) -> None:
    """Finish an active state. Raises Refusal on any other."""
    _needs(state, "active", "finished")
    to_state(world, state, "finished", **more)


def _needs(state: Record, wanted: str, done: str) -> None:
    if state.get("state") != wanted:
        raise invalid(f"Sequence state must be {wanted} to be {done}, but is {state.get('state')}.")


def steps_of(world: World, sequence: Target | None) -> list[Record]:
    """Return a sequence's steps in their order."""
    found = world.store.find(sequence)
    steps = world.store.seen_from(found, "sequenceSteps") if found is not None else []
    return sorted(steps, key=lambda step: (step.get("order") or 0, step.id))


def advance(world: World, state: Record) -> None:
    """Move a state to its next step, whose task comes into being; after the last one it is finished."""
    steps = steps_of(world, state.relations.get("sequence"))
    at = world.store.find(state.relations.get("sequenceStep"))
    later = [step for step in steps if at is None or (step.get("order") or 0) > (at.get("order") or 0)]
    if not later:
        to_state(world, state, "finished")
        return
    world.update(state, {}, {"sequenceStep": ("sequenceStep", later[0].id)}, event="sequence_state_advanced")
    step_task(world, state, later[0])


def step_task(world: World, state: Record, step: Record) -> Record | None:
    """Create the task of a step for a state, if its type makes one."""
    kind = step.get("stepType")
    if kind not in TASK_TYPES:
        return None
    now = world.now()
    told = {
        "action": TASK_TYPES[kind],
        "taskType": STEP_TASK_TYPES[kind],
        "state": "incomplete",
        "dueAt": now,
        "scheduledAt": now,
        "stateChangedAt": now,
        "note": step.get("taskNote"),
    }
    return world.create("task", told, task_relations(world, state, step))


def task_relations(world: World, state: Record, step: Record) -> dict[str, Target | None]:
    """Return what the task of a step points at."""
    prospect = world.store.find(state.relations.get("prospect"))
    owner = prospect.relations.get("owner") if prospect is not None else None
    return {
        "prospect": state.relations.get("prospect"),
        "subject": state.relations.get("prospect"),
        "sequence": state.relations.get("sequence"),
        "sequenceState": (state.type, state.id),
        "sequenceStep": (step.type, step.id),
        "creator": (step.type, step.id),
        "owner": owner or ME,
    }


def complete(world: World, task: Record, *, note: str | None = None, outcome: str | None = None) -> None:
    """Complete a task as the token's user; a sequence's task moves its state on. Raises Refusal if it is complete."""
    if task.get("completed"):
        raise invalid("Task has already been completed.")
    _done(world, task, {"note": note} if note else {}, ME)
    state = world.store.find(task.relations.get("sequenceState"))
    if state is None or state.get("state") != "active":
        return
    if outcome in {"finish_no_reply", "finish_replied"}:
        replied = {"repliedAt": world.now(), "replyCount": state.get("replyCount") + 1}
        finish(world, state, **(replied if outcome == "finish_replied" else {}))
    else:
        advance(world, state)


def _done(world: World, task: Record, more: Mapping[str, Any], completer: Target | None) -> None:
    now = world.now()
    done = {"completed": True, "completedAt": now, "state": "complete", "stateChangedAt": now}
    world.update(task, {**done, **more}, {"completer": completer}, event="task_completed")


def skip(world: World, task: Record, how: str) -> None:
    """Skip a task in one of the ways it may look (fact sheet 6.5; none is proven), and move its state on.

    ``state``: a literal ``skipped``. ``autoskip``: completed by nobody, ``autoskipAt`` not after ``completedAt``.
    ``gone``: the task disappears. Raises ValueError on any other way.
    """
    state = world.store.find(task.relations.get("sequenceState"))
    if how == "state":
        world.update(task, {"state": "skipped", "stateChangedAt": world.now()})
    elif how == "autoskip":
        _done(world, task, {"autoskipAt": world.now()}, None)
    elif how == "gone":
        world.delete(task)
    else:
        raise ValueError(how)
    if state is not None:
        advance(world, state)


def snoozed(world: World, task: Record) -> str:
    """Return the due time of a task put off by a day, from its due time or now."""
    due = task.get("dueAt") or world.now()
    return stamp(datetime.fromisoformat(due) + timedelta(days=1))


def enrol(world: World, relations: Mapping[str, Target | None], *, creator: Target = ME) -> Record:
    """Put a prospect into a sequence; the state is ``pending``. Raises Refusal as the vendor is known to."""
    prospect, sequence = world.store.find(relations.get("prospect")), world.store.find(relations.get("sequence"))
    if prospect is None or sequence is None:
        missing = "Prospect" if prospect is None else "Sequence"
        raise invalid(f"{missing} must exist.", f"/data/relationships/{missing.lower()}")
    _may_enrol(world, prospect, sequence)
    sender = relations.get("user") or prospect.relations.get("owner") or ME
    if (user := world.store.find(sender)) is not None and user.get("locked"):
        raise invalid("User is locked.")
    steps = steps_of(world, ("sequence", sequence.id))
    now = world.now()
    related: dict[str, Target | None] = {
        "sequenceStep": (steps[0].type, steps[0].id) if steps else None,
        "creator": creator,
        "user": sender,
        "account": prospect.relations.get("account"),
    }
    return world.create("sequenceState", {"state": "pending", "stateChangedAt": now}, {**related, **relations})


def _may_enrol(world: World, prospect: Record, sequence: Record) -> None:
    states = states_of(world, prospect)
    target = (sequence.type, sequence.id)
    if not world.options.permit_duplicates and any(state.relations.get("sequence") == target for state in states):
        raise invalid("Prospect has already been in this sequence.")
    exclusive = world.options.exclusive_sequences
    running = {state.relations["sequence"] for state in states if state.get("state") in LEFT_BY_OPT_OUT}
    if running and (sequence.id in exclusive or any(other and other[1] in exclusive for other in running)):
        raise invalid("Prospect is active in another exclusive sequence.")
    mails = any((step.get("stepType") or "").endswith("email") for step in steps_of(world, target))
    if out_of_email(prospect) and mails and not sequence.get("transactional"):
        raise invalid("Prospect has opted out of email.")
    if sequence.get("locked"):
        raise invalid("Sequence is locked.")


def claim_addresses(world: World, prospect: Record | None, emails: Json) -> None:
    """Raise Refusal if an address belongs to another prospect, stands twice, or is excluded by the organisation."""
    wanted = [str(email).lower() for email in emails or ()]
    if len(set(wanted)) < len(wanted):
        raise refusal(422, "validationDuplicateValueError", "Contacts email is given twice.", pointer="/data")
    for email in wanted:
        if email in world.options.excluded_emails:
            raise invalid("Contacts contact is using an excluded email address.")
        if world.store["prospect"].holding("emails", email) - ({prospect.id} if prospect is not None else set()):
            raise invalid("Contacts email hash has already been taken.")
