from __future__ import annotations

from typing import Any

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import COLD, INBOUND, NO_EMAIL, SINCE, STATE

MAR_2 = "2026-03-02T08:30:00.000Z"
MAR_3 = "2026-03-03T08:30:00.000Z"

FROM_OUTREACH: list[tuple[dict[str, Any], str]] = [
    ({"optedOut": True, "optedOutAt": MAR_2, "emailsOptedAt": MAR_3}, "Mon Mar 02 08:30:00 UTC 2026"),
    ({"emailOptedOut": True, "emailsOptedAt": MAR_3}, "Tue Mar 03 08:30:00 UTC 2026"),
    ({"emailsOptStatus": "opted_out"}, "Mon Jan 05 10:00:00 UTC 2026"),
]


@pytest.mark.parametrize("attributes, since", FROM_OUTREACH)
def test_an_opt_out_in_outreach_reaches_the_crm(stage: Stage, attributes: dict[str, Any], since: str) -> None:
    """Each of the three signs gives Opted Out and No Email, dated by optedOutAt, else emailsOptedAt, else the state."""
    prospect = stage.enrolled("ada@example.com")
    stage.sync()
    stage.set_prospect(prospect, **attributes)
    told = stage.sync()
    assert told.crm == {"updated": 1, "opted_out": 1}
    person = stage.person_of(prospect)
    assert [person[name] for name in (STATE, NO_EMAIL, SINCE)] == [worlds.OPTED_OUT, True, since]
    stage.settled()


def test_without_any_time_the_date_is_blank(stage: Stage) -> None:
    """Opted out, in no sequence and without a date: Opted Out, No Email, no date."""
    prospect = stage.prospect("ada@example.com", emailsOptStatus="opted_out")
    stage.person(first="Ada", last="Ashby", email="ada@example.com")
    stage.sync()
    person = stage.person_of(prospect)
    assert [person.get(name) for name in (*worlds.FIVE, NO_EMAIL)] == [worlds.OPTED_OUT, None, None, None, None, True]


def test_opted_out_of_calls_alone_is_no_opt_out(stage: Stage) -> None:
    """Only e-mail counts."""
    prospect = stage.enrolled("ada@example.com", callOptedOut=True, callsOptStatus="opted_out")
    stage.sync()
    person = stage.person_of(prospect)
    assert (person[STATE], bool(person.get(NO_EMAIL))) == (worlds.RUNNING, False)


def test_no_email_in_the_crm_opts_the_prospect_out(stage: Stage) -> None:
    """Ticked in the CRM: emailOptedOut in Outreach, and the person reads Opted Out, all within one pass."""
    prospect = stage.enrolled("ada@example.com")
    stage.sync()
    person = stage.person_of(prospect)["id"]
    stage.set_person(person, no_email=True)
    told = stage.sync()
    assert told.outreach == {"opted_out": 1}
    assert stage.of_prospect(prospect)["emailOptedOut"] is True
    assert stage.of_person(person)[STATE] == worlds.OPTED_OUT
    assert told.report["converged"] is True
    stage.settled()


def test_no_email_known_before_the_first_pass_is_carried_over(stage: Stage) -> None:
    """A person who had No Email all along opts the prospect out at the first pass."""
    prospect = stage.enrolled("ada@example.com")
    person = stage.person(first="Ada", last="Ashby", email="ada@example.com", no_email=True)
    stage.sync()
    assert stage.of_prospect(prospect)["emailOptedOut"] is True
    assert stage.of_person(person)[STATE] == worlds.OPTED_OUT
    stage.settled()


@pytest.mark.parametrize("granular", [False, True])
def test_only_email_is_written(stage: Stage, granular: bool) -> None:
    """We write emailOptedOut and nothing else; calls stay allowed where the organisation tells the two apart."""
    from worker.sim import outreach
    from worker.sim.outreach import Options

    stage.use(outreach_app=outreach.build(records=0, options=Options(granular_opt_out=granular)))
    prospect = stage.enrolled("ada@example.com")
    stage.sync()
    stage.set_person(stage.person_of(prospect)["id"], no_email=True)
    stage.sync()
    told = stage.of_prospect(prospect)
    assert (told["emailOptedOut"], bool(told.get("callOptedOut"))) == (True, not granular)
    stage.settled()


def test_taken_back_in_the_crm_it_is_set_again(stage: Stage) -> None:
    """No Email unticked by hand is ticked again at the next pass; Outreach stays opted out throughout."""
    prospect = stage.enrolled("ada@example.com", emailOptedOut=True)
    stage.sync()
    person = stage.person_of(prospect)["id"]
    stage.set_person(person, no_email=False)
    stage.sync()
    assert (stage.of_person(person)[NO_EMAIL], stage.of_prospect(prospect)["emailOptedOut"]) == (True, True)
    stage.settled()


def test_taken_back_in_outreach_it_is_set_again(stage: Stage) -> None:
    """Opted in again in Outreach: the next pass opts out again, and No Email in the CRM is never unticked."""
    prospect = stage.enrolled("ada@example.com")
    stage.sync()
    stage.tell({"op": "opt_out", "prospect": prospect})
    stage.sync()
    stage.forget_calls()
    stage.tell({"op": "opt_in", "prospect": prospect})
    stage.sync()
    assert stage.of_prospect(prospect)["emailOptedOut"] is True
    assert stage.person_of(prospect)[NO_EMAIL] is True
    assert all(write["changes"].get(NO_EMAIL, [None, True])[1] is True for write in stage.crm_writes())
    stage.settled()


def test_taken_back_on_both_sides_it_is_set_again(stage: Stage) -> None:
    """Remembered for ever: unticked in the CRM and opted in in Outreach between two passes, both are set again."""
    prospect = stage.enrolled("ada@example.com", emailOptedOut=True)
    stage.sync()
    person = stage.person_of(prospect)["id"]
    stage.set_person(person, no_email=False)
    stage.set_prospect(prospect, emailOptedOut=False, emailsOptStatus="opted_in", optedOut=False)
    stage.sync()
    assert (stage.of_person(person)[NO_EMAIL], stage.of_prospect(prospect)["emailOptedOut"]) == (True, True)


def test_a_state_opted_out_is_not_outlived(stage: Stage) -> None:
    """The state itself moves on to active again; the person stays Opted Out."""
    prospect = stage.prospect("ada@example.com")
    state = stage.state(prospect, COLD, "opted_out")
    stage.sync()
    stage.set_state(state, state="active")
    stage.sync()
    person = stage.person_of(prospect)
    assert (person[STATE], person[NO_EMAIL]) == (worlds.OPTED_OUT, True)
    assert stage.of_prospect(prospect)["emailOptedOut"] is True


def test_an_older_opted_out_state_counts_too(stage: Stage) -> None:
    """Any state literally opted_out opts the person out, also one that a later state of the same sequence outdates."""
    prospect = stage.prospect("ada@example.com")
    stage.state(prospect, COLD, "opted_out", at="2026-01-05T10:00:00.000Z")
    stage.state(prospect, COLD, "active", at="2026-02-05T10:00:00.000Z")
    stage.state(prospect, INBOUND, "active", at="2026-02-05T10:00:00.000Z")
    stage.sync()
    assert stage.person_of(prospect)[STATE] == worlds.OPTED_OUT


def test_somebody_opted_out_is_created_with_the_flag(stage: Stage) -> None:
    """A new person who is opted out bears No Email in the very request that creates it."""
    prospect = stage.enrolled("ada@example.com", emailOptedOut=True)
    told = stage.sync()
    assert told.crm == {"created": 1, "opted_out": 1}
    (create,) = [write for write in stage.crm_writes("person") if write["op"] == "create"]
    assert create["changes"][NO_EMAIL] == [None, True]
    assert stage.person_of(prospect)[STATE] == worlds.OPTED_OUT


def test_somebody_opted_out_is_created_again_with_the_flag(stage: Stage) -> None:
    """Deleted in the CRM after opting out there: created again with No Email in the same request."""
    prospect = stage.enrolled("ada@example.com")
    stage.sync()
    person = stage.person_of(prospect)["id"]
    stage.set_person(person, no_email=True)
    stage.delete_person(person)
    stage.forget_calls()
    told = stage.sync()
    assert told.crm.get("recreated") == 1
    (create,) = [write for write in stage.crm_writes("person") if write["op"] == "create"]
    assert create["changes"][NO_EMAIL] == [None, True]
    assert stage.of_prospect(prospect)["emailOptedOut"] is True
    stage.settled()


def test_an_address_is_remembered_for_a_new_prospect(stage: Stage) -> None:
    """A prospect that opted out is deleted and entered anew under the same address: opted out from the first moment."""
    first = stage.enrolled("ada@example.com", emailOptedOut=True)
    stage.sync()
    stage.tell({"op": "delete", "type": "prospect", "id": first})
    stage.delete_person(stage.person_of(first)["id"])
    stage.sync(code=None)
    second = stage.enrolled("ADA@example.com", first="Ada")
    stage.forget_calls()
    stage.sync(code=None)
    assert stage.of_prospect(second)["emailOptedOut"] is True
    living = [one for one in stage.people() if (one.get("main_location[email]") or "").lower() == "ada@example.com"]
    assert [one[NO_EMAIL] for one in living] == [True] * len(living)
    assert living


def test_a_second_address_of_somebody_opted_out_is_remembered(stage: Stage) -> None:
    """Every address known when the opt-out came counts: a new prospect with the second one is opted out too."""
    first = stage.enrolled("ada@example.com", "private@example.org", emailOptedOut=True)
    stage.sync()
    stage.set_prospect(first, emails=["ada@example.com"])
    stage.sync()
    second = stage.enrolled("private@example.org", first="Ada")
    stage.sync(code=None)
    assert stage.of_prospect(second)["emailOptedOut"] is True
    assert stage.person_of(second)[NO_EMAIL] is True


def test_a_person_without_a_prospect_is_remembered(stage: Stage) -> None:
    """No Email on somebody whom Outreach does not know yet: entered there later, the prospect is opted out at once."""
    person = stage.person(first="Ada", last="Ashby", email="ada@example.com", no_email=True)
    stage.sync()
    prospect = stage.enrolled("ada@example.com")
    stage.sync()
    assert stage.of_prospect(prospect)["emailOptedOut"] is True
    assert stage.person_of(prospect)["id"] == person
    stage.settled()


def test_a_person_without_a_prospect_and_deleted_since_is_remembered(stage: Stage) -> None:
    """The same though that person was deleted in the CRM meanwhile: the new one bears No Email from the first."""
    person = stage.person(first="Ada", last="Ashby", email="ada@example.com", no_email=True)
    stage.sync()
    stage.delete_person(person)
    stage.sync()
    prospect = stage.enrolled("ada@example.com")
    stage.sync()
    assert stage.of_prospect(prospect)["emailOptedOut"] is True
    assert stage.person_of(prospect)[NO_EMAIL] is True


def test_a_merge_in_the_crm_unites_opt_outs(stage: Stage) -> None:
    """The loser had No Email, the winner not: the winner is opted out afterwards, and so is the prospect."""
    prospect = stage.enrolled("ada@example.com")
    stage.sync()
    loser = stage.person_of(prospect)["id"]
    winner = stage.person(first="Ada", last="Ashby", email="winner@example.com")
    stage.set_person(loser, no_email=True)
    stage.hand("merge", winner=winner, loser=loser)
    stage.sync()
    assert stage.person_of(prospect)["id"] == winner
    assert (stage.of_person(winner)[NO_EMAIL], stage.of_prospect(prospect)["emailOptedOut"]) == (True, True)
    stage.settled()


def test_a_prospect_in_no_sequence_without_a_person_is_opted_out_in_outreach_only(stage: Stage) -> None:
    """Excluded from the CRM, it is latched all the same: created later, it bears No Email from the first."""
    prospect = stage.prospect("ada@example.com", emailOptedOut=True)
    assert stage.sync().report["excluded"] == 1
    stage.set_prospect(prospect, emailOptedOut=False)
    stage.state(prospect)
    stage.sync()
    assert stage.person_of(prospect)[NO_EMAIL] is True
    assert stage.of_prospect(prospect)["emailOptedOut"] is True
