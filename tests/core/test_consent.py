"""Signs of an opt-out, and those that somebody lifted on purpose: the only way to lift one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.makers import at, mapping, person, prospect, sequence, state
from tests.core.pairs import RUNNING, SHOWN, crm_edit, edit, made, pair, unlinked
from worker.core import consent, plan
from worker.core.consent import Lifted, Sign, Source
from worker.core.plan import Action
from worker.core.records import Value

EIGHT, NINE = "2026-03-02T08:00:00.000Z", "2026-03-02T09:00:00.000Z"
AT_EIGHT = "2026-03-02T08:00:00+00:00"
ALL_OUT: dict[str, Value] = {
    "optedOut": True,
    "optedOutAt": EIGHT,
    "emailOptedOut": True,
    "emailsOptStatus": "opted_out",
    "emailsOptedAt": NINE,
}


@pytest.mark.parametrize(
    "fields, signs",
    [
        ({}, []),
        ({"optedOut": True, "optedOutAt": EIGHT}, [Sign(Source.EVERYTHING, 7, "prospect's optedOut", AT_EIGHT)]),
        ({"emailOptedOut": True}, [Sign(Source.EMAILS, 7, "prospect's emailOptedOut")]),
        ({"emailsOptStatus": "opted_out"}, [Sign(Source.EMAILS, 7, "prospect's emailsOptStatus")]),
        ({"emailsOptStatus": "opted_in", "emailsOptedAt": EIGHT}, []),
        (
            ALL_OUT,
            [
                Sign(Source.EVERYTHING, 7, "prospect's optedOut", AT_EIGHT),
                Sign(Source.EMAILS, 7, "prospect's emailOptedOut", "2026-03-02T09:00:00+00:00"),
            ],
        ),
    ],
)
def test_the_signs_of_a_prospect(fields: dict[str, Value], signs: list[Sign]) -> None:
    """A prospect bears at most two signs, each dated by itself."""
    assert consent.of_prospect(edit(prospect(), **fields)) == signs


def test_the_signs_of_a_state_and_of_a_person() -> None:
    """A state is dated by its change; No Email is not dated."""
    assert consent.of_state(state("opted_out", id=4, changed=at(8))) == Sign(
        Source.STATE, 4, "sequence state 4 is opted_out", AT_EIGHT
    )
    assert consent.of_state(state("opted_out", id=4)).mark == ""
    assert consent.of_person(person({"no_email_soliciting": "true"}), "no_email_soliciting") == [
        Sign(Source.PERSON, 55, "no_email_soliciting in the CRM")
    ]
    assert consent.of_person(person(), "no_email_soliciting") == []


DATED = Sign(Source.EVERYTHING, 7, "", AT_EIGHT)
UNDATED = Sign(Source.PERSON, 55, "")


@pytest.mark.parametrize(
    "sign, lifted, counts",
    [
        (DATED, {}, True),
        (DATED, {DATED.key: Lifted(AT_EIGHT, open=True)}, False),
        (DATED, {DATED.key: Lifted(AT_EIGHT, open=False)}, False),
        (DATED, {DATED.key: Lifted("2026-03-01T08:00:00+00:00", open=True)}, True),  # opted out again since
        (DATED, {("emails", 7): Lifted(AT_EIGHT, open=True)}, True),
        (DATED, {("everything", 8): Lifted(AT_EIGHT, open=True)}, True),
        (UNDATED, {UNDATED.key: Lifted("", open=True)}, False),  # its taking away is under way
        (UNDATED, {UNDATED.key: Lifted("", open=False)}, True),  # it was gone: this is another
    ],
)
def test_which_signs_count(sign: Sign, lifted: dict[consent.Key, Lifted], counts: bool) -> None:
    """A lifted sign does not count; one of another date, or one that came back, does."""
    assert consent.stands(sign, lifted) is counts


@pytest.mark.parametrize(
    "before, lifted, new",
    [
        (None, {}, True),
        ({UNDATED.key}, {}, True),
        (None, {UNDATED.key: Lifted("", open=True)}, False),
        ({UNDATED.key}, {UNDATED.key: Lifted("", open=True)}, False),
        (set(), {UNDATED.key: Lifted("", open=True)}, True),  # it was seen to be gone
    ],
)
def test_a_sign_that_was_seen_to_be_gone_is_new(
    before: set[consent.Key] | None, lifted: dict[consent.Key, Lifted], new: bool
) -> None:
    """An undated sign where there was none is a new opt-out, whatever was lifted."""
    assert consent.news([UNDATED], before, lifted) == ([UNDATED] if new else [])


def everything_lifted() -> dict[consent.Key, Lifted]:
    """Return what is known after an opt-in of a pair that was opted out in every way."""
    return {
        ("everything", 7): Lifted(AT_EIGHT, open=True),
        ("emails", 7): Lifted("2026-03-02T09:00:00+00:00", open=True),
        ("state", 2): Lifted(AT_EIGHT, open=False),
        ("person", 55): Lifted("", open=True),
    }


@pytest.mark.parametrize(
    "fields, told",
    [
        (ALL_OUT, {"emailOptedOut": False, "optedOut": False, "emailsOptStatus": "opted_in"}),
        ({"emailOptedOut": True, "emailsOptedAt": NINE}, {"emailOptedOut": False}),
        ({"optedOut": True, "optedOutAt": EIGHT}, {"emailOptedOut": False, "optedOut": False}),
        ({}, {}),
    ],
)
def test_what_takes_the_signs_off_a_prospect(fields: dict[str, Value], told: dict[str, Value]) -> None:
    """Only what is set is taken back; nothing is written to a prospect that bears no lifted sign."""
    assert consent.retraction(edit(prospect(), **fields), everything_lifted()) == told
    assert consent.retraction(edit(prospect(), **fields), {}) == {}


def test_an_opt_in_is_carried_to_both_sides() -> None:
    """All signs lifted: both sides are set back, and the person reads what the sequences say."""
    view = replace(
        crm_edit({"no_email_soliciting": True, "cf_person_sequence_state": "Opted Out"}),
        prospect=edit(prospect(), **ALL_OUT),
        states=(RUNNING, state("opted_out", id=2, of=sequence(2, "Old"), changed=at(8))),
        lifted=everything_lifted(),
    )
    told = made(view)
    assert told.outreach == {"emailOptedOut": False, "optedOut": False, "emailsOptStatus": "opted_in"}
    assert (told.action, told.crm["no_email_soliciting"]) == (Action.UPDATE, False)
    assert told.crm["cf_person_sequence_state"] == "Active \u2013 Running"
    assert not plan.has_opt_out(told, mapping())


@pytest.mark.parametrize(
    "kept", [("everything", 7), ("emails", 7), ("state", 2), ("person", 55)], ids=lambda key: str(key[0])
)
def test_one_sign_that_was_not_lifted_is_enough(kept: consent.Key) -> None:
    """As long as one sign stands, nothing is set back, on either side."""
    lifted = {key: value for key, value in everything_lifted().items() if key != kept}
    view = replace(
        crm_edit({"no_email_soliciting": True}),
        prospect=edit(prospect(), **ALL_OUT),
        states=(RUNNING, state("opted_out", id=2, of=sequence(2, "Old"), changed=at(8))),
        lifted=lifted,
    )
    told = made(view)
    assert (told.outreach, told.crm.get("no_email_soliciting")) == ({}, None)
    assert told.opt_out


def test_a_latch_is_stronger_than_what_was_lifted() -> None:
    """Latched again since: opted out on both sides."""
    told = made(pair(latched=True, lifted=everything_lifted()))
    assert (told.outreach, told.crm["no_email_soliciting"]) == ({"emailOptedOut": True}, True)


def test_only_a_lifted_state_is_in_no_sequence_that_counts() -> None:
    """A lone state that still says opted out, and was lifted, makes nobody active."""
    view = unlinked(
        states=(state("opted_out", id=2, changed=at(8)),), lifted={("state", 2): Lifted(AT_EIGHT, open=False)}
    )
    assert made(view).crm["cf_person_sequence_state"] == "Not Active"


def test_what_somebody_lifted_by_hand_is_not_held() -> None:
    """A held record still carries an opt-in made by hand, as it carries an opt-out; a pass that is not ready does not."""
    view = pair(
        person=person({**SHOWN, "no_email_soliciting": True}),
        prospect=edit(prospect(title="Director"), **ALL_OUT),
        lifted=everything_lifted(),
    )
    told = made(view)
    held = plan.held(told)
    assert (held.action, held.crm) == (Action.HOLD, {})
    assert held.outreach == {"emailOptedOut": False, "optedOut": False, "emailsOptStatus": "opted_in"}
    early = plan.only_opt_out(told, mapping())
    assert (early.action, early.crm, early.outreach) == (Action.NOTHING, {}, {})
