"""A write whose reply nobody saw is known again by its values, and is then nobody's edit."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.core.makers import at, link, mapping, person, prospect
from tests.core.pairs import SHOWN, crm_edit, pair, unlinked
from worker.core import intents, plan
from worker.core.plan import Action, PersonView
from worker.core.records import Value

SENT: dict[str, object] = {"crm": "update", "to_crm": {"person_job_title": "Countess"}}


def overtaken() -> PersonView:
    """Return a pair whose CRM holds our lost ``Countess`` while Outreach has moved on to ``Duchess``."""
    landed = person({**SHOWN, "person_job_title": "Countess"}, version=4)
    return pair(person=landed, prospect=prospect(title="Duchess"))


def writes(view: PersonView) -> tuple[dict[str, Value], dict[str, Value]]:
    """Return what would be written on either side."""
    told = plan.plan_person(view, mapping())
    return dict(told.crm), dict(told.outreach)


def test_our_own_lost_write_loses_to_a_later_edit() -> None:
    """The CRM's value is ours, so the newer edit in Outreach goes there, and not the other way round."""
    assert writes(overtaken())[1] == {"title": "Countess"}
    crm, outreach = writes(intents.landed(overtaken(), SENT, mapping()))
    assert (crm, outreach) == ({"person_job_title": "Duchess"}, {})


def test_somebody_else_s_value_is_an_edit_all_the_same() -> None:
    """A value that is not the one we sent was put there by somebody, and the policy decides."""
    view = intents.landed(overtaken(), {"crm": "update", "to_crm": {"person_job_title": "Baroness"}}, mapping())
    assert writes(view)[1] == {"title": "Countess"}


def test_a_lost_write_to_outreach_is_known_again() -> None:
    """What was sent to Outreach and stands there is agreed; the CRM's later edit goes there."""
    view = pair(person=person({**SHOWN, "person_job_title": "Duchess"}, version=4), prospect=prospect(title="Countess"))
    sent = {"crm": None, "outreach": ["title"], "to_outreach": {"person_job_title": "Countess"}}
    shadow = intents.landed(view, sent, mapping()).link
    assert shadow is not None
    assert (shadow.shadow.outreach["person_job_title"], shadow.shadow.crm["person_job_title"]) == ("Countess",) * 2


def test_a_person_that_was_waited_for_is_no_first_sight_either() -> None:
    """The tries that only looked for it have intents of their own, which carry on what the first one meant."""
    view = unlinked(person=person(SHOWN), prospect=prospect(title="Duchess"))
    sent = {"crm": None, "to_crm": {"person_job_title": "Analyst"}, "unconfirmed": at(9).isoformat()}
    assert writes(intents.landed(view, sent, mapping()))[0]["person_job_title"] == "Duchess"


@pytest.mark.parametrize("action", ["create", "recreate"])
def test_a_person_made_by_a_lost_write_is_no_first_sight(action: str) -> None:
    """An edit made in Outreach since then reaches the person; at first sight differing values would stay."""
    view = unlinked(person=person(SHOWN), prospect=prospect(title="Duchess"))
    assert "person_job_title" not in writes(view)[0]
    sent = {"crm": action, "to_crm": {"person_job_title": "Analyst"}}
    assert writes(intents.landed(view, sent, mapping()))[0]["person_job_title"] == "Duchess"


def test_whoever_does_not_bear_our_reference_was_not_made_by_us() -> None:
    """Somebody with the same address is met for the first time."""
    view = unlinked(person=person({**SHOWN, "cf_person_outreach_id": None}))
    assert intents.landed(view, {"crm": "create", "to_crm": dict(SHOWN)}, mapping()) == view


def test_nothing_is_read_into_what_tells_nothing() -> None:
    """Without an intent, without a person, with a tombstone or an unlinked pair all stays as it was seen."""
    gone = pair(link=replace(link(dict(SHOWN), dict(SHOWN)), gone=True))
    buried = pair(person=replace(person(SHOWN), deleted=True))
    for view, intent in ((pair(), {}), (unlinked(), SENT), (buried, SENT), (gone, SENT), (pair(), SENT)):
        assert intents.landed(view, intent, mapping()) == view


def test_an_opt_out_is_never_agreed_upon() -> None:
    """A latch has no shadow, whatever was sent."""
    view = pair(person=person({**SHOWN, "no_email_soliciting": True}))
    assert intents.landed(view, {"crm": "update", "to_crm": {"no_email_soliciting": True}}, mapping()) == view


def test_an_intent_tells_action_and_values_and_keeps_what_an_earlier_one_said() -> None:
    """Values stand under the CRM's names, whichever side they go to; a field sent before is not forgotten."""
    told = plan.plan_person(crm_edit({"main_location[telephone]": "+44 20 7946 0999"}), mapping())
    told = replace(told, action=Action.UPDATE, crm={"person_job_title": "Countess"})
    assert intents.of(told, mapping(), {"to_crm": {"person_last_name": "King"}, "to_outreach": {}}, at(9)) == {
        "crm": "update",
        "outreach": ["workPhones"],
        "to_crm": {"person_last_name": "King", "person_job_title": "Countess"},
        "to_outreach": {"main_location[telephone]": "+44 20 7946 0999"},
    }


def test_a_plan_that_writes_nothing_intends_nothing() -> None:
    """Values of an action that is not carried out are not taken for sent."""
    told = replace(plan.plan_person(pair(), mapping()), crm={"person_job_title": "Countess"})
    assert intents.of(told, mapping(), {}, at(9)) == {"crm": None, "outreach": [], "to_crm": {}, "to_outreach": {}}


def test_a_new_record_is_in_doubt_until_that_is_sure() -> None:
    """From the moment it is about to be made, carried on by tries that make none, until the vendor says that there is none."""
    made = plan.plan_person(unlinked(person=None, states=pair().states), mapping())
    assert made.action is Action.CREATE
    first = intents.of(made, mapping(), {}, at(9))
    assert first["unconfirmed"] == at(9).isoformat()
    waited = intents.of(plan.held(made), mapping(), first, at(10))
    assert (waited["crm"], waited["unconfirmed"]) == (None, at(9).isoformat())
    assert intents.of(made, mapping(), waited, at(11))["unconfirmed"] == at(11).isoformat()
    assert "in_vain" not in waited
    second = intents.of(made, mapping(), waited, at(12))
    third = intents.of(made, mapping(), second, at(13))
    assert (second["in_vain"], third["in_vain"]) == (1, 2)
    assert intents.of(plan.held(made), mapping(), third, at(14))["in_vain"] == 2
    assert not {"unconfirmed", "in_vain"} & intents.sure(third).keys()
    assert intents.sure(waited)["to_crm"] == waited["to_crm"]


@pytest.mark.parametrize(
    "after_s, wait_s", [(0, 10.0), (10, 10.0), (24, 10.0), (26, 9.0), (34.5, 0.5), (35, None), (900, None), (-20, 10.0)]
)
def test_an_unconfirmed_record_is_looked_for_every_ten_seconds(after_s: float, wait_s: float | None) -> None:
    """Until 35 seconds are over; a clock put back a little starts no second record, one put back a lot blocks none."""
    intent = {"unconfirmed": at(9).isoformat()}
    assert intents.to_wait_s(intent, at(9) + timedelta(seconds=after_s)) == wait_s


def test_what_is_in_no_doubt_is_not_waited_for() -> None:
    """Without the mark there is nothing to wait for."""
    assert intents.to_wait_s({"crm": "create"}, at(9)) is None
    assert intents.to_wait_s({"unconfirmed": at(9).isoformat()}, at(8)) is None
