"""What a linked or new person should look like: the contract's cases, expected values written by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from tests.core.makers import at, link, mapping, person, prospect, state
from tests.core.pairs import RUNNING, SHOWN, crm_edit, edit, made, pair, unlinked
from worker.core import plan, shadows
from worker.core.plan import Action, PersonView
from worker.core.records import Value

ALL = ("create_people: in_sequence", "create_people: all")
NEVER = ("create_people: in_sequence", "create_people: never")
AGREED_BUT_TITLE = {name: value for name, value in SHOWN.items() if name != "person_job_title"}

# ---- a pair in agreement


def test_a_pair_in_agreement_needs_nothing() -> None:
    """Where both sides hold what they should, nothing is written, and the reason is the state's rule."""
    told = made(pair())
    assert (told.action, told.crm, told.outreach, told.overwritten, told.fault) == (Action.NOTHING, {}, {}, 0, None)
    assert not told.writes_crm
    assert told.why == "5: state is active; roll-up: active comes first"


def test_a_new_state_reaches_the_five_fields() -> None:
    """A paused sequence moves exactly what it changes."""
    told = made(pair(states=(state("paused", changed=at(11), active=at(8), step=4),)))
    assert (told.action, told.outreach) == (Action.UPDATE, {})
    assert told.crm == {
        "cf_person_sequence_state": "Active \u2013 Paused",
        "cf_person_sequence_state_updated_at": "Mon Mar 02 11:00:00 UTC 2026",
        "cf_person_sequence_step": 4,
        "cf_person_sequences": "Cold outreach: Active \u2013 Paused (step 4)",
    }


def test_in_no_sequence_any_more() -> None:
    """The last state removed: Not Active, and the other four are blank."""
    assert made(pair(states=())).crm == {
        "cf_person_sequence_state": "Not Active",
        "cf_person_sequence_state_updated_at": None,
        "cf_person_sequence_name": None,
        "cf_person_sequence_step": None,
        "cf_person_sequences": "",
    }


def test_edits_travel_both_ways() -> None:
    """An edit on either side of a two-way field is written on the other, a cleared value too."""
    assert made(pair(prospect=prospect(title="Director"))).crm == {"person_job_title": "Director"}
    assert made(pair(prospect=prospect(title=None))).crm == {"person_job_title": None}
    assert made(crm_edit({"person_job_title": "Director"})).outreach == {"title": "Director"}
    assert made(crm_edit({"person_job_title": None})).outreach == {"title": None}


def test_both_edited_the_same_field() -> None:
    """The CRM's edit wins by default; on_conflict turns it, for the file or for the line."""
    both = replace(crm_edit({"person_job_title": "Director"}), prospect=prospect(title="Countess"))
    assert (made(both).crm, made(both).outreach) == ({}, {"title": "Director"})
    turned = made(both, ("on_conflict: crm", "on_conflict: outreach"))
    assert (turned.crm, turned.outreach) == ({"person_job_title": "Countess"}, {})


def test_a_conflict_that_somebody_decides() -> None:
    """With `ask` both keep theirs and the error names the field, while the rest of the person flows."""
    both = replace(
        crm_edit({"person_job_title": "Director", "person_first_name": "A."}), prospect=prospect(title="Countess")
    )
    told = made(both, ("on_conflict: crm", "on_conflict: ask"))
    words = "changed on both sides, waits for a decision: person_job_title"
    assert told.crm == {"cf_person_outreach_error": words}
    assert (told.outreach, told.asked) == ({"firstName": "A."}, frozenset({"person_job_title"}))


@pytest.mark.parametrize(
    "outreach_at, crm_at, wins",
    [
        (at(10), at(9), "outreach"),
        (at(9), at(10), "crm"),
        (at(9), at(9), "crm"),
        (None, at(9), "crm"),
        (at(9), None, "crm"),
    ],
)
def test_the_newer_edit_wins(outreach_at: datetime | None, crm_at: datetime | None, wins: str) -> None:
    """With `newest` the side whose value moved later wins; at the same time, or if a time is not known, the CRM."""
    both = replace(
        crm_edit({"person_job_title": "Director"}),
        prospect=replace(prospect(title="Countess"), moved_at={"title": outreach_at} if outreach_at else {}),
    )
    moved = replace(both.person, moved_at={"person_job_title": crm_at} if crm_at else {})  # type: ignore[type-var]
    told = made(replace(both, person=moved), ("on_conflict: crm", "on_conflict: newest"))
    assert told.crm == ({"person_job_title": "Countess"} if wins == "outreach" else {})
    assert told.outreach == ({} if wins == "outreach" else {"title": "Director"})


def test_a_patch_keeps_the_other_addresses() -> None:
    """Only the first element of a list is written; the others follow it as they were."""
    halves = {**SHOWN, "main_location[mobile]": None, "cf_person_outreach_error": None}
    view = PersonView(
        7,
        prospect(emails=["ada@example.com", "second@example.org", "third@example.net"]),
        (RUNNING,),
        person({**SHOWN, "main_location[email]": "new@example.com"}, version=4),
        link(halves, halves),
    )
    assert made(view).outreach == {"emails": ["new@example.com", "second@example.org", "third@example.net"]}
    moved_up = replace(view, person=person({**SHOWN, "main_location[email]": "Third@example.net"}, version=4))
    assert made(moved_up).outreach == {"emails": ["Third@example.net", "second@example.org"]}
    cleared = replace(view, person=person({**SHOWN, "main_location[email]": None}, version=4))
    assert made(cleared).outreach == {"emails": ["second@example.org", "third@example.net"]}


def test_two_elements_of_one_list_travel_together() -> None:
    """Two lines of the mapping that share a list are written as one list, with both edits in it."""
    phone = '  "main_location[telephone]":  {outreach: "workPhones[0]",'
    other = '  "main_location[alternate_email]": {outreach: "emails[1]", direction: both}'
    told = mapping((phone, f"{other}\n{phone}"))
    second = "main_location[alternate_email]"
    halves = {**SHOWN, second: "b@example.org", "main_location[mobile]": None, "cf_person_outreach_error": None}
    after = person({**halves, "main_location[email]": "x@example.com", second: "y@example.com"}, version=4)
    held = prospect(emails=["ada@example.com", "b@example.org", "c@example.net"])
    view = PersonView(7, held, (RUNNING,), after, link(halves, halves))
    assert plan.plan_person(view, told).outreach == {"emails": ["x@example.com", "y@example.com", "c@example.net"]}


def test_other_ways_of_writing_are_no_edit() -> None:
    """A phone in another format, an address in another case and spaces around a name are not written."""
    told = crm_edit(
        {
            "main_location[telephone]": "020 7946 0000",
            "main_location[email]": "ADA@Example.com",
            "person_first_name": "Ada ",
        }
    )
    assert (made(told).crm, made(told).outreach) == ({}, {})


def test_a_hand_edit_of_a_one_way_field_is_put_back_and_counted() -> None:
    """What is only shown in the CRM is put back, once for each field."""
    told = made(crm_edit({"cf_person_sequence_state": "Finished", "cf_person_sequence_step": None}))
    assert told.crm == {"cf_person_sequence_state": "Active \u2013 Running", "cf_person_sequence_step": 3}
    assert told.overwritten == 2


def test_what_the_crm_made_of_our_value_is_no_edit() -> None:
    """The CRM shortened our value on save: the same version as our write's says so, and nothing is written."""
    halves = {**SHOWN, "main_location[mobile]": None, "cf_person_outreach_error": None}
    short = person({**SHOWN, "cf_person_sequences": "Cold outreach: Act", "person_job_title": "Anal"}, version=6)
    view = pair(person=short, link=link(halves, halves, written=6))
    assert plan.is_echo(short, view.link)  # type: ignore[arg-type]
    assert (made(view).action, made(view).crm, made(view).outreach) == (Action.NOTHING, {}, {})
    somebody = replace(view, link=link(halves, halves, written=5))
    assert made(somebody).outreach == {"title": "Anal"}
    assert made(somebody).overwritten == 1


@pytest.mark.parametrize(
    "version, written, to, echo",
    [(6, 6, 55, True), (6, 5, 55, False), (6, None, 55, False), (None, None, 55, False), (6, 6, 77, False)],
)
def test_what_is_an_echo(version: int | None, written: int | None, to: int, echo: bool) -> None:
    """Only the linked person in the very version of our own write is an echo."""
    assert plan.is_echo(person(version=version), link(to=to, written=written)) is echo


def test_an_edit_that_has_not_travelled_is_no_echo() -> None:
    """Our own write of other fields does not make an edit look like something the CRM made of our value."""
    view = replace(crm_edit({"person_job_title": "Director"}), states=(state("paused", changed=at(11), step=3),))
    told = made(view)
    assert told.outreach == {"title": "Director"}
    after = person({**SHOWN, **told.crm, "person_job_title": "Director"}, version=5)
    shadow = shadows.agreed(
        view,
        mapping(),
        told,
        crm=after.fields,
        outreach=prospect().fields,
        unwritten=frozenset({"person_job_title"}),
    )
    again = made(replace(view, person=after, link=replace(link(), shadow=shadow, written_version=5)))
    assert (again.crm, again.outreach) == ({}, {"title": "Director"})


def test_what_was_not_told_is_left_alone() -> None:
    """A prospect whose answer lacks an attribute empties nothing."""
    fields = {name: value for name, value in prospect().fields.items() if name not in {"title", "emails"}}
    told = made(pair(prospect=replace(prospect(), fields=fields)))
    assert (told.crm, told.outreach) == ({}, {})


def test_what_the_crm_did_not_tell_is_left_alone() -> None:
    """A person whose answer lacks a field empties nothing in Outreach, and says why."""
    told = made(pair(person=replace(person(), fields=AGREED_BUT_TITLE)))
    assert told.outreach == {}
    assert [one.why for one in told.decisions if one.field == "person_job_title"] == ["the CRM did not tell a value"]


def test_a_half_of_the_shadow_agrees_on_nothing() -> None:
    """A field that only one side's half remembers was never agreed upon: differing values stay on both sides."""
    theirs, typed = prospect(title="Director"), person({**SHOWN, "person_job_title": "Countess"}, version=4)
    for halves in (({**SHOWN, "person_job_title": "Director"}, AGREED_BUT_TITLE), (AGREED_BUT_TITLE, typed.fields)):
        told = made(pair(prospect=theirs, person=typed, link=link(*halves)))
        assert ("person_job_title" in told.crm, "title" in told.outreach) == (False, False)


# ---- first sight


def test_first_sight_fills_blanks() -> None:
    """A pair never seen before: blanks are filled from the other side, differing values stay."""
    found = person(
        {
            "person_first_name": "Augusta",
            "main_location[email]": "Ada@example.com",
            "main_location[mobile]": "07700 900123",
        }
    )
    told = made(unlinked(person=found))
    assert told.action is Action.UPDATE
    assert {name: told.crm.get(name) for name in ("person_last_name", "person_job_title", "cf_person_outreach_id")} == {
        "person_last_name": "Byron",
        "person_job_title": "Analyst",
        "cf_person_outreach_id": "7",
    }
    assert not {"person_first_name", "main_location[email]", "main_location[mobile]"} & set(told.crm)
    assert told.outreach == {"mobilePhones": ["07700 900123"]}
    turned = made(unlinked(person=found), ("first_sight: fill_blanks", "first_sight: on_conflict"))
    assert turned.outreach == {"firstName": "Augusta", "mobilePhones": ["07700 900123"]}


def test_values_that_stayed_count_as_agreed_until_somebody_edits_one() -> None:
    """After first sight both halves are remembered as they are; the next edit travels."""
    view = unlinked(person=person({**SHOWN, "person_first_name": "Augusta"}))
    shadow = shadows.agreed(view, mapping(), made(view), crm=view.person.fields, outreach=view.prospect.fields)  # type: ignore[union-attr]
    assert (shadow.outreach["person_first_name"], shadow.crm["person_first_name"]) == ("Ada", "Augusta")
    linked = replace(view, link=replace(link(), shadow=shadow))
    assert (made(linked).crm, made(linked).outreach) == ({}, {})
    assert made(replace(linked, prospect=prospect(firstName="A."))).crm == {"person_first_name": "A."}


# ---- created


def test_a_person_is_created_with_everything() -> None:
    """A new person holds all mapped values, blank ones left out; no opt-out is claimed."""
    told = made(unlinked())
    assert (told.action, told.crm, told.outreach) == (Action.CREATE, SHOWN, {})
    assert told.writes_crm


def test_an_opted_out_person_is_created_opted_out() -> None:
    """The opt-out travels in the very request that creates the person."""
    told = made(unlinked(prospect=prospect(optedOut=True, optedOutAt="2026-03-02T07:00:00.000Z")))
    assert told.action is Action.CREATE
    assert told.crm["no_email_soliciting"] is True
    assert told.crm["cf_person_sequence_state"] == "Opted Out"
    assert told.crm["cf_person_sequence_state_updated_at"] == "Mon Mar 02 07:00:00 UTC 2026"
    assert told.outreach == {}


@pytest.mark.parametrize(
    "view, edits, reason",
    [
        (unlinked(states=()), [], "never in a sequence"),
        (unlinked(prospect=prospect(emails=[])), [], "no e-mail address"),
        (unlinked(prospect=prospect(emails=None)), [], "no e-mail address"),
        (unlinked(prospect=prospect(emails=["not an address", ""])), [], "no e-mail address"),
        (unlinked(prospect=prospect(emails=[]), states=()), [ALL], "no e-mail address"),
        (unlinked(), [NEVER], "the mapping creates none"),
    ],
)
def test_who_is_not_created(view: PersonView, edits: list[tuple[str, str]], reason: str) -> None:
    """Who is left out is left out with the reason, and nothing else is the matter."""
    told = made(view, *edits)
    assert (told.action, told.crm, told.fault) == (Action.EXCLUDE, {}, None)
    assert reason in told.why


@pytest.mark.parametrize("word", ["finished", "opted_out", "replied", "bounced"])
def test_who_was_in_a_sequence_is_created(word: str) -> None:
    """A finished state, or one that is not known, is a sequence all the same."""
    assert made(unlinked(states=(state(word),))).action is Action.CREATE


def test_everybody_is_created_if_the_mapping_says_so() -> None:
    """With `all` no sequence is needed."""
    told = made(unlinked(states=()), ALL)
    assert (told.action, told.crm["cf_person_sequence_state"]) == (Action.CREATE, "Not Active")


@pytest.mark.parametrize(
    "fields, written",
    [
        ({"firstName": None, "lastName": None}, {"person_last_name": "ada@example.com"}),
        ({"firstName": "", "lastName": " "}, {"person_last_name": "ada@example.com"}),
        ({"firstName": "Ada", "lastName": None}, {"person_first_name": "Ada"}),
        ({"firstName": None, "lastName": "Byron"}, {"person_last_name": "Byron"}),
        (
            {"firstName": None, "lastName": None, "emails": ["none", " b@example.org "]},
            {"person_last_name": "b@example.org"},
        ),
    ],
)
def test_no_name_the_address_is_the_name(fields: dict[str, Value], written: dict[str, Value]) -> None:
    """Who has neither first nor last name is called by the first address, clean."""
    told = made(unlinked(prospect=edit(prospect(), **fields)))
    assert {name: told.crm[name] for name in ("person_first_name", "person_last_name") if name in told.crm} == written


@pytest.mark.parametrize("emails", [None, [], ["no address"]])
def test_who_comes_back_without_name_and_address_is_called_by_number(emails: Value) -> None:
    """Deleted in the CRM, no name on either side and no address: a CRM that wants a name gets one that finds the prospect."""
    nobody = prospect(firstName=None, lastName=None, emails=emails)
    view = pair(prospect=nobody, person=person(version=9, deleted=True))
    told = made(view)
    assert (told.action, told.crm["person_last_name"]) == (Action.RECREATE, f"Prospect {view.prospect_id}")
    assert "lastName" not in told.outreach


def test_the_address_as_name_is_not_sent_back() -> None:
    """Outreach keeps its blank name though the CRM shows the address."""
    view = unlinked(prospect=prospect(firstName=None, lastName=None))
    told = made(view)
    after = person(told.crm)
    shadow = shadows.agreed(view, mapping(), told, crm=after.fields, outreach=view.prospect.fields)  # type: ignore[union-attr]
    again = made(replace(view, person=after, link=replace(link(), shadow=shadow)))
    assert (again.crm, again.outreach) == ({}, {})


@pytest.mark.parametrize(
    "stopped, named",
    [
        ({"person_last_name"}, "person_first_name"),
        ({"person_last_name", "person_first_name"}, "name"),
    ],
)
def test_a_stopped_name_is_not_written(stopped: set[str], named: str) -> None:
    """The address goes to a name field that the CRM has."""
    view = unlinked(prospect=prospect(firstName=None, lastName=None), stopped=frozenset(stopped))
    told = made(view)
    assert told.crm[named] == "ada@example.com"
    assert not stopped & set(told.crm)


# ---- taken over


def test_who_is_gone_writes_nothing_to_somebody_elses_person() -> None:
    """A person that bears another prospect's id was taken over by it meanwhile; only an opt-out still stands for both."""
    taken = pair(prospect=None, states=(), person=person({**SHOWN, "cf_person_outreach_id": "5000010"}))
    told = made(taken)
    assert (told.action, told.crm, told.outreach) == (Action.NOTHING, {}, {})
    told = made(replace(taken, latched=True))
    assert (told.action, told.crm, told.outreach) == (Action.UPDATE, {"no_email_soliciting": True}, {})
    own = made(pair(prospect=None, states=(), person=person({**SHOWN, "cf_person_outreach_id": "7"})))
    assert own.crm["cf_person_sequence_state"] == "Not Active"
