from __future__ import annotations

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import ERROR, NO_EMAIL, STATE, TITLE
from worker.sim import workbooks

SHAPES = ["failures", "failure_words", "information", "errors2009"]
LONG = "x" * 300


def _crm(stage: Stage, **options: object) -> None:
    stage.use(crm_app=workbooks.build(records=0, options=options))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fresh", [True, False], ids=["create", "update"])
def test_one_refused_field_keeps_nothing_else_away(stage: Stage, shape: str, fresh: bool) -> None:
    """A title too long: all other fields are written, the opt-out too, the vendor's words stand in the error field."""
    _crm(stage, failure_shape=shape)
    prospect = stage.enrolled("ada@example.com", title=LONG if fresh else "Buyer")
    well = [stage.enrolled(f"w{n}@example.com", first=f"W{n}") for n in range(3)]
    if not fresh:
        stage.sync()
        stage.set_prospect(prospect, title=LONG, lastName="Ashcombe")
        for one in well:
            stage.set_prospect(one, title="Planner")
    stage.set_prospect(prospect, emailOptedOut=True)
    told = stage.sync(code=3)
    assert (told.report["failed"], told.report["new_failed"], told.report["held"]) == (1, 1, 0)
    person = stage.person_of(prospect)
    assert (person[STATE], person[NO_EMAIL]) == (worlds.OPTED_OUT, True)
    assert person.get(TITLE) == (None if fresh else "Buyer")
    assert "too long" in person[ERROR]
    assert LONG not in person[ERROR]
    assert [stage.person_of(one)[STATE] for one in well] == [worlds.RUNNING] * 3
    assert len(stage.people()) == 4
    again = stage.sync(code=3)
    assert (again.report["failed"], again.report["new_failed"], again.report["queued"], again.crm) == (1, 0, 0, {})


@pytest.mark.parametrize("shape", SHAPES)
def test_a_refused_field_mended_clears_the_error(stage: Stage, shape: str) -> None:
    """A shorter title in Outreach: it is written, the error field is blank, nothing fails any more."""
    _crm(stage, failure_shape=shape)
    prospect = stage.enrolled("ada@example.com", title=LONG)
    stage.sync(code=3)
    stage.set_prospect(prospect, title="Planner")
    told = stage.sync()
    assert (told.report["failed"], told.report["converged"]) == (0, True)
    person = stage.person_of(prospect)
    assert (person[TITLE], person.get(ERROR)) == ("Planner", None)
    stage.settled()


@pytest.mark.parametrize("shape", SHAPES)
def test_an_edit_beside_a_refused_field_travels(stage: Stage, shape: str) -> None:
    """While its title is refused, a new last name still arrives; the record goes on failing with its words."""
    _crm(stage, failure_shape=shape)
    prospect = stage.enrolled("ada@example.com", title=LONG)
    stage.sync(code=3)
    stage.set_prospect(prospect, lastName="Ashcombe")
    told = stage.sync(code=3)
    person = stage.person_of(prospect)
    assert (person["person_last_name"], told.report["failed"]) == ("Ashcombe", 1)
    assert "too long" in person[ERROR]


@pytest.mark.parametrize("shape", SHAPES)
def test_two_refused_fields_are_both_told(stage: Stage, shape: str) -> None:
    """Title and first name too long: both words are told, the rest is written."""
    _crm(stage, failure_shape=shape)
    prospect = stage.enrolled("ada@example.com", first="y" * 300, title=LONG)
    stage.sync(code=3)
    person = stage.person_of(prospect)
    assert (person[STATE], person["person_last_name"]) == (worlds.RUNNING, "Ashby")
    assert "title" in person[ERROR].lower()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_name_too_long_gives_way_to_the_address(stage: Stage, shape: str) -> None:
    """The only name is too long: called by the address until it is mended, then by its name; nobody is doubled."""
    _crm(stage, failure_shape=shape)
    prospect = stage.enrolled("ada@example.com", first=None, last="y" * 300, title="Buyer", emailOptedOut=True)
    stage.sync(code=3)
    person = stage.person_of(prospect)
    assert [person["name"], person[TITLE], person[NO_EMAIL]] == ["ada@example.com", "Buyer", True]
    assert "too long" in person[ERROR]
    assert stage.of_prospect(prospect)["lastName"] == "y" * 300
    stage.set_prospect(prospect, lastName="Ashby")
    stage.sync()
    person = stage.person_of(prospect)
    assert (person["person_last_name"], person.get(ERROR), len(stage.people())) == ("Ashby", None, 1)
    stage.settled()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_rule_of_the_customers_own(stage: Stage, shape: str) -> None:
    """A validation that only this database has: its words reach the person, and nobody else is touched."""
    rule = {"type": "person", "field": TITLE, "pattern": "Minister", "message": "Titles of state need approval"}
    _crm(stage, failure_shape=shape, rules=[rule])
    prospect = stage.enrolled("ada@example.com", title="Minister")
    other = stage.enrolled("bo@example.com", first="Bo", title="Buyer")
    told = stage.sync(code=3)
    assert told.report["failed"] == 1
    assert "Titles of state need approval" in stage.person_of(prospect)[ERROR]
    assert stage.person_of(other)[TITLE] == "Buyer"


def test_several_records_refused_in_one_batch(stage: Stage) -> None:
    """Ten of forty have a title too long: ten fail, thirty are whole, nobody is doubled."""
    people = [
        stage.enrolled(f"p{n}@example.com", first=f"P{n}", title=LONG if n % 4 == 0 else "Buyer") for n in range(40)
    ]
    told = stage.sync(code=3)
    assert (told.report["failed"], told.crm["created"]) == (10, 40)
    assert [stage.person_of(one).get(TITLE) for one in people] == [None if n % 4 == 0 else "Buyer" for n in range(40)]
    assert {stage.person_of(one)[STATE] for one in people} == {worlds.RUNNING}


@pytest.mark.parametrize("fresh", [True, False], ids=["create", "update"])
def test_a_refusal_that_names_no_field(stage: Stage, fresh: bool) -> None:
    """Words without a field: what is refused is found by trying, all the rest is written, the words are told."""
    rule = {"type": "person", "field": TITLE, "pattern": "Minister", "message": "Computer says no"}
    _crm(stage, failure_shape="failure_words", rules=[rule])
    prospect = stage.enrolled(
        "ada@example.com", title="Minister" if fresh else "Buyer", mobilePhones=["+44 7700 900123"]
    )
    well = stage.enrolled("well@example.com", first="Wil")
    if not fresh:
        stage.sync()
        stage.set_prospect(prospect, title="Minister", mobilePhones=["+44 7700 900999"])
    told = stage.sync(code=3)
    assert told.report["failed"] == 1
    person = stage.person_of(prospect)
    assert (person[STATE], person.get(TITLE)) == (worlds.RUNNING, None if fresh else "Buyer")
    assert person[worlds.MOBILE] == ("+44 7700 900123" if fresh else "+44 7700 900999")
    assert "Computer says no" in person[ERROR]
    assert stage.person_of(well)[STATE] == worlds.RUNNING
    assert len(stage.people()) == 2


def test_a_value_refused_in_outreach(stage: Stage) -> None:
    """Outreach refuses an address: the rest of the edit travels, the person's error field says why, cleared once mended."""
    first = stage.enrolled("ada@example.com")
    second = stage.enrolled("bo@example.com", first="Bo")
    stage.sync()
    person = stage.person_of(second)["id"]
    stage.set_person(person, email="no address", title="Planner")
    told = stage.sync(code=3)
    assert told.report["failed"] == 1
    assert stage.of_prospect(second)["title"] == "Planner"
    assert stage.of_prospect(second)["emails"] == ["bo@example.com"]
    assert stage.of_person(person)[ERROR]
    stage.set_person(person, email="bo2@example.com")
    told = stage.sync()
    assert (told.report["failed"], stage.of_prospect(second)["emails"]) == (0, ["bo2@example.com"])
    assert stage.of_person(person).get(ERROR) is None
    assert first


def test_a_refused_edit_for_outreach_keeps_no_opt_out_away(stage: Stage) -> None:
    """The same record opted out in the CRM: Outreach is told although another attribute is refused."""
    prospect = stage.enrolled("ada@example.com")
    stage.sync()
    stage.set_person(stage.person_of(prospect)["id"], email="no address", no_email=True)
    stage.sync(code=3)
    assert stage.of_prospect(prospect)["emailOptedOut"] is True
