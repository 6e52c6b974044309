from __future__ import annotations

import json

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import ID, NO_EMAIL, STATE


def test_the_reference_goes_before_the_address(stage: Stage) -> None:
    """Who bears the prospect's id is the person, though somebody else bears the prospect's address."""
    prospect = stage.enrolled("ada@example.com")
    other = stage.person(first="Bo", last="Borg", email="ada@example.com")
    mine = stage.person(first="Ada", last="Ashby", email="old@example.com", reference=str(prospect))
    told = stage.sync()
    assert told.crm == {"updated": 1}
    assert stage.person_of(prospect)["id"] == mine
    assert stage.of_person(other).get(STATE) is None


def test_an_address_is_found_regardless_of_case(stage: Stage) -> None:
    """Ada@Example.COM and ADA@example.com are one person: linked, nobody created."""
    prospect = stage.enrolled("Ada@Example.COM")
    person = stage.person(first="Ada", last="Ashby", email="aDA@example.com")
    assert stage.sync().crm == {"updated": 1}
    assert stage.person_of(prospect)["id"] == person
    assert len(stage.people()) == 1
    assert stage.of_person(person)[worlds.EMAIL] == "aDA@example.com"
    stage.settled()


def test_an_address_is_found_by_a_crm_that_minds_case(stage: Stage) -> None:
    """Also where the CRM's own look-up minds the case, for everybody was read before."""
    stage.hand("option", name="case_sensitive", value=True)
    prospect = stage.enrolled("ADA@example.com")
    person = stage.person(first="Ada", last="Ashby", email="Ada@Example.com")
    stage.sync()
    assert [stage.person_of(prospect)["id"], len(stage.people())] == [person, 1]


def test_the_alternate_address_counts_as_well(stage: Stage) -> None:
    """The person's alternate address is as good as the main one."""
    prospect = stage.enrolled("private@example.org")
    person = stage.person(first="Ada", last="Ashby", email="work@example.com", alternate="Private@example.org")
    stage.sync()
    assert [stage.person_of(prospect)["id"], len(stage.people())] == [person, 1]


def test_any_address_of_the_prospect_counts(stage: Stage) -> None:
    """The third address of a prospect finds the person; the prospect keeps all three, in their order."""
    prospect = stage.enrolled("one@example.com", "two@example.com", "three@example.com")
    person = stage.person(first="Ada", last="Ashby", email="three@example.com")
    stage.sync()
    assert [stage.person_of(prospect)["id"], len(stage.people())] == [person, 1]
    assert sorted(stage.of_prospect(prospect)["emails"]) == ["one@example.com", "three@example.com", "two@example.com"]
    stage.settled()


def test_two_people_with_that_address_are_held(stage: Stage) -> None:
    """Both are named, nothing is created or linked, everybody else flows, and the pass ends with 3."""
    stage.enrolled("ada@example.com")
    well = stage.enrolled("well@example.com", first="Wil")
    twins = [stage.person(first="Ada", last=f"Ashby {n}", email="ada@example.com") for n in (1, 2)]
    told = stage.sync(code=3)
    assert (told.report["held"], told.report["failed"], told.crm) == (1, 0, {"created": 1})
    assert [stage.of_person(one).get(ID) for one in twins] == [None, None]
    assert stage.person_of(well)[STATE] == worlds.RUNNING
    words = _held(stage)[0]
    assert all(str(one) in json.dumps(words) for one in twins)


def test_one_linked_to_another_prospect_is_held(stage: Stage) -> None:
    """A person who already belongs to another prospect is not taken away from it, and no double is made."""
    first = stage.enrolled("ada@example.com")
    stage.sync()
    person = stage.person_of(first)["id"]
    stage.enrolled("other@example.com", "ada2@example.com")
    stage.set_person(person, alternate="ada2@example.com")
    told = stage.sync(code=3)
    assert (told.report["held"], told.crm) == (1, {})
    assert stage.person_of(first)["id"] == person
    assert len(stage.people()) == 1


def test_two_prospects_of_one_new_address_make_one_person(stage: Stage) -> None:
    """Two prospects that share an address: one gets the person, the other is held; never two people."""
    stage.enrolled("shared@example.com", first="Ada")
    stage.enrolled("own@example.com", "shared@example.com", first="Bo")
    told = stage.sync(code=3)
    bearers = [one for one in stage.people() if one.get(worlds.EMAIL) == "shared@example.com"]
    assert (len(stage.people()), len(bearers), told.report["held"]) == (1, 1, 1)
    again = stage.sync(code=3)
    assert (again.crm, len(stage.people())) == ({}, 1)


def test_an_opt_out_goes_to_every_candidate(stage: Stage) -> None:
    """Who it is stays held, but each person with that address gets No Email."""
    prospect = stage.enrolled("ada@example.com", emailOptedOut=True)
    twins = [stage.person(first="Ada", last=f"Ashby {n}", email="ada@example.com") for n in (1, 2)]
    stage.sync(code=3)
    assert [stage.of_person(one)[NO_EMAIL] for one in twins] == [True, True]
    assert [stage.of_person(one).get(ID) for one in twins] == [None, None]
    assert prospect
    stage.forget_calls()
    again = stage.sync(code=3)
    assert (again.report["queued"], stage.crm_writes()) == (0, [])


def test_a_later_opt_out_of_a_held_one_goes_to_every_candidate(stage: Stage) -> None:
    """Held first and opted out afterwards: the next pass ticks both."""
    prospect = stage.enrolled("ada@example.com")
    twins = [stage.person(first="Ada", last=f"Ashby {n}", email="ada@example.com") for n in (1, 2)]
    stage.sync(code=3)
    stage.tell({"op": "opt_out", "prospect": prospect})
    stage.sync(code=3)
    assert [stage.of_person(one)[NO_EMAIL] for one in twins] == [True, True]


def test_no_email_of_a_candidate_reaches_the_prospect(stage: Stage) -> None:
    """No Email on one of two candidates opts the prospect out in Outreach though the match is held."""
    prospect = stage.enrolled("ada@example.com")
    stage.person(first="Ada", last="Ashby 1", email="ada@example.com", no_email=True)
    stage.person(first="Ada", last="Ashby 2", email="ada@example.com")
    stage.sync(code=3)
    assert stage.of_prospect(prospect).get("emailOptedOut") is True


def test_the_double_deleted_the_record_goes_on_by_itself(stage: Stage) -> None:
    """Once somebody deletes one of the two in the CRM, the next pass links the other and nothing is held."""
    prospect = stage.enrolled("ada@example.com")
    keep, drop = (stage.person(first="Ada", last=f"Ashby {n}", email="ada@example.com") for n in (1, 2))
    stage.sync(code=3)
    stage.delete_person(drop)
    told = stage.sync()
    assert (told.report["held"], told.report["converged"]) == (0, True)
    assert stage.person_of(prospect)["id"] == keep
    assert stage.of_person(keep)[STATE] == worlds.RUNNING
    stage.settled()


def test_the_double_merged_the_record_goes_on_by_itself(stage: Stage) -> None:
    """The same after a merge, where the winner takes the loser's address as its alternate one."""
    prospect = stage.enrolled("ada@example.com")
    keep, drop = (stage.person(first="Ada", last=f"Ashby {n}", email="ada@example.com") for n in (1, 2))
    stage.sync(code=3)
    stage.hand("merge", winner=keep, loser=drop)
    told = stage.sync()
    assert (told.report["held"], stage.person_of(prospect)["id"]) == (0, keep)


def test_the_reference_typed_in_by_hand_decides(stage: Stage) -> None:
    """An admin who types the prospect's id onto one of the two decides the match."""
    prospect = stage.enrolled("ada@example.com")
    mine, _ = (stage.person(first="Ada", last=f"Ashby {n}", email="ada@example.com") for n in (1, 2))
    stage.sync(code=3)
    stage.set_person(mine, reference=str(prospect))
    told = stage.sync()
    assert (told.report["held"], stage.person_of(prospect)["id"]) == (0, mine)


def test_two_bearing_the_reference_are_held(stage: Stage) -> None:
    """Somebody copied a person with its reference: both are named, and nobody is chosen."""
    prospect = stage.enrolled("ada@example.com")
    for n in (1, 2):
        stage.person(first="Ada", last=f"Ashby {n}", email=f"ada{n}@example.com", reference=str(prospect))
    told = stage.sync(code=3)
    assert (told.report["held"], told.crm) == (1, {})


def _held(stage: Stage) -> list[str]:
    return [words for (words,) in stage.rows("SELECT words FROM hold ORDER BY since")]
