"""People whom somebody ticked in the CRM: found in Outreach, or created there, once."""

from __future__ import annotations

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import ERROR, ID, NO_EMAIL

TICK = "cf_person_sync_to_outreach"


def ticked(stage: Stage, email: str | None, **fields: object) -> int:
    """Make a person who is to exist in Outreach."""
    person = stage.person(first="Ada", last="Ashby", **({"email": email} if email else {}))
    stage.set_person(person, **{TICK: True, **fields})
    return person


def test_somebody_unknown_is_created_once(stage: Stage) -> None:
    """Created with the person's values and its own number, linked both ways, and not again by a later pass."""
    stage.sync()
    person = ticked(stage, "ada@example.com", **{worlds.TITLE: "Engineer"})
    told = stage.sync()
    assert told.outreach == {"created": 1}
    made = int(stage.of_person(person)[ID])
    prospect = stage.of_prospect(made)
    expected = {"firstName": "Ada", "lastName": "Ashby", "title": "Engineer", "emails": ["ada@example.com"]}
    expected |= {"externalSource": "workbooks", "externalId": str(person)}
    assert {name: prospect[name] for name in expected} == expected
    assert stage.of_person(person)[worlds.STATE] == worlds.NOT_ACTIVE
    stage.settled()


def test_somebody_known_by_an_address_is_linked(stage: Stage) -> None:
    """A prospect with that address in another case takes the person; nothing is created."""
    prospect = stage.prospect("Ada@Example.com")
    stage.sync()
    person = ticked(stage, "ada@example.com")
    told = stage.sync()
    assert told.outreach.get("created", 0) == 0
    assert stage.of_person(person)[ID] == str(prospect)
    stage.settled()


def test_no_email_goes_with_the_creation(stage: Stage) -> None:
    """Somebody with No Email is opted out in the very request that creates the prospect."""
    stage.sync()
    person = ticked(stage, "ada@example.com", **{NO_EMAIL: True})
    stage.forget_calls()
    stage.sync()
    prospect = stage.of_prospect(int(stage.of_person(person)[ID]))
    assert prospect["emailOptedOut"] is True
    stage.settled()


def test_without_an_address_the_reason_is_told_and_goes_again(stage: Stage) -> None:
    """No address: said in the person's own field; with one: created, and the field is blank."""
    stage.sync()
    person = ticked(stage, None)
    stage.sync(code=3)
    assert "no e-mail address" in stage.of_person(person)[ERROR]
    stage.set_person(person, email="ada@example.com")
    stage.sync()
    assert stage.of_person(person).get(ERROR) is None
    assert stage.of_person(person)[ID]
    stage.settled()


def test_too_many_at_once_are_held(stage: Stage) -> None:
    """More than the mapping's number within a day: one entry, nobody is created."""
    stage.mapping(("  new_prospects: 500", "  new_prospects: 2"))
    stage.sync()
    people = [ticked(stage, f"p{number}@example.com") for number in range(3)]
    told = stage.sync(code=3)
    assert (told.report["held"], told.outreach.get("created", 0)) == (1, 0)
    stage.outbook("held", "approve", "--kind", "brake")
    assert stage.sync().outreach == {"created": 3}
    assert all(stage.of_person(person)[ID] for person in people)
