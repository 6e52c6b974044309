from __future__ import annotations

from typing import Any

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import EMAIL, MOBILE, PHONE, STATE, TITLE


@pytest.fixture
def pair(stage: Stage) -> tuple[int, int]:
    """A prospect and its person, in agreement: (prospect, person)."""
    prospect = stage.enrolled(
        "ada@example.com", title="Buyer", workPhones=["+44 20 7946 0018"], mobilePhones=["+44 7700 900123"]
    )
    stage.sync()
    return prospect, stage.person_of(prospect)["id"]


def test_first_sight_fills_blanks_both_ways(stage: Stage) -> None:
    """A blank takes the other side's value, in either direction, and nothing that is filled is touched."""
    prospect = stage.enrolled("ada@example.com", first="Ada", last=None, title="Buyer", workPhones=[], mobilePhones=[])
    person = stage.person(last="Ashby", email="ada@example.com", phone="020 7946 0018")
    told = stage.sync()
    assert (told.crm, told.outreach) == ({"updated": 1}, {"updated": 1})
    held = stage.of_person(person)
    assert [held.get(name) for name in ("person_first_name", "person_last_name", TITLE)] == ["Ada", "Ashby", "Buyer"]
    kept = stage.of_prospect(prospect)
    assert [kept["firstName"], kept["lastName"], kept["workPhones"]] == ["Ada", "Ashby", ["020 7946 0018"]]
    stage.settled()


def test_first_sight_leaves_differing_values_until_somebody_edits_one(stage: Stage) -> None:
    """Differing titles stay, also when other fields of either record change; an edit of one then travels."""
    prospect = stage.enrolled("ada@example.com", title="Buyer")
    person = stage.person(first="Ada", last="Ashby", email="ada@example.com", title="Planner")
    stage.sync()
    assert [stage.of_prospect(prospect)["title"], stage.of_person(person)[TITLE]] == ["Buyer", "Planner"]
    stage.settled()
    stage.set_person(person, mobile="+44 7700 900999")
    stage.set_prospect(prospect, firstName="Adalind")
    stage.sync()
    assert [stage.of_prospect(prospect)["title"], stage.of_person(person)[TITLE]] == ["Buyer", "Planner"]
    assert stage.of_prospect(prospect)["mobilePhones"] == ["+44 7700 900999"]
    stage.set_prospect(prospect, title="Head of Sales")
    stage.sync()
    assert [stage.of_prospect(prospect)["title"], stage.of_person(person)[TITLE]] == ["Head of Sales"] * 2
    stage.settled()


def test_first_sight_by_on_conflict(stage: Stage) -> None:
    """With `first_sight: on_conflict` the CRM's value, the default winner, goes to Outreach at once."""
    stage.mapping(("first_sight: fill_blanks", "first_sight: on_conflict"))
    prospect = stage.enrolled("ada@example.com", title="Buyer")
    person = stage.person(first="Ada", last="Ashby", email="ada@example.com", title="Planner")
    stage.sync()
    assert [stage.of_prospect(prospect)["title"], stage.of_person(person)[TITLE]] == ["Planner"] * 2


TWO_WAY: list[tuple[str, dict[str, Any], str, str]] = [
    ("first name", {"firstName": "Adalind"}, "person_first_name", "Adalind"),
    ("last name", {"lastName": "Ashcombe"}, "person_last_name", "Ashcombe"),
    ("title", {"title": "Planner"}, TITLE, "Planner"),
    ("address", {"emails": ["new@example.com"]}, EMAIL, "new@example.com"),
    ("telephone", {"workPhones": ["+44 20 7946 0999"]}, PHONE, "+44 20 7946 0999"),
    ("mobile", {"mobilePhones": ["+44 7700 900999"]}, MOBILE, "+44 7700 900999"),
]


@pytest.mark.parametrize("_what, attributes, column, value", TWO_WAY, ids=[row[0] for row in TWO_WAY])
def test_an_edit_in_outreach_travels(
    stage: Stage, pair: tuple[int, int], _what: str, attributes: dict[str, Any], column: str, value: str
) -> None:
    """Just that field is written in the CRM, and nothing comes back."""
    prospect, person = pair
    stage.forget_calls()
    stage.set_prospect(prospect, **attributes)
    assert stage.sync().crm == {"updated": 1}
    assert stage.of_person(person)[column] == value
    (write,) = stage.crm_writes("person")
    assert set(write["changes"]) - {"name"} == {column}
    assert stage.outreach_writes() == []
    stage.settled()


@pytest.mark.parametrize("_what, attributes, column, value", TWO_WAY, ids=[row[0] for row in TWO_WAY])
def test_an_edit_in_the_crm_travels(
    stage: Stage, pair: tuple[int, int], _what: str, attributes: dict[str, Any], column: str, value: str
) -> None:
    """Just that attribute is written in Outreach, and nothing comes back."""
    prospect, person = pair
    stage.forget_calls()
    stage.set_person(person, **{column: value})
    assert stage.sync().outreach == {"updated": 1}
    held = stage.of_prospect(prospect)
    name, wanted = next(iter(attributes.items()))
    told = held[name][:1] if isinstance(wanted, list) else held[name]
    assert told == wanted
    assert stage.crm_writes() == []
    stage.settled()


def test_a_cleared_value_travels_both_ways(stage: Stage, pair: tuple[int, int]) -> None:
    """Emptied in Outreach it is emptied in the CRM, and the other way round."""
    prospect, person = pair
    stage.set_prospect(prospect, title=None)
    stage.set_person(person, mobile=None)
    stage.sync()
    assert stage.of_person(person).get(TITLE) in {None, ""}
    assert stage.of_prospect(prospect)["mobilePhones"] == []
    stage.settled()


def test_further_elements_are_never_dropped(stage: Stage) -> None:
    """An edit of the first phone or address in the CRM leaves the others of the prospect where they are."""
    prospect = stage.enrolled(
        "one@example.com",
        "two@example.com",
        workPhones=["+44 20 7946 0001", "+44 20 7946 0002", "+44 20 7946 0003"],
    )
    stage.sync()
    person = stage.person_of(prospect)["id"]
    stage.set_person(person, phone="+44 20 7946 0009", email="three@example.com")
    stage.sync()
    held = stage.of_prospect(prospect)
    assert held["workPhones"] == ["+44 20 7946 0009", "+44 20 7946 0002", "+44 20 7946 0003"]
    assert held["emails"] == ["three@example.com", "two@example.com"]
    stage.settled()


def test_phones_compare_as_numbers_and_addresses_regardless_of_case(stage: Stage) -> None:
    """Written otherwise but meaning the same, neither side is touched."""
    prospect = stage.enrolled("ADA@example.com", workPhones=["+44 (0)20 7946 0018"])
    person = stage.person(first="Ada", last="Ashby", email="ada@EXAMPLE.com", phone="020 79460018")
    stage.sync()
    assert stage.of_person(person)[PHONE] == "020 79460018"
    assert stage.of_prospect(prospect)["workPhones"] == ["+44 (0)20 7946 0018"]
    assert stage.of_prospect(prospect)["emails"] == ["ADA@example.com"]
    stage.settled()


@pytest.mark.parametrize("winner, title", [("crm", "Planner"), ("outreach", "Engineer")])
def test_a_conflict_goes_by_the_mapping(stage: Stage, winner: str, title: str) -> None:
    """Both sides changed the title: the CRM's stands by default, Outreach's if the mapping says so; on both sides."""
    if winner != "crm":
        stage.mapping(("on_conflict: crm\n", f"on_conflict: {winner}\n"))
    prospect = stage.enrolled("ada@example.com", title="Buyer")
    stage.sync()
    person = stage.person_of(prospect)["id"]
    stage.set_prospect(prospect, title="Engineer")
    stage.set_person(person, title="Planner")
    stage.sync()
    assert [stage.of_prospect(prospect)["title"], stage.of_person(person)[TITLE]] == [title, title]
    stage.settled()


def test_both_sides_changing_different_fields_is_no_conflict(stage: Stage, pair: tuple[int, int]) -> None:
    """Each edit arrives on the other side."""
    prospect, person = pair
    stage.set_prospect(prospect, title="Engineer")
    stage.set_person(person, last="Ashcombe")
    stage.sync()
    assert [stage.of_prospect(prospect)["lastName"], stage.of_person(person)[TITLE]] == ["Ashcombe", "Engineer"]
    stage.settled()


@pytest.mark.parametrize(
    "column, value",
    [(STATE, worlds.FINISHED), (worlds.NAME, "Mine"), (worlds.STEP, 9), (worlds.ALL, ""), (worlds.ERROR, "oh")],
)
def test_a_one_way_field_edited_by_hand_is_put_back(
    stage: Stage, pair: tuple[int, int], column: str, value: object
) -> None:
    """At the next pass it reads as before, and the edit is counted as overwritten."""
    _, person = pair
    before = stage.of_person(person).get(column)
    stage.set_person(person, **{column: value})
    told = stage.sync()
    assert (told.report["overwritten"], told.crm) == (1, {"updated": 1})
    assert (stage.of_person(person).get(column) or None) == before
    assert stage.settled().report["overwritten"] == 0


def test_the_reference_typed_over_by_hand_is_put_back(stage: Stage, pair: tuple[int, int]) -> None:
    """The stored link goes before a reference that somebody typed over; the reference is put back."""
    prospect, person = pair
    stage.set_person(person, reference="999")
    assert stage.sync().report["overwritten"] == 1
    assert stage.person_of(prospect)["id"] == person


def test_what_the_crm_makes_of_a_value_never_comes_back(stage: Stage) -> None:
    """The CRM trims; Outreach keeps its blanks, and neither side is written again."""
    prospect = stage.enrolled("ada@example.com", title="  Buyer ")
    stage.sync()
    assert stage.person_of(prospect)[TITLE] == "Buyer"
    assert stage.of_prospect(prospect)["title"] == "  Buyer "
    stage.settled()


def test_a_record_touched_without_a_change_costs_nothing(stage: Stage, pair: tuple[int, int]) -> None:
    """A save in the CRM or in Outreach that moves no mapped value writes and queues nothing."""
    prospect, person = pair
    stage.set_person(person, **{"main_location[town]": "Eastmere"})
    stage.tell({"op": "set", "type": "prospect", "id": prospect, "attributes": {"company": "Amberline"}})
    stage.settled()


def test_an_edit_survives_a_lost_data_directory_on_both_sides(stage: Stage, pair: tuple[int, int]) -> None:
    """With a new store nobody is created, differing values stay as they are on both sides."""
    prospect, person = pair
    stage.set_prospect(prospect, title="Engineer")
    stage.store("second")
    told = stage.sync()
    assert "created" not in told.crm
    assert stage.of_person(person)[TITLE] == "Buyer"
    assert stage.of_prospect(prospect)["title"] == "Engineer"
    assert len(stage.people()) == 1
    stage.settled()
