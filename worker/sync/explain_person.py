"""One prospect and its person, explained: what was asked in which order, what each side holds, and what decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core import consent, masks, transforms
from worker.core import explanation as told
from worker.core.mapping import PERSON_ADDRESSES, Computed
from worker.core.plan import Action
from worker.core.records import System
from worker.core.transforms import Absent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Mapping as Dict
    from datetime import datetime

    from worker.core.consent import Key
    from worker.core.mapping import Field, Mapping
    from worker.core.plan import Decision, PersonPlan, PersonView
    from worker.core.records import Value
    from worker.core.states import Judged
    from worker.store.links import Name
    from worker.sync.case import Permit
    from worker.sync.gather import Batch

SIDES = {System.OUTREACH: "outreach", System.CRM: "workbooks"}
NO, DECIDES, NOT_REACHED = "no", "decides", "not looked at"


@dataclass(frozen=True, slots=True)
class Around:
    """What the store knows of some people beside their views. ``switches`` is the permit of the settings, without pauses."""

    mapping: Mapping
    permit: Permit
    switches: Permit
    pauses: tuple[str, ...]
    batch: Batch
    linked_at: Dict[int, datetime]
    due: Dict[int, told.Due]
    held: Dict[int, tuple[told.Waits, ...]]
    excluded: Dict[int, str]
    names: Dict[int, list[Name]]
    latches: Dict[Name, tuple[datetime, str]]
    liftings: Dict[Key, tuple[datetime, str]]
    history: Dict[int, tuple[told.Wrote, ...]]
    exchanges: Dict[int, tuple[told.Exchanged, ...]]
    personal: bool


def person(around: Around, view: PersonView, planned: PersonPlan) -> told.Person:
    """Return the explanation of one prospect; ``planned`` is what ``plan.plan_person`` made of the very same view."""
    pid, mapping = view.prospect_id, around.mapping
    standing = planned.standing
    label = mapping.labels[standing.label] if standing and standing.label is not None else None
    roll_up = (
        (mapping.roll_up,) if isinstance(mapping.roll_up, str) else tuple(mapping.labels[x] for x in mapping.roll_up)
    )
    kept = _kept_back(around, view, planned)
    return told.Person(
        who=_who(around, view),
        gates=tuple(_gates(around, view, planned, label=label, kept=kept)),
        standing=told.Standing(label, standing.rule if standing else "", standing.at if standing else None, roll_up),
        consent=_consent(around, view, planned),
        sequences=tuple(_in_sequence(line, planned, mapping) for line in (standing.lines if standing else ())),
        plan=told.Planned(
            action=planned.action.value,
            why=planned.why,
            workbooks=tuple(sorted(planned.crm)) if planned.writes_crm else (),
            outreach=tuple(sorted(planned.outreach)),
            fault=planned.fault,
            kept_back=kept,
        ),
        fields=tuple(_field(around, view, planned, line) for line in mapping.fields),
        due=around.due.get(pid),
        held=around.held.get(pid, ()),
        excluded=around.excluded.get(pid),
        history=around.history.get(pid, ()),
        exchanges=around.exchanges.get(pid, ()),
    )


def _who(around: Around, view: PersonView) -> told.Who:
    pid, link, match = view.prospect_id, view.link, around.batch.matches.get(view.prospect_id)
    crm_id = view.person.ref.id if view.person else link.crm_id if link else None
    since = around.linked_at.get(pid)
    if match is not None and match.held:
        return told.Who(pid, crm_id, since, f"not certain: {match.held}", match.candidates)
    if link is not None and link.gone:
        return told.Who(pid, link.crm_id, since, "unlinked on purpose, or by a deletion: they stay apart")
    if view.person is None:
        return told.Who(pid, crm_id, since, "linked, but not visible in the CRM" if link else "nobody in the CRM yet")
    how = _how(around.mapping, view)
    return told.Who(pid, crm_id, since, f"linked: {how}" if link else f"found, and linked with the next write: {how}")


def _how(mapping: Mapping, view: PersonView) -> str:
    """Return what shows that the two are one. How they were first found is in the history."""
    body, prospect = view.person, view.prospect
    signs = []
    if body and str(body.fields.get(mapping.reference) or "").strip() == str(view.prospect_id):
        signs.append(f"{mapping.reference} holds the prospect's id")
    if body and prospect:
        shared = transforms.addresses(prospect, ("emails",)) & transforms.addresses(body, PERSON_ADDRESSES)
        signs += ["they share an e-mail address"] if shared else []
    return ", ".join(signs) or "neither the id nor an address shows it any more"


def _gates(
    around: Around, view: PersonView, planned: PersonPlan, *, label: str | None, kept: str | None
) -> Iterator[told.Gate]:
    """Yield what is asked in order; the first that settles what happens is the deciding one."""
    asked = list(_asked(around, view, planned, label))
    if not any(gate.decides for gate in asked):
        asked.append(_last(planned, kept))
    yield from asked


def _asked(around: Around, view: PersonView, planned: PersonPlan, label: str | None) -> Iterator[told.Gate]:
    pid = view.prospect_id
    match = around.batch.matches.get(pid)
    gone = "is there" if view.prospect else "is not there (deleted, or never seen)"
    yield told.Gate("the prospect in Outreach", gone)
    if match is not None and match.held:
        yield told.Gate("who it is in the CRM", match.held, decides=True)
        return
    yield told.Gate("who it is in the CRM", _who(around, view).how, decides=bool(view.link and view.link.gone))
    out = planned.opt_out
    yield told.Gate("opted out of e-mail", str(out.evidence) if out else "no sign of it counts")
    standing = planned.standing
    yield told.Gate("the state it shows", f"{label or 'left as it is'} ({standing.rule if standing else ''})")
    if view.link and view.link.gone:
        return
    person = "deleted in the CRM" if view.person and view.person.deleted else "there" if view.person else "nobody yet"
    settled = planned.action in {Action.EXCLUDE, Action.RECREATE, Action.UNLINK, Action.CREATE}
    yield told.Gate("the person in the CRM", f"{person}; {planned.why}" if settled else person, decides=settled)
    about = around.held.get(pid, ())
    due = around.due.get(pid)
    if due is not None and due.standing in {"held", "dead"}:
        words = about[0].words if due.standing == "held" and about else due.error or due.standing
        verb = "waits for a person" if due.standing == "held" else "failed, until retried or changed"
        yield told.Gate(verb, words, decides=not settled)
    elif planned.action is Action.HOLD:
        yield told.Gate("waits for a person", planned.why, decides=True)


def _last(planned: PersonPlan, kept: str | None) -> told.Gate:
    fields = (*(planned.crm if planned.writes_crm else ()), *planned.outreach)
    if not fields:
        return told.Gate("what differs", "nothing: both sides agree", decides=True)
    if kept:
        return told.Gate("may it be written", kept, decides=True)
    return told.Gate("what differs", ", ".join(sorted(fields)), decides=True)


def _kept_back(around: Around, view: PersonView, planned: PersonPlan) -> str | None:
    """Return what keeps the plan, or a part of it, from being written now."""
    mine = around.permit.to(view.prospect_id, view.person, view.prospect)
    stopped = (planned.writes_crm and not mine.to_crm) or (planned.outreach and not mine.to_outreach)
    if not stopped:
        return None
    switches = around.switches
    named = switches.only is None or switches.only.has(view.prospect_id, view.person, view.prospect)
    reasons = [
        *around.pauses,
        *(["OUTBOOK_ONLY does not name this person"] if not named else []),
        *(["OUTBOOK_WRITES=none"] if not (switches.to_crm and switches.to_outreach) else []),
    ]
    return "kept back: " + "; ".join(reasons)


def _consent(around: Around, view: PersonView, planned: PersonPlan) -> told.Consent:
    flag = around.mapping.field_of(Computed.OPTED_OUT)
    signs = list(consent.of_prospect(view.prospect)) if view.prospect else []
    opted_out = (one for one in view.states if around.mapping.words.get(one.state) == "opted_out")
    signs += [consent.of_state(one) for one in opted_out]
    for body in (view.person, view.former):
        signs += consent.of_person(body, flag.crm) if body and flag else []
    shown = tuple(
        told.Sign(
            one.words,
            transforms.parse_time(one.mark),
            consent.stands(one, view.lifted),
            around.liftings[one.key][1] if one.key in around.liftings else None,
        )
        for one in signs
    )
    mine = [name for name in around.names.get(view.prospect_id, []) if name in around.latches]
    remembered = tuple(told.Remembered(name.kind, *around.latches[name]) for name in mine)
    return told.Consent(bool(planned.opt_out), planned.opt_out.evidence, shown, remembered)


def _in_sequence(line: Judged, planned: PersonPlan, mapping: Mapping) -> told.InSequence:
    state, standing = line.state, planned.standing
    number = int(line.rule.split(":", 1)[0])
    return told.InSequence(
        sequence=state.sequence.id,
        name=state.sequence.name,
        state=state.id,
        word=state.state,
        label=mapping.labels[line.label] if line.label is not None else None,
        step=state.step,
        changed_at=state.changed_at,
        decides=bool(standing and standing.deciding and standing.deciding.id == state.id),
        rules=tuple(
            told.Tried(at, words, NO if at < number else DECIDES if at == number else NOT_REACHED)
            for at, words, _ in told.RULES
        ),
    )


def _field(around: Around, view: PersonView, planned: PersonPlan, line: Field) -> told.FieldTold:
    decision = next((one for one in planned.decisions if one.field == line.crm), None)
    shadow = view.link.shadow if view.link else None
    now: dict[str, Value] = {}
    if view.person is not None and line.crm in view.person.fields:
        now["workbooks"] = view.person.fields[line.crm]
    source = _source(view, planned, line)
    if not isinstance(source, Absent):
        now["outreach"] = source
    agreed: dict[str, Value] = {}
    for side, half in (("outreach", shadow.outreach), ("workbooks", shadow.crm)) if shadow else ():
        if line.crm in half:
            agreed[side] = half[line.crm]
    return told.FieldTold(
        field=line.crm,
        source=line.outreach or (line.computed.value if line.computed else ""),
        direction=line.direction.value,
        now=_shown(around, line, now),
        agreed=_shown(around, line, agreed),
        writes=_shown(around, line, _writes(decision, planned, line)),
        why=decision.why if decision else "not looked at",
    )


def _source(view: PersonView, planned: PersonPlan, line: Field) -> Value | Absent:
    """Return what Outreach holds of a field, or what Outbook works out for it."""
    if line.outreach:
        return transforms.read(line.outreach, view.prospect.fields) if view.prospect else transforms.ABSENT
    if line.computed is Computed.OPTED_OUT:
        return bool(planned.opt_out)
    return planned.values.get(line.crm, transforms.ABSENT)


def _writes(decision: Decision | None, planned: PersonPlan, line: Field) -> dict[str, Value]:
    found: dict[str, Value] = {}
    if planned.writes_crm and line.crm in planned.crm:
        found["workbooks"] = planned.crm[line.crm]
    if decision and not isinstance(decision.to_outreach, Absent) and line.attribute in planned.outreach:
        found["outreach"] = decision.to_outreach
    return found


def _shown(around: Around, line: Field, values: Dict[str, Value]) -> dict[str, Value]:
    if around.personal or line.computed is not None:
        return dict(values)
    return {side: masks.masked(value) for side, value in values.items()}
