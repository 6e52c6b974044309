"""What a person should look like on both sides, as data: decided once, here, for `sync`, `--dry-run` and the workers.

Everything is handed in and nothing is changed: no clock, no I/O, no log.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from worker.core import consent, merge, states, transforms
from worker.core.mapping import (
    OPT_OUT_ATTRIBUTES,
    STANDING,
    Computed,
    CreatePeople,
    OnCrmDelete,
    OnOutreachDelete,
)
from worker.core.records import Shadow
from worker.core.states import OptOut, Standing
from worker.core.transforms import ABSENT, Absent

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping as Dict

    from worker.core.consent import Key, Lifted
    from worker.core.mapping import Field, Mapping, Share
    from worker.core.records import Link, Snapshot, Value
    from worker.core.states import StateView


UNSHADOWED = frozenset({Computed.OPTED_OUT, Computed.SYNC_REQUEST})
"""Fields of which no shadow is kept: an opt-out is a latch, not a value, and a wish is only read."""


OPTED_IN = "opted in again by hand"
GONE = "the prospect was deleted in Outreach"
PENDING = ""
"""Under this name, which no field bears, the CRM's half of a shadow lists the fields whose edits have not travelled yet."""
LET_GO = ""
"""Under this name Outreach's half says that somebody decided to unlink a person whose prospect is gone."""


class Action(StrEnum):
    """What is to be done in the CRM for one person."""

    NOTHING = "nothing"
    CREATE = "create"
    UPDATE = "update"
    RECREATE = "recreate"
    UNLINK = "unlink"
    EXCLUDE = "exclude"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class PersonView:
    """All that is known of one prospect and its person, put together by ``sync`` from the mirror.

    ``prospect`` is None once Outreach no longer has it. ``person`` is the linked person, perhaps a tombstone; ``former``
    the deleted one whose link a living person has just taken over. ``lifted`` are the signs of an opt-out that somebody
    lifted, ``stopped`` the CRM fields that are not written just now.
    """

    prospect_id: int
    prospect: Snapshot | None
    states: tuple[StateView, ...] = ()
    person: Snapshot | None = None
    link: Link | None = None
    former: Snapshot | None = None
    latched: bool = False
    stopped: frozenset[str] = frozenset()
    lifted: Dict[Key, Lifted] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """One field's fate, for the history and for `explain`."""

    field: str
    why: str
    to_crm: Value | Absent = ABSENT
    to_outreach: Value | Absent = ABSENT
    asks: bool = False


@dataclass(frozen=True, slots=True)
class PersonPlan:
    """What to write where, and why.

    ``crm`` are CRM fields, ``outreach`` attributes of the prospect. ``values`` are the computed values as they stand, by
    CRM field. ``fault`` is the reason for which the record fails although the rest of it is written; ``waits`` says that
    somebody has to decide about the record as a whole: all that is written meanwhile is an opt-out, and these words.
    """

    action: Action
    why: str
    crm: Dict[str, Value] = field(default_factory=dict)
    outreach: Dict[str, Value] = field(default_factory=dict)
    values: Dict[str, Value] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()
    standing: Standing | None = None
    opt_out: OptOut = field(default_factory=OptOut)
    overwritten: int = 0
    fault: str | None = None
    waits: bool = False

    @property
    def asked(self) -> frozenset[str]:
        """The fields whose conflict a person has to decide: both sides keep theirs until then."""
        return frozenset(decision.field for decision in self.decisions if decision.asks)

    @property
    def writes_crm(self) -> bool:
        """Tell whether the CRM is to be written."""
        return self.action in {Action.CREATE, Action.RECREATE} or (self.action is Action.UPDATE and bool(self.crm))


def opt_out_of(view: PersonView, mapping: Mapping) -> OptOut:
    """Return the first evidence, on either side or remembered, that this person opted out of e-mail, and since when."""
    fields = view.prospect.fields if view.prospect else {}
    at = transforms.parse_time(fields.get("optedOutAt")) or transforms.parse_time(fields.get("emailsOptedAt"))
    for sign in consent.of_prospect(view.prospect) if view.prospect else ():
        if consent.stands(sign, view.lifted):
            return OptOut(sign.words, at)
    counting = [state for state in view.states if consent.stands(consent.of_state(state), view.lifted)]
    in_states = states.evidence_in(counting, mapping.words)
    if in_states:
        return OptOut(in_states, at)
    if view.latched:
        return OptOut("remembered", at)
    flag = mapping.field_of(Computed.OPTED_OUT)
    for person in (view.person, view.former):
        for sign in consent.of_person(person, flag.crm) if flag and person else ():
            if consent.stands(sign, view.lifted):
                return OptOut(sign.words, at)
    return OptOut()


def prospect_opted_out(fields: Dict[str, Value]) -> str | None:
    """Return the attribute that says the prospect is opted out of e-mail (facts, outreach-api 6.4), or None."""
    for name in ("optedOut", "emailOptedOut"):
        if transforms.flag(fields.get(name)):
            return name
    return "emailsOptStatus" if fields.get("emailsOptStatus") == "opted_out" else None


def plan_person(view: PersonView, mapping: Mapping) -> PersonPlan:
    """Return what to do about one prospect and its person."""
    opt_out = opt_out_of(view, mapping)
    standing = states.roll_up(view.states, mapping.words, mapping.roll_up, opt_out)
    values = _computed(view, mapping, standing)
    draft = _draft(view, mapping, values, opt_out)
    plan = replace(draft, standing=standing, opt_out=opt_out, fault=_unmapped(standing))
    if view.link and view.link.gone:
        return replace(held(plan), action=Action.NOTHING, why="unlinked: it stays so")
    if _is_anothers(view, mapping):
        return only_opt_out(replace(plan, action=Action.UPDATE, why="whoever was entered anew has taken over"), mapping)
    if _is_asked_about(view, mapping):
        return _waiting(mapping, plan if view.person else replace(plan, crm={}))
    if view.person is None:
        return _absent_person(view, mapping, plan)
    if view.person.deleted:
        return _deleted_person(view, mapping, plan, view.person.fields)
    return replace(plan, action=Action.UPDATE if plan.crm else Action.NOTHING, why=standing.rule)


def _is_anothers(view: PersonView, mapping: Mapping) -> bool:
    """Tell whether the person of a prospect that is gone bears another's id: taken over since the link was looked at."""
    borne = view.person.fields.get(mapping.reference) if view.person and not view.person.deleted else None
    return view.prospect is None and str(borne or "") not in {"", str(view.prospect_id)}


def _is_asked_about(view: PersonView, mapping: Mapping) -> bool:
    """Tell whether somebody has to decide about a person whose prospect is gone; who is gone on both sides just ends."""
    asks = view.prospect is None and mapping.on_outreach_delete is OnOutreachDelete.ASK
    if not asks or view.link is None or view.link.gone or LET_GO in view.link.shadow.outreach:
        return False
    return view.person is None or not view.person.deleted


def _waiting(mapping: Mapping, plan: PersonPlan) -> PersonPlan:
    """Return the plan of a person whose prospect is gone until that is decided: an opt-out is not held by it."""
    line = mapping.field_of(Computed.ERROR)
    shown = {name: value for name, value in plan.crm.items() if line and name == line.crm}
    crm = {**only_opt_out(replace(plan, action=Action.UPDATE), mapping).crm, **shown}
    return replace(plan, action=Action.UPDATE if crm else Action.HOLD, why=GONE, crm=crm, fault=None, waits=True)


def _unmapped(standing: Standing) -> str | None:
    return f"unmapped state '{standing.unmapped}'" if standing.unmapped is not None else None


def _computed(view: PersonView, mapping: Mapping, standing: Standing) -> dict[str, Value]:
    """Return the computed values by CRM field; the five of the sequence are left out while nothing is guessed."""
    deciding = standing.deciding
    at = standing.at
    told: dict[Computed, Value] = {
        Computed.PROSPECT_ID: str(view.prospect_id),
        Computed.ERROR: _unmapped(standing),
    }
    if standing.label is not None:
        told |= {
            Computed.SEQUENCE_STATE: mapping.labels[standing.label],
            Computed.SEQUENCE_STATE_UPDATED_AT: transforms.crm_time(at) if at else None,
            Computed.SEQUENCE_NAME: transforms.clean(deciding.sequence.name) if deciding else None,
            Computed.SEQUENCE_STEP: deciding.step if deciding else None,
            Computed.SEQUENCES: transforms.clean(states.summary(standing.lines, mapping.labels)),
        }
    return {line.crm: told[line.computed] for line in mapping.fields if line.computed in told}


def _draft(view: PersonView, mapping: Mapping, values: Dict[str, Value], opt_out: OptOut) -> PersonPlan:
    """Return the plan's writes, field by field, as if the person were there to be updated."""
    crm: dict[str, Value] = {}
    outreach: dict[str, Value] = {}
    decisions: list[Decision] = []
    overwritten = 0
    for line in sorted(mapping.fields, key=lambda one: one.computed is Computed.ERROR):
        if line.crm in view.stopped:
            decisions.append(Decision(line.crm, "stopped: the CRM lacks this field or one of its labels"))
            continue
        if line.computed is Computed.ERROR:  # the last one, for what it tells is what became of the others
            waits = [f"{GONE}: somebody has to decide"] if _is_asked_about(view, mapping) else []
            values = {**values, line.crm: "; ".join(_words(values[line.crm], decisions) + waits) or None}
        merged = _merged(view, mapping, line, values, opt_out)
        overwritten += merged.overwritten
        if not isinstance(merged.to_crm, Absent):
            crm[line.crm] = merged.to_crm
        if not isinstance(merged.to_outreach, Absent) and line.outreach and view.prospect:
            name, value = transforms.put(line.outreach, {**view.prospect.fields, **outreach}, merged.to_outreach)
            outreach[name] = value
        decisions.append(Decision(line.crm, merged.why, merged.to_crm, merged.to_outreach, merged.asks))
    if opt_out and view.prospect and not prospect_opted_out(view.prospect.fields):
        # E-mail only; an organisation without granular opt-out widens it by itself (contract, section 6).
        outreach["emailOptedOut"] = True
        decisions.append(Decision("emailOptedOut", f"opted out: {opt_out.evidence}", to_outreach=True))
    if not opt_out and view.prospect and (retraction := consent.retraction(view.prospect, view.lifted)):
        outreach |= retraction
        decisions.append(Decision("emailOptedOut", OPTED_IN, to_outreach=False))
    return PersonPlan(Action.NOTHING, "", crm, outreach, values, tuple(decisions), overwritten=overwritten)


def _words(fault: Value, decisions: Iterable[Decision]) -> list[str]:
    """Return why the record fails, and which of its fields wait for somebody's decision."""
    asked = sorted(decision.field for decision in decisions if decision.asks)
    waits = [f"changed on both sides, waits for a decision: {', '.join(asked)}"] if asked else []
    return [str(fault), *waits] if fault else waits


def _merged(view: PersonView, mapping: Mapping, line: Field, values: Dict[str, Value], opt_out: OptOut) -> merge.Merged:
    if line.computed is Computed.OPTED_OUT:
        shown = view.person is not None and transforms.flag(view.person.fields.get(line.crm))
        if opt_out and not shown:
            return merge.Merged(to_crm=True, why=f"opted out: {opt_out.evidence}")
        if shown and not opt_out:
            return merge.Merged(to_crm=False, why=OPTED_IN)
        return merge.Merged(why="opted out on both sides" if opt_out else "not opted out")
    if line.computed is Computed.SYNC_REQUEST:
        return merge.Merged(why="what people in the CRM wish for")
    if line.computed in STANDING and line.crm not in values:
        return merge.Merged(why="a state's word is not mapped: not guessed")
    return merge.merge(line, _sides(view, line, values), mapping.first_sight)


def _sides(view: PersonView, line: Field, values: Dict[str, Value]) -> merge.Sides:
    shadow = view.link.shadow if view.link else Shadow()
    if line.outreach:
        source = transforms.read(line.outreach, view.prospect.fields) if view.prospect else ABSENT
    else:
        source = values[line.crm]
    crm: Value | Absent = None if view.person is None else view.person.fields.get(line.crm, ABSENT)
    crm_then = shadow.crm.get(line.crm, ABSENT)
    if view.person and view.person.deleted and (isinstance(crm, Absent) or transforms.is_blank(crm)):
        # What a tombstone does not show was not emptied by anybody: it is filled again, and empties nothing elsewhere.
        crm, crm_then = None, ABSENT
    elif view.link and view.person and is_echo(view.person, view.link) and line.crm not in _pending(shadow):
        crm_then = crm
    return merge.Sides(
        shadow.outreach.get(line.crm, ABSENT),
        crm_then,
        source,
        crm,
        outreach_at=view.prospect.moved_at.get(line.attribute) if view.prospect and line.attribute else None,
        crm_at=view.person.moved_at.get(line.crm) if view.person else None,
    )


def _pending(shadow: Shadow) -> list[str]:
    """Return the fields that our last write did not settle: of these its echo tells nothing."""
    names = shadow.crm.get(PENDING)
    return names if isinstance(names, list) else []


def is_echo(person: Snapshot, link: Link) -> bool:
    """Tell whether the person is as our own last write left it: it then holds what the CRM made of our values."""
    return person.version is not None and person.version == link.written_version and person.ref.id == link.crm_id


def _absent_person(view: PersonView, mapping: Mapping, plan: PersonPlan) -> PersonPlan:
    quiet = replace(plan, crm={}, fault=None)
    if view.prospect is None:
        return replace(quiet, why="neither side has it any more")
    if view.link:
        return replace(held(plan), why=f"person {view.link.crm_id} is neither visible nor deleted in the CRM")
    reason = _not_created(view, mapping)
    if reason:
        return replace(quiet, action=Action.EXCLUDE, why=reason)
    return replace(
        plan, action=Action.CREATE, why="no person in the CRM", crm=_with_name(view.prospect, view, mapping, plan.crm)
    )


def _not_created(view: PersonView, mapping: Mapping) -> str | None:
    if mapping.create_people is CreatePeople.NEVER:
        return "no person in the CRM, and the mapping creates none"
    if mapping.create_people is CreatePeople.IN_SEQUENCE and not view.states:
        return "no person in the CRM, and never in a sequence"
    if view.prospect is None or not transforms.addresses(view.prospect, ("emails",)):
        return "no person in the CRM, and no e-mail address to make one with"
    return None


def _deleted_person(view: PersonView, mapping: Mapping, plan: PersonPlan, told: Dict[str, Value]) -> PersonPlan:
    """Return what becomes of a person that was deleted; ``told`` is what the tombstone still shows."""
    if view.prospect is None:
        return replace(plan, action=Action.UNLINK, why="deleted on both sides", crm={}, fault=None)
    if mapping.on_crm_delete is OnCrmDelete.UNLINK:
        return replace(plan, action=Action.UNLINK, why="deleted in the CRM", crm={}, fault=None)
    if mapping.on_crm_delete is OnCrmDelete.ASK:
        return replace(held(plan), why="deleted in the CRM: recreate or unlink?")
    kept = {
        line.crm: told[line.crm]
        for line in mapping.fields
        if line.crm not in view.stopped and not transforms.is_blank(told.get(line.crm))
    }
    flag = mapping.field_of(Computed.OPTED_OUT)
    fields = {**kept, **plan.crm}
    if flag and flag.crm not in view.stopped:
        fields[flag.crm] = bool(plan.opt_out)
    if mapping.reference not in view.stopped:
        fields[mapping.reference] = str(view.prospect_id)
    return replace(
        plan, action=Action.RECREATE, why="deleted in the CRM", crm=_with_name(view.prospect, view, mapping, fields)
    )


def _with_name(prospect: Snapshot, view: PersonView, mapping: Mapping, crm: Dict[str, Value]) -> dict[str, Value]:
    """Return the fields of a person about to be created; one without a name is called by the address, else by number."""
    named = {line.outreach: line.crm for line in mapping.copied if line.outreach in {"firstName", "lastName"}}
    if any(not transforms.is_blank(crm.get(name)) for name in named.values()):
        return dict(crm)
    emails = prospect.fields.get("emails")
    first = next((text for text in emails if transforms.address(text)), None) if isinstance(emails, list) else None
    wanted = (named.get("lastName"), named.get("firstName"))
    chosen = next((name for name in wanted if name and name not in view.stopped), "name")
    return {**crm, chosen: transforms.clean(first) if first else f"Prospect {view.prospect_id}"}


def held(plan: PersonPlan) -> PersonPlan:
    """Return the plan of a record that waits for a person: nothing but an opt-out in Outreach, or its lifting by hand."""
    kept = {name: value for name, value in plan.outreach.items() if name in OPT_OUT_ATTRIBUTES}
    return replace(plan, action=Action.HOLD, crm={}, outreach=kept, fault=None)


def _opting_out(plan: PersonPlan) -> dict[str, Value]:
    return {name: value for name, value in plan.outreach.items() if name == "emailOptedOut" and value is True}


def too_many_deleted(deleted: int, linked: int, brake: Share | None) -> bool:
    """Tell whether so many linked people went missing within a day that somebody must look first."""
    return brake is not None and not brake.allows(deleted, linked)


def limited(plan: PersonPlan, *, to_crm: bool, to_outreach: bool) -> PersonPlan:
    """Return the plan without the writes that are held back just now."""
    limited_plan = plan if to_outreach else replace(plan, outreach={})
    if to_crm:
        return limited_plan
    return replace(limited_plan, action=Action.NOTHING if plan.writes_crm else plan.action, crm={})


def has_opt_out(plan: PersonPlan, mapping: Mapping) -> bool:
    """Tell whether an opt-out is among what is to be written, on either side."""
    flag = mapping.field_of(Computed.OPTED_OUT)
    shown = plan.writes_crm and flag is not None and plan.crm.get(flag.crm) is True
    return shown or bool(_opting_out(plan))


def only_opt_out(plan: PersonPlan, mapping: Mapping) -> PersonPlan:
    """Return just the opt-out of a plan: all that is delivered before every stream is primed."""
    flag = mapping.field_of(Computed.OPTED_OUT)
    crm = {name: value for name, value in plan.crm.items() if flag and name == flag.crm and value is True}
    outreach = _opting_out(plan)
    if plan.action is not Action.UPDATE or not crm:
        return replace(plan, action=Action.NOTHING, crm={}, outreach=outreach, fault=None)
    return replace(plan, crm=crm, outreach=outreach, fault=None)
