"""The reasons that a plan gives are read by people in `explain` and in the history: each word for word."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.core.makers import at, link, mapping, person, prospect, sequence, state
from tests.core.pairs import RUNNING, SHOWN, edit, made, pair, unlinked
from worker.core import consent, plan, states
from worker.core.mapping import Direction, Field, FirstSight, Winner
from worker.core.merge import CLOSE, Sides, merge
from worker.core.plan import Action, PersonView
from worker.core.states import SequenceView
from worker.core.transforms import ABSENT, Compare

UNLINK = ("on_crm_delete: recreate", "on_crm_delete: unlink")
ASK = ("on_crm_delete: recreate", "on_crm_delete: ask")
ASK_GONE = ("on_outreach_delete: unlink", "on_outreach_delete: ask")
NEVER = ("create_people: in_sequence", "create_people: never")
TOMBSTONE = person(SHOWN, version=9, deleted=True)
RIDDLE = state("levitating", changed=at(9), step=3)
"""A state whose word is not mapped: the record fails, unless something else is to be said."""
OUT_AT = "2026-03-02T07:00:00Z"
NOBODY = prospect(emails=[])
TAKEN_OVER = pair(prospect=None, person=person({**SHOWN, "cf_person_outreach_id": "777"}))


@pytest.mark.parametrize(
    "view, edits, action, why",
    [
        (unlinked(), (), Action.CREATE, "no person in the CRM"),
        (unlinked(), (NEVER,), Action.EXCLUDE, "no person in the CRM, and the mapping creates none"),
        (unlinked(states=()), (), Action.EXCLUDE, "no person in the CRM, and never in a sequence"),
        (unlinked(prospect=NOBODY), (), Action.EXCLUDE, "no person in the CRM, and no e-mail address to make one with"),
        (unlinked(prospect=None), (), Action.NOTHING, "neither side has it any more"),
        (unlinked(prospect=None), (ASK_GONE,), Action.NOTHING, "neither side has it any more"),
        (pair(person=None), (), Action.HOLD, "person 55 is neither visible nor deleted in the CRM"),
        (pair(person=TOMBSTONE), (), Action.RECREATE, "deleted in the CRM"),
        (pair(person=TOMBSTONE), (UNLINK,), Action.UNLINK, "deleted in the CRM"),
        (pair(person=TOMBSTONE), (ASK,), Action.HOLD, "deleted in the CRM: recreate or unlink?"),
        (pair(person=TOMBSTONE, prospect=None), (), Action.UNLINK, "deleted on both sides"),
        (pair(prospect=None), (ASK_GONE,), Action.UPDATE, "the prospect was deleted in Outreach"),
        (pair(link=link(gone=True)), (), Action.NOTHING, "unlinked: it stays so"),
        (TAKEN_OVER, (), Action.NOTHING, "whoever was entered anew has taken over"),
    ],
)
def test_why_a_person_is_dealt_with_so(
    view: PersonView, edits: tuple[tuple[str, str], ...], action: Action, why: str
) -> None:
    """What becomes of the record as a whole, and the reason in words."""
    told = made(view, *edits)
    assert (told.action, told.why) == (action, why)


@pytest.mark.parametrize(
    "view, edits",
    [
        (unlinked(prospect=None), ()),
        (unlinked(prospect=NOBODY), ()),
        (pair(person=None), ()),
        (pair(person=TOMBSTONE), (UNLINK,)),
        (pair(person=TOMBSTONE), (ASK,)),
        (pair(person=TOMBSTONE, prospect=None), ()),
        (pair(prospect=None), (ASK_GONE,)),
    ],
)
def test_what_waits_or_ends_does_not_fail_as_well(view: PersonView, edits: tuple[tuple[str, str], ...]) -> None:
    """A state of an unknown word is no fault of a record that is held, excluded, asked about or unlinked."""
    with_riddle = pair(states=(RIDDLE,), prospect=view.prospect, person=view.person, link=view.link)
    told = made(with_riddle, *edits)
    assert (told.fault, told.standing.unmapped if told.standing else "") == (None, "levitating")
    assert made(pair(states=(RIDDLE,))).fault == "unmapped state 'levitating'"


def test_who_is_gone_on_both_sides_is_written_on_neither() -> None:
    """Opted out by what is remembered, but gone in Outreach: nothing is left to be told there, deleted or never seen."""
    for view in (pair(person=TOMBSTONE, prospect=None, latched=True), unlinked(prospect=None, latched=True)):
        told = made(view)
        assert (told.crm, told.outreach, bool(told.opt_out)) == ({}, {}, True)


def test_only_the_opt_out_is_kept_and_the_fault_is_not() -> None:
    """Before every stream is primed: the flag on both sides, no other field, and no failure of the rest."""
    riddle = replace(RIDDLE, sequence=sequence(transactional=True))
    view = pair(states=(riddle,), latched=True)
    whole = made(view)
    told = plan.only_opt_out(whole, mapping())
    assert (whole.fault, told.fault) == ("unmapped state 'levitating'", None)
    assert (told.action, told.crm) == (Action.UPDATE, {"no_email_soliciting": True})
    assert told.outreach == {"emailOptedOut": True}
    shown = made(pair(states=(riddle,), person=edit(person(SHOWN), no_email_soliciting=True)))
    told = plan.only_opt_out(shown, mapping())
    assert (shown.fault, told.fault) == ("unmapped state 'levitating'", None)
    assert (told.action, told.outreach) == (Action.NOTHING, {"emailOptedOut": True})


def test_nothing_but_the_opt_out_goes_to_outreach_before_all_is_read() -> None:
    """An edit of the CRM beside it waits until every stream is primed."""
    typed = made(pair(person=edit(person(SHOWN, version=4), person_job_title="Typed"), latched=True))
    assert typed.outreach == {"title": "Typed", "emailOptedOut": True}
    assert plan.only_opt_out(typed, mapping()).outreach == {"emailOptedOut": True}


def test_who_comes_back_without_a_name_is_called_by_the_address() -> None:
    """Deleted in the CRM, and nameless on both sides: created again all the same."""
    nameless = prospect(firstName=None, lastName=None)
    gone = edit(TOMBSTONE, person_first_name=None, person_last_name=None)
    assert made(pair(prospect=nameless, person=gone)).crm["person_last_name"] == "ada@example.com"


@pytest.mark.parametrize(
    "changes",
    [
        {"states": (state("opted_out", id=2, changed=at(11)),)},
        {"latched": True},
        {"person": edit(person(SHOWN), no_email_soliciting=True)},
        {"former": edit(person(SHOWN, id=54, deleted=True), no_email_soliciting=True)},
    ],
    ids=["state", "remembered", "person", "former person"],
)
def test_the_prospects_own_date_goes_with_any_evidence(changes: dict[str, object]) -> None:
    """Outreach keeps when somebody opted out though the flag was taken back: other evidence is dated by it too."""
    dated = prospect(optedOut=False, optedOutAt=OUT_AT)
    told = plan.opt_out_of(pair(prospect=dated, **changes), mapping())
    assert told
    assert told.at == datetime.fromisoformat(OUT_AT)


@pytest.mark.parametrize(
    "fields, named",
    [
        ({"optedOut": True, "emailOptedOut": True}, "optedOut"),
        ({"emailOptedOut": True}, "emailOptedOut"),
        ({"emailsOptStatus": "opted_out"}, "emailsOptStatus"),
        ({"emailsOptStatus": "opted_in"}, None),
    ],
)
def test_the_attribute_that_says_it_is_named(fields: dict[str, object], named: str | None) -> None:
    """Which of Outreach's three attributes opts somebody out."""
    assert plan.prospect_opted_out(fields) == named  # type: ignore[arg-type]


def test_several_fields_wait_in_one_sentence() -> None:
    """Fields whose conflict somebody has to decide are listed by name, parted by commas."""
    asks = ("on_conflict: crm", "on_conflict: ask")
    theirs = edit(prospect(), title="Theirs", firstName="Their")
    typed = edit(person(SHOWN, version=4), person_job_title="Typed", person_first_name="Typer")
    told = made(pair(prospect=theirs, person=typed), asks)
    words = "changed on both sides, waits for a decision: person_first_name, person_job_title"
    assert told.crm["cf_person_outreach_error"] == words


def test_the_first_address_that_is_one_is_the_name() -> None:
    """Without a name the first entry that is an address serves, as it is; a list without one names nobody."""
    nameless = prospect(firstName=None, lastName=None, emails=["no address", " ada@example.com "])
    assert made(unlinked(prospect=nameless)).crm["person_last_name"] == "ada@example.com"


def test_who_was_let_go_is_not_asked_about_again() -> None:
    """Somebody decided to unlink a person whose prospect is gone: nothing waits any more, and no words say so."""
    asked, let_go = link(SHOWN, SHOWN), link({**SHOWN, plan.LET_GO: True}, SHOWN)
    assert made(pair(prospect=None, link=asked), ASK_GONE).waits is True
    told = made(pair(prospect=None, link=let_go), ASK_GONE)
    assert (told.waits, "cf_person_outreach_error" in told.crm) == (False, False)


def test_who_is_unlinked_is_not_asked_about() -> None:
    """A link that was taken off: no line of the history says that somebody has to decide."""
    told = made(pair(prospect=None, link=link(SHOWN, SHOWN, gone=True)), ASK_GONE)
    assert [one.to_crm for one in told.decisions if one.field == "cf_person_outreach_error"] == [ABSENT]


def test_a_decision_tells_what_goes_where() -> None:
    """The history has the value for Outreach of an edit in the CRM, and names what an opt-in takes off."""
    typed = made(pair(person=edit(person(SHOWN, version=4), person_job_title="Typed")))
    assert [one.to_outreach for one in typed.decisions if one.field == "person_job_title"] == ["Typed"]
    lifted = {(consent.Source.EMAILS.value, 7): consent.Lifted("", open=True)}
    told = made(pair(prospect=prospect(emailOptedOut=True), lifted=lifted))
    assert [(one.field, one.to_outreach) for one in told.decisions if one.why == plan.OPTED_IN] == [
        ("emailOptedOut", False)
    ]


def test_an_edit_travels_beside_an_opt_in() -> None:
    """What is taken back in Outreach does not push out what somebody typed in the CRM; the tick taken off says why."""
    signs = {(consent.Source.EMAILS.value, 7): consent.Lifted("", open=True)}
    typed = edit(person(SHOWN, version=4), person_job_title="Typed")
    told = made(pair(prospect=prospect(emailOptedOut=True), person=typed, lifted=signs))
    assert told.outreach == {"title": "Typed", "emailOptedOut": False}
    ticked = edit(person(SHOWN, version=4), no_email_soliciting=True)
    lifted = {
        sign.key: consent.Lifted(sign.mark, open=True) for sign in consent.of_person(ticked, "no_email_soliciting")
    }
    told = made(pair(person=ticked, lifted=lifted))
    assert told.crm["no_email_soliciting"] is False
    assert [one.why for one in told.decisions if one.field == "no_email_soliciting"] == ["opted in again by hand"]


def test_a_fault_and_a_conflict_are_told_in_one_line() -> None:
    """An unknown word and a field that waits: both stand in the error, parted by a semicolon."""
    typed = edit(person(SHOWN, version=4), person_job_title="Typed")
    both = pair(states=(RIDDLE,), prospect=edit(prospect(), title="Theirs"), person=typed)
    told = made(both, ("on_conflict: crm", "on_conflict: ask")).crm["cf_person_outreach_error"]
    assert told == "unmapped state 'levitating'; changed on both sides, waits for a decision: person_job_title"


# ---- one field


MOVED = Sides("a", "a", "b", "c")


def why(sides: Sides, *, wins: Winner = Winner.CRM, first_sight: FirstSight = FirstSight.FILL_BLANKS) -> str:
    """Return the reason that one field's merge gives."""
    of = Field("person_job_title", Direction.BOTH, Compare.TEXT, outreach="title", on_conflict=wins)
    return merge(of, sides, first_sight).why


def dated(outreach: datetime | None, crm: datetime | None) -> Sides:
    """Return a conflict with the times of both edits."""
    return Sides("a", "a", "b", "c", outreach_at=outreach, crm_at=crm)


NEWER, CRMS, UNTOLD = (
    "both sides changed it; Outreach's edit is the newer",
    "both sides changed it; the CRM's edit is the newer, or about as new",
    "both sides changed it; nothing tells which is newer: the CRM's stays",
)


@pytest.mark.parametrize(
    "sides, wins, words",
    [
        (MOVED, Winner.CRM, "both sides changed it; crm wins"),
        (MOVED, Winner.OUTREACH, "both sides changed it; outreach wins"),
        (MOVED, Winner.ASK, "both sides changed it; somebody has to decide"),
        (dated(at(9) + CLOSE + timedelta(seconds=1), at(9)), Winner.NEWEST, NEWER),
        (dated(at(9) + CLOSE, at(9)), Winner.NEWEST, CRMS),
        (dated(at(9), at(10)), Winner.NEWEST, CRMS),
        (dated(None, at(9)), Winner.NEWEST, UNTOLD),
        (dated(at(9), None), Winner.NEWEST, UNTOLD),
        (dated(None, None), Winner.NEWEST, UNTOLD),
        (Sides("a", "a", "b", "a"), Winner.CRM, "changed in Outreach"),
        (Sides("a", "a", "a", "b"), Winner.CRM, "changed in the CRM"),
        (Sides("a", "b", "a", "b"), Winner.CRM, "neither side changed it since they last agreed"),
        (Sides("a", "a", "b", "b"), Winner.CRM, "both sides agree"),
        (Sides(ABSENT, ABSENT, "a", None), Winner.CRM, "first sight: blank in the CRM"),
        (Sides(ABSENT, ABSENT, None, "a"), Winner.CRM, "first sight: blank in Outreach"),
        (
            Sides(ABSENT, ABSENT, "a", "b"),
            Winner.CRM,
            "first sight: the sides differ, both values stay until somebody edits one",
        ),
        (Sides("a", "a", ABSENT, "b"), Winner.CRM, "Outreach did not tell a value"),
        (Sides("a", "a", "b", ABSENT), Winner.CRM, "the CRM did not tell a value"),
    ],
)
def test_why_a_field_goes_where_it_goes(sides: Sides, wins: Winner, words: str) -> None:
    """Each way in which a field of both directions is decided, and the reason in words."""
    assert why(sides, wins=wins) == words


def test_a_first_sight_may_go_by_the_policy() -> None:
    """Where the mapping says so, differing sides that never agreed are a conflict, and are called that."""
    told = why(Sides(ABSENT, ABSENT, "a", "b"), first_sight=FirstSight.ON_CONFLICT)
    assert told == "first sight: the sides differ; crm wins"


@pytest.mark.parametrize("direction", [Direction.TO_CRM, Direction.TO_OUTREACH])
def test_why_a_field_of_one_direction_is_written(direction: Direction) -> None:
    """The source's change, a hand edit where it is only shown, what was made of our value: the same words either way."""

    def told(source_then: object, target_then: object, source: object, target: object) -> tuple[str, bool]:
        halves, now = (source_then, target_then), (source, target)
        if direction is Direction.TO_OUTREACH:
            halves, now = halves[::-1], now[::-1]
        of = Field("person_job_title", direction, Compare.TEXT, outreach="title")
        found = merge(of, Sides(*halves, *now), FirstSight.FILL_BLANKS)  # type: ignore[arg-type]
        return found.why, found.overwritten

    assert told("a", "a", "b", "a") == ("the value changed at its source", False)
    assert told("a", "a", "a", "b") == ("edited by hand where it is only shown: put back", True)
    assert told("a", "b", "a", "b") == ("this is what was made of our value on save", False)
    assert told("a", "a", "a", "a") == ("both sides agree", False)


@pytest.mark.parametrize(
    "attribute, sides, words",
    [
        ("title", Sides("a", "a", "a", ABSENT), "the CRM did not tell a value"),
        (
            "emails[0]",
            Sides("a", "a", ABSENT, "b"),
            "Outreach did not tell the list, whose other elements are to stay",
        ),
        ("title", Sides("a", "a", ABSENT, "b"), "the value changed at its source"),
    ],
)
def test_why_a_field_to_outreach_waits(attribute: str, sides: Sides, words: str) -> None:
    """What either side did not tell, in words; an attribute that is no list needs no telling."""
    of = Field("person_job_title", Direction.TO_OUTREACH, Compare.TEXT, outreach=attribute)
    assert merge(of, sides, FirstSight.FILL_BLANKS).why == words


# ---- states


def test_an_unseen_sequence_keeps_its_number() -> None:
    """It counts as enabled and not transactional, and is told apart by its own id."""
    assert SequenceView.unseen(18) == SequenceView(18, "Sequence 18", enabled=True, transactional=False)


def test_a_name_over_two_lines_is_parted_by_a_blank() -> None:
    """One line a sequence, whatever its name holds."""
    judged = states.judge(state("active", of=sequence(1, "Cold\noutreach"), step=2), mapping().words, opted_out=False)
    assert states.summary([judged], mapping().labels) == "Cold outreach: Active – Running (step 2)"


def test_each_rule_says_which_it_is() -> None:
    """The rule that decided stands in words before anybody's eyes."""
    off, notices = sequence(enabled=False), sequence(transactional=True)
    cases = [
        (state("opted_out"), False, "1: state is opted_out"),
        (state("active"), True, "1: opted out of e-mail, sequence not transactional"),
        (state("active", of=notices), True, "5: state is active"),
        (state("finished"), False, "2: state is finished"),
        (state("bounced"), False, "2: state is bounced"),
        (state("failed"), False, "2: state is failed"),
        (state("disabled"), False, "3: state is disabled"),
        (state("active", of=off, active=at(8)), False, "3: sequence not enabled, was once active in it"),
        (state("pending"), False, "4: state is pending"),
        (state("active", of=off), False, "4: sequence not enabled, never active in it"),
        (state("paused"), False, "5: state is paused"),
        (state("levitating"), False, "6: unmapped state 'levitating'"),
    ]
    for of, out, words in cases:
        assert states.judge(of, mapping().words, opted_out=out).rule == words


def test_the_roll_up_says_why() -> None:
    """Opted out, unmapped, nothing that counts, the order, the latest change: each with its own words."""
    words, order = mapping().words, mapping().roll_up

    def rule(*told: states.StateView, by: object = order, out: states.OptOut | None = None) -> str:
        return states.roll_up(told, words, by, out or states.OptOut()).rule  # type: ignore[arg-type]

    assert rule(RUNNING, out=states.OptOut("remembered")) == "opted out: remembered"
    assert rule(RIDDLE) == "6: unmapped state 'levitating'"
    assert rule() == "in no sequence that counts"
    assert rule(RUNNING) == "5: state is active; roll-up: active comes first"
    assert rule(RUNNING, by=states.LATEST_CHANGE) == "5: state is active; roll-up: latest change"


def test_each_computed_field_says_why() -> None:
    """The flag, the wish and what is not guessed, each in words; the opt-out's own decision tells Outreach true."""
    out = made(pair(latched=True))
    told = {one.field: one for one in out.decisions}
    assert told["no_email_soliciting"].why == f"opted out: {out.opt_out.evidence}" if out.opt_out else False
    assert told["emailOptedOut"].why == told["no_email_soliciting"].why
    assert told["emailOptedOut"].to_outreach is True
    both = {
        d.field: d.why for d in made(pair(latched=True, person=edit(person(SHOWN), no_email_soliciting=True))).decisions
    }
    assert both["no_email_soliciting"] == "opted out on both sides"
    plain = {d.field: d.why for d in made(pair(states=(RIDDLE,))).decisions}
    assert plain["no_email_soliciting"] == "not opted out"
    assert plain["cf_person_sync_to_outreach"] == "what people in the CRM wish for"
    assert plain["cf_person_sequence_state"] == "a state's word is not mapped: not guessed"


@pytest.mark.parametrize(
    "word, told",
    [
        ("levitating", "levitating"),
        ("on_holiday", "on_holiday"),
        ("odd\x1b[31m\x07\n it's", "odd [31m it's"),
        ("two  words\n\tand\x1b[31m a\u202e third", "two words and [31m a third"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        ("x" * 5000, "x" * 59 + "…"),
        ("", ""),
    ],
)
def test_an_unknown_word_is_told_on_one_line_printable_and_short(word: str, told: str) -> None:
    """It comes from a vendor and ends on terminals, in a field and in logs."""
    assert states.quoted(word) == told
