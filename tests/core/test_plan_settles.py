"""The most important law: what is planned is applied once. Apply a plan, plan again, and there is nothing to write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from tests.core.makers import BLANK_PERSON, FEW, QUARTER, SOME, at, mapping, sequence
from worker.core import consent, plan, shadows, transforms
from worker.core.mapping import CreatePeople, FirstSight, Mapping, OnCrmDelete, OnOutreachDelete, Winner
from worker.core.mapping_file import DEFAULT_WORDS
from worker.core.plan import Action, PersonPlan, PersonView
from worker.core.records import Kind, Link, Ref, Shadow, Snapshot, Value
from worker.core.states import StateView

FLAG = "no_email_soliciting"


@st.composite
def mappings(draw: st.DrawFn, winners: Sequence[Winner] = tuple(Winner)) -> Mapping:
    """Draw the default mapping with any of the policies."""
    wins = draw(st.sampled_from(winners))
    lines = tuple(replace(line, on_conflict=wins) for line in mapping().fields)
    return replace(
        mapping(),
        create_people=draw(st.sampled_from(CreatePeople)),
        on_crm_delete=draw(st.sampled_from(OnCrmDelete)),
        on_outreach_delete=draw(st.sampled_from(OnOutreachDelete)),
        first_sight=draw(st.sampled_from(FirstSight)),
        fields=lines,
        by_crm={line.crm: line for line in lines},
    )


TEXTS = st.sampled_from([None, "", "Ada", "Byron", " Ada ", "Countess of the realm of numbers", "Ада 👩\u200d🚀"])
ADDRESSES = st.sampled_from(["ada@example.com", "ADA@example.com", "b@example.org", "c@example.net"])
PHONES = st.sampled_from(["020 7946 0000", "+44 20 7946 0000", "020 7946 0000 x12", "+1 212 555 0100", "ask Ann"])
HOURS = st.integers(0, 23).map(at)
EMAILS = st.lists(ADDRESSES, max_size=3)
NUMBERS = st.lists(PHONES | st.just(""), max_size=2)
VERSIONS = st.sampled_from([None, 1, 2])
SELDOM = st.sampled_from([False] * 5 + [True])
TIMES = st.sampled_from([None, "2026-03-02T10:00:00.000Z", "2026-03-02T11:00:00.500Z"])


@st.composite
def prospects(draw: st.DrawFn) -> dict[str, Value]:
    """Draw the fields of a prospect, some of which may not be told."""
    told: dict[str, Value] = draw(
        st.fixed_dictionaries(
            {
                "firstName": TEXTS,
                "lastName": TEXTS,
                "title": TEXTS,
                "emails": EMAILS,
                "workPhones": st.none() | NUMBERS,
                "mobilePhones": NUMBERS,
                "optedOut": st.sampled_from([False, False, False, True, None]),
                "optedOutAt": TIMES,
                "emailOptedOut": SELDOM,
                "emailsOptStatus": st.sampled_from([None, None, "opted_in", "opted_out"]),
                "emailsOptedAt": TIMES,
            }
        )
    )
    told.pop(draw(st.sampled_from(["", "", "title", "mobilePhones", "lastName"])), None)
    return told


@st.composite
def people(draw: st.DrawFn) -> dict[str, Value]:
    """Draw the fields of a person, hand-edited ones among them."""
    drawn = draw(
        st.fixed_dictionaries(
            {
                "person_first_name": TEXTS,
                "person_last_name": TEXTS,
                "person_job_title": TEXTS,
                "main_location[email]": st.none() | ADDRESSES,
                "main_location[telephone]": st.none() | PHONES,
                "main_location[mobile]": st.none() | PHONES,
                "cf_person_outreach_id": st.sampled_from([None, "7", "8"]),
                "cf_person_sequence_state": st.sampled_from([None, "Not Active", "Active \u2013 Running", "by hand"]),
                "cf_person_sequence_step": st.sampled_from([None, 0, "3"]),
                "cf_person_outreach_error": st.sampled_from([None, "", "unmapped state 'x'"]),
                FLAG: st.sampled_from([False, False, None, True]),
            }
        )
    )
    told: dict[str, Value] = {**BLANK_PERSON, **drawn}
    told.pop(draw(st.sampled_from(["", "", "person_job_title", "cf_person_sequences"])), None)
    return told


@st.composite
def standings(draw: st.DrawFn) -> tuple[StateView, ...]:
    """Draw what a prospect is or was in."""
    found = []
    for id in range(draw(st.integers(0, 3))):
        of = sequence(draw(st.integers(1, 3)), enabled=draw(st.booleans()), transactional=draw(st.booleans()))
        word = draw(st.sampled_from([*DEFAULT_WORDS, "active", "paused", "replied"]))
        changed: datetime | None = draw(st.none() | HOURS)
        found.append(StateView(id, of, word, changed, draw(st.none() | HOURS), draw(st.none() | st.integers(1, 4))))
    return tuple(found)


@st.composite
def links(draw: st.DrawFn, *, gone: bool) -> Link:
    """Draw a link: some fields agreed upon, in halves that need not be equal, some never."""
    halves: tuple[dict[str, Value], dict[str, Value]] = ({}, {})
    source, target = draw(prospects()), draw(people())
    never = draw(st.sets(st.sampled_from([line.crm for line in mapping().copied]), max_size=2))
    for line in mapping().copied:
        value = transforms.read(line.outreach or "", source)
        if not isinstance(value, transforms.Absent) and line.crm in target and line.crm not in never:
            halves[0][line.crm], halves[1][line.crm] = value, target[line.crm]
    return Link(7, 55, Shadow(*halves), draw(VERSIONS), gone=gone)


@st.composite
def pairs(draw: st.DrawFn) -> PersonView:
    """Draw a living, linked pair, both sides perhaps edited since they last agreed."""
    return PersonView(
        prospect_id=7,
        prospect=Snapshot(Ref(Kind.PROSPECT, 7), draw(prospects())),
        states=draw(standings()),
        person=Snapshot(Ref(Kind.PERSON, 55), draw(people()), version=draw(VERSIONS)),
        link=draw(links(gone=False)),
        latched=draw(SELDOM),
        stopped=draw(STOPPED),
    )


@st.composite
def others(draw: st.DrawFn) -> PersonView:
    """Draw anything else that may be known: not linked, nobody there, a tombstone on either side, a link that is gone."""
    prospect = draw(st.none() | prospects().map(lambda fields: Snapshot(Ref(Kind.PROSPECT, 7), fields)))
    person = former = link = None
    if draw(st.integers(0, 3)):
        person = Snapshot(Ref(Kind.PERSON, 55), draw(people()), version=draw(VERSIONS), deleted=draw(st.booleans()))
        if draw(st.booleans()):
            link = draw(links(gone=draw(SELDOM)))
        elif draw(st.booleans()) and not person.deleted:
            former = Snapshot(Ref(Kind.PERSON, 44), draw(people()), deleted=True)
    return PersonView(
        prospect_id=7,
        prospect=prospect,
        states=draw(standings()) if prospect else (),
        person=person,
        link=link,
        former=former,
        latched=draw(SELDOM),
        stopped=draw(STOPPED),
    )


NAMES = [line.crm for line in mapping().fields if line.crm != FLAG]
STOPPED = st.sampled_from([frozenset[str]()] * 3 + [frozenset({name}) for name in NAMES])
VIEWS = pairs() | others()


@dataclass(frozen=True)
class World:
    """How a vendor treats what it is sent: the CRM shortens texts on save, Outreach widens an opt-out."""

    shortens: bool = False
    widens: bool = False
    outreach_is_down: bool = False

    def apply(self, view: PersonView, told: Mapping, made: PersonPlan) -> PersonView:
        """Return what is known once the plan was carried out, its receipts were written down, and its echo was polled."""
        person, written = view.person, view.link.written_version if view.link else None
        if made.writes_crm:
            updating = person if made.action is Action.UPDATE else None
            known = dict(updating.fields) if updating else dict(BLANK_PERSON)
            sent = {name: self.saved(value) for name, value in made.crm.items()}
            written = (updating.version or 0) + 1 if updating else 0
            id = updating.ref.id if updating else 77
            person = Snapshot(Ref(Kind.PERSON, id), {**known, **made.crm}, version=written)
            polled = replace(person, fields={**known, **sent})
        else:
            polled = person  # type: ignore[assignment]
        prospect, unwritten = view.prospect, frozenset[str]()
        if made.outreach and prospect is not None:
            if self.outreach_is_down:
                unwritten = frozenset(line.crm for line in told.copied if line.attribute in made.outreach)
            else:
                widened: dict[str, Value] = {"optedOut": True, "optedOutAt": "2026-03-02T23:00:00.000Z"}
                fields = {**prospect.fields, **made.outreach}
                opted = self.widens and "emailOptedOut" in made.outreach
                prospect = replace(prospect, fields={**fields, **widened} if opted else fields)
        if person is None or person.deleted or made.action is Action.HOLD:
            gone = made.action is Action.UNLINK and view.link is not None
            link = replace(view.link, gone=True) if gone and view.link else view.link
            return replace(view, prospect=prospect, link=link)
        shadow = shadows.agreed(
            view,
            told,
            made,
            crm=person.fields,
            outreach=prospect.fields if prospect else None,
            unwritten=unwritten,
        )
        link = Link(7, person.ref.id, shadow, written, gone=prospect is None)
        if view.link and view.link.gone:
            link = view.link
        latched = view.latched or bool(made.opt_out)
        return replace(view, prospect=prospect, person=polled, link=link, former=None, latched=latched)

    def saved(self, value: Value) -> Value:
        """Return what the CRM makes of a value on save."""
        return value[:20].strip() or None if self.shortens and isinstance(value, str) else value


def writes(made: PersonPlan) -> dict[str, object]:
    """Return everything that a plan would send."""
    crm = dict(made.crm) if made.writes_crm else {}
    return {**{f"crm {name}": value for name, value in crm.items()}, **made.outreach}


@given(view=VIEWS, told=mappings(), shortens=st.booleans())
@SOME
def test_a_plan_that_was_applied_is_not_made_again(view: PersonView, told: Mapping, shortens: bool) -> None:
    """For update, create, recreate, first sight and an opt-out on either side: apply, plan again, nothing to write."""
    world = World(shortens=shortens)
    after = world.apply(view, told, plan.plan_person(view, told))
    again = plan.plan_person(after, told)
    assert writes(again) == {}, again
    assert again.overwritten == 0


@given(view=VIEWS, told=mappings())
@FEW
def test_what_an_opt_out_causes_settles(view: PersonView, told: Mapping) -> None:
    """Outreach widens an opt-out and stamps its time: at the latest after a second plan there is nothing to write."""
    world = World(widens=True)
    after = world.apply(view, told, plan.plan_person(view, told))
    once_more = world.apply(after, told, plan.plan_person(after, told))
    assert writes(plan.plan_person(once_more, told)) == {}


@given(view=pairs(), told=mappings())
@QUARTER
def test_an_opt_in_settles(view: PersonView, told: Mapping) -> None:
    """Every sign lifted: both sides are set back at once, and once that is done there is nothing to write."""
    assert view.prospect is not None
    assert view.person is not None
    signs = [*consent.of_prospect(view.prospect), *consent.of_person(view.person, FLAG)]
    signs += [consent.of_state(state) for state in view.states]
    lifted = {sign.key: consent.Lifted(sign.mark, open=True) for sign in signs}
    opted_in = replace(view, latched=False, lifted=lifted)
    made = plan.plan_person(opted_in, told)
    assert not made.opt_out
    after = World().apply(opted_in, told, made)
    assert writes(plan.plan_person(after, told)) == {}
    assert after.prospect is not None
    assert plan.prospect_opted_out(after.prospect.fields) is None


@given(view=pairs(), told=mappings(), shortens=st.booleans())
@QUARTER
def test_no_edit_is_lost_while_outreach_is_down(view: PersonView, told: Mapping, shortens: bool) -> None:
    """What could not be written to Outreach is planned again, and in the end both sides are as if it had been up."""
    made = plan.plan_person(view, told)
    down = World(shortens=shortens, outreach_is_down=True).apply(view, told, made)
    if made.action in {Action.UNLINK, Action.HOLD} or (down.link and down.link.gone):
        return
    again = plan.plan_person(down, told)
    assert again.outreach == made.outreach
    assert [name for name in again.crm if name in made.crm and not view.stopped] == []


@given(view=pairs(), told=mappings(winners=[Winner.ASK]))
@QUARTER
def test_what_is_asked_about_stays_asked(view: PersonView, told: Mapping) -> None:
    """A field whose conflict somebody has to decide is kept on both sides, though the rest of the person is written."""
    made = plan.plan_person(view, told)
    if not made.writes_crm or made.action is not Action.UPDATE:
        return
    assert not made.asked & set(made.crm)
    again = plan.plan_person(World().apply(view, told, made), told)
    assert again.asked == made.asked


@given(view=VIEWS, told=mappings())
@FEW
def test_the_same_inputs_give_the_same_plan(view: PersonView, told: Mapping) -> None:
    """A plan depends on nothing but what is handed in, and changes nothing of it."""
    before = repr(view)
    assert plan.plan_person(view, told) == plan.plan_person(view, told)
    assert repr(view) == before


@given(view=VIEWS, told=mappings())
@FEW
def test_an_opt_out_is_never_set_back(view: PersonView, told: Mapping) -> None:
    """No plan takes an opt-out back, on either side, and every living opted-out pair is opted out on both sides after it."""
    made = plan.plan_person(view, told)
    assert made.outreach.get("emailOptedOut", True) is True
    assert not {"optedOut", "emailsOptStatus", "optedOutAt", "emailsOptedAt"} & set(made.outreach)
    was_out = any(one is not None and transforms.flag(one.fields.get(FLAG)) for one in (view.person, view.former))
    if made.action is Action.UPDATE:
        assert made.crm.get(FLAG, True) is True
    elif made.writes_crm and (view.latched or was_out):
        assert made.crm[FLAG] is True
    after = World().apply(view, told, made)
    known_out = plan.opt_out_of(view, told)
    if known_out and after.prospect:
        assert plan.prospect_opted_out(after.prospect.fields)
    if known_out and after.person and not after.person.deleted and made.action in {Action.UPDATE, Action.NOTHING}:
        assert transforms.flag(after.person.fields.get(FLAG)) or (view.link and view.link.gone)


@given(view=VIEWS, told=mappings())
@FEW
def test_a_stopped_field_is_never_written(view: PersonView, told: Mapping) -> None:
    """What the CRM lacks is left out of every plan, whatever it does."""
    made = plan.plan_person(view, told)
    assert not set(made.crm) & view.stopped


@given(view=VIEWS, told=mappings())
@FEW
def test_no_list_element_is_lost(view: PersonView, told: Mapping) -> None:
    """Whatever is written to a prospect's lists, only the first element may go."""
    made = plan.plan_person(view, told)
    for name in ("emails", "workPhones", "mobilePhones"):
        if view.prospect is None or name not in made.outreach:
            continue
        held = view.prospect.fields.get(name)
        written = made.outreach[name]
        assert isinstance(written, list)
        behind = {item.casefold() for item in (held[1:] if isinstance(held, list) else []) if item}
        assert behind <= {item.casefold() for item in written}
