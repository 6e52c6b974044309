from __future__ import annotations

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import EMAIL, ERROR, ID, MOBILE, NO_EMAIL, PHONE, STATE, TITLE


@pytest.fixture
def linked(stage: Stage) -> tuple[int, int]:
    """A prospect with every field and its person: (prospect, person)."""
    prospect = stage.enrolled(
        "ada@example.com", title="Buyer", workPhones=["+44 20 7946 0018"], mobilePhones=["+44 7700 900123"]
    )
    stage.sync()
    return prospect, stage.person_of(prospect)["id"]


def _assert_whole(stage: Stage, prospect: int) -> None:
    """The person bears every field of the fixture's prospect."""
    person = stage.person_of(prospect)
    names = ("person_first_name", "person_last_name", TITLE, EMAIL, PHONE, MOBILE, STATE, worlds.NAME, worlds.STEP)
    assert [person.get(name) for name in names] == [
        "Ada",
        "Ashby",
        "Buyer",
        "ada@example.com",
        "+44 20 7946 0018",
        "+44 7700 900123",
        worlds.RUNNING,
        "Cold outreach",
        1,
    ]


def test_a_deleted_person_is_created_again_once(stage: Stage, linked: tuple[int, int]) -> None:
    """One create with all fields, the new id linked, nothing more at the next pass."""
    prospect, person = linked
    stage.delete_person(person)
    stage.forget_calls()
    told = stage.sync()
    assert told.crm == {"recreated": 1}
    assert [write["op"] for write in stage.crm_writes()] == ["create"]
    _assert_whole(stage, prospect)
    assert stage.person_of(prospect)["id"] != person
    assert stage.outreach_writes() == []
    stage.settled()


def test_a_person_edited_and_then_deleted_keeps_the_edit(stage: Stage, linked: tuple[int, int]) -> None:
    """An edit made in the CRM before the deletion is in the new person and reaches Outreach."""
    prospect, person = linked
    stage.set_person(person, title="Planner")
    stage.delete_person(person)
    stage.sync()
    assert [stage.person_of(prospect)[TITLE], stage.of_prospect(prospect)["title"]] == ["Planner", "Planner"]


def test_who_has_neither_name_nor_address_comes_back_under_a_number(stage: Stage, linked: tuple[int, int]) -> None:
    """Emptied in Outreach and deleted in the CRM, which takes nobody without a name: no failure, and nothing sent back."""
    prospect, person = linked
    stage.set_prospect(prospect, firstName=None, lastName=None, emails=[])
    stage.delete_person(person)
    assert stage.sync().crm == {"recreated": 1}
    assert stage.person_of(prospect)["name"] == f"Prospect {prospect}"
    stage.settled()
    assert stage.of_prospect(prospect).get("lastName") is None


def test_a_deletion_between_poll_and_write_is_seen_by_the_failing_update(stage: Stage, linked: tuple[int, int]) -> None:
    """The person vanishes after it was polled: the refused update leads to one re-creation in the same pass."""
    prospect, person = linked
    stage.set_prospect(prospect, firstName="Ada", title="Buyer", company="x", lastName="Ashcombe")
    stage.before_crm_write(lambda: stage.delete_person(person))
    told = stage.sync()
    assert told.crm == {"recreated": 1}
    assert stage.person_of(prospect)["person_last_name"] == "Ashcombe"
    assert len(stage.people()) == 1
    stage.settled()


def test_a_deletion_with_its_values_gone_changes_nothing_in_outreach(stage: Stage, linked: tuple[int, int]) -> None:
    """A tombstone that reads back empty empties nothing in Outreach; the new person has all of it."""
    prospect, person = linked
    stage.set_person(person, title=None, phone=None, mobile=None, email=None)
    stage.delete_person(person)
    stage.sync()
    _assert_whole(stage, prospect)
    assert stage.of_prospect(prospect)["title"] == "Buyer"


def test_deleted_again_and_again(stage: Stage, linked: tuple[int, int]) -> None:
    """Each deletion leads to one new person, and only one is alive at any time."""
    prospect, _ = linked
    for _ in range(3):
        stage.delete_person(stage.person_of(prospect)["id"])
        assert stage.sync().crm == {"recreated": 1}
        assert len(stage.people()) == 1
    stage.settled()


def test_restored_by_hand_there_is_one_person(stage: Stage, linked: tuple[int, int]) -> None:
    """Deleted and brought back by somebody between two passes: the same person, nothing created."""
    _, person = linked
    stage.delete_person(person)
    stage.hand("undelete", type="person", id=person)
    told = stage.sync()
    assert told.crm == {}
    assert [one["id"] for one in stage.people()] == [person]


def test_restored_after_it_was_created_again_is_held_not_doubled_further(stage: Stage, linked: tuple[int, int]) -> None:
    """Two now bear the prospect's id: the link stays where it is, no third person is made."""
    prospect, person = linked
    stage.delete_person(person)
    stage.sync()
    new = stage.person_of(prospect)["id"]
    stage.hand("undelete", type="person", id=person)
    stage.sync(code=None)
    stage.set_prospect(prospect, title="Engineer")
    stage.sync(code=None)
    assert len(stage.people()) == 2
    assert stage.of_person(new)[TITLE] == "Engineer"


def test_a_candidate_takes_over_the_link(stage: Stage, linked: tuple[int, int]) -> None:
    """Merged into somebody else: the winner is linked and brought up to date, nobody is created."""
    prospect, person = linked
    winner = stage.person(first="Ada", last="Ashby", email="winner@example.com")
    stage.hand("merge", winner=winner, loser=person)
    told = stage.sync()
    assert told.crm == {"updated": 1}
    assert stage.person_of(prospect)["id"] == winner
    assert stage.of_person(winner)[STATE] == worlds.RUNNING
    assert len(stage.people()) == 1
    stage.settled()


def test_a_candidate_linked_elsewhere_is_held(stage: Stage, linked: tuple[int, int]) -> None:
    """Merged into the person of another prospect: held, nothing created, the other link stays."""
    _, person = linked
    other = stage.enrolled("bo@example.com", first="Bo")
    stage.sync()
    winner = stage.person_of(other)["id"]
    stage.hand("merge", winner=winner, loser=person)
    told = stage.sync(code=3)
    assert (told.report["held"], len(stage.people())) == (1, 1)
    assert stage.person_of(other)["id"] == winner


def test_unlink_leaves_it_deleted(stage: Stage, linked: tuple[int, int]) -> None:
    """With `on_crm_delete: unlink` nobody is created, now or after later edits in Outreach."""
    stage.mapping(("on_crm_delete: recreate", "on_crm_delete: unlink"))
    prospect, person = linked
    stage.delete_person(person)
    told = stage.sync()
    assert (told.crm, told.report["converged"]) == ({}, True)
    stage.set_prospect(prospect, title="Engineer")
    assert stage.sync().crm == {}
    assert stage.people() == []
    stage.settled()


def test_ask_holds(stage: Stage, linked: tuple[int, int]) -> None:
    """With `on_crm_delete: ask` the record is held, and nothing is created until somebody decides."""
    stage.mapping(("on_crm_delete: recreate", "on_crm_delete: ask"))
    stage.delete_person(linked[1])
    told = stage.sync(code=3)
    assert (told.report["held"], told.crm, stage.people()) == (1, {}, [])
    again = stage.sync(code=3)
    assert (again.report["held"], again.report["queued"], stage.people()) == (1, 0, [])


def test_unreadable_is_held_and_never_created_again(stage: Stage, linked: tuple[int, int]) -> None:
    """Neither visible nor deleted: held, nobody created; visible again, it goes on by itself at the next edit."""
    prospect, person = linked
    stage.hand("hide", type="person", id=person)
    stage.set_prospect(prospect, title="Engineer")
    told = stage.sync(code=3)
    assert (told.report["held"], told.crm) == (1, {})
    assert len(stage.people()) == 1
    stage.hand("unhide", type="person", id=person)
    stage.set_prospect(prospect, lastName="Ashcombe")
    told = stage.sync()
    assert (told.report["held"], stage.of_person(person)[TITLE]) == (0, "Engineer")


def test_an_unreadable_persons_opt_out_reaches_outreach_only_from_what_is_known(
    stage: Stage, linked: tuple[int, int]
) -> None:
    """Opted out in Outreach while the person cannot be read: held, and ticked as soon as it can be read."""
    prospect, person = linked
    stage.hand("hide", type="person", id=person)
    stage.tell({"op": "opt_out", "prospect": prospect})
    stage.sync(code=3)
    stage.hand("unhide", type="person", id=person)
    stage.set_person(person, title="Planner")
    stage.sync()
    assert stage.of_person(person)[NO_EMAIL] is True


def test_mass_deletion_holds_all_of_them_as_one_entry(stage: Stage) -> None:
    """21 of 60 linked people deleted: none is created again, one entry, everybody else flows, exit 3."""
    prospects = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(60)]
    stage.sync()
    for prospect in prospects[:21]:
        stage.delete_person(stage.person_of(prospect)["id"])
    stage.set_prospect(prospects[-1], title="Engineer")
    told = stage.sync(code=3)
    assert (told.report["held"], told.report["failed"], told.crm) == (1, 0, {"updated": 1})
    assert len(stage.people()) == 39
    assert stage.person_of(prospects[-1])[TITLE] == "Engineer"
    again = stage.sync(code=3)
    assert (again.report["held"], again.report["queued"], len(stage.people())) == (1, 0, 39)


def test_twenty_deletions_are_created_again(stage: Stage) -> None:
    """Twenty is not more than twenty: all come back."""
    prospects = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(30)]
    stage.sync()
    for prospect in prospects[:20]:
        stage.delete_person(stage.person_of(prospect)["id"])
    assert stage.sync().crm == {"recreated": 20}
    assert len(stage.people()) == 30


def test_deletions_in_two_passes_add_up_within_a_day(stage: Stage) -> None:
    """Twenty, created again, and then one more within the day: the brake trips; our re-creation is no restoring."""
    prospects = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(30)]
    stage.sync()
    for prospect in prospects[:20]:
        stage.delete_person(stage.person_of(prospect)["id"])
    stage.sync()
    stage.delete_person(stage.person_of(prospects[25])["id"])
    told = stage.sync(code=3)
    assert (told.report["held"], told.crm, len(stage.people())) == (1, {}, 29)


def test_mass_deletion_restored_by_hand_goes_on_by_itself(stage: Stage) -> None:
    """Somebody brings them all back: nothing is held any more and nobody was created."""
    prospects = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(30)]
    stage.sync()
    people = [stage.person_of(prospect)["id"] for prospect in prospects[:25]]
    for person in people:
        stage.delete_person(person)
    stage.sync(code=3)
    for person in people:
        stage.hand("undelete", type="person", id=person)
    told = stage.sync()
    assert (told.report["held"], len(stage.people())) == (0, 30)
    assert "recreated" not in told.crm


def test_an_empty_crm_is_no_mass_deletion(stage: Stage, linked: tuple[int, int]) -> None:
    """A people list that answers empty is never read as everybody deleted: held as unreadable at most, none created."""
    prospect, person = linked
    stage.hand("hide", type="person", id=person)
    told = stage.sync(code=None)
    assert "recreated" not in told.crm
    assert "created" not in told.crm
    assert [one["id"] for one in stage.people(deleted=True)] == [person]
    assert stage.of_person(person)[ID] == str(prospect)
    assert stage.of_person(person).get(ERROR) is None
