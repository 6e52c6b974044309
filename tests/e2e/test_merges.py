from __future__ import annotations

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import EMAIL, ID, INBOUND, NO_EMAIL, STATE, TITLE


def _pair(stage: Stage, name: str, *, opted_out: bool = False) -> tuple[int, int]:
    prospect = stage.enrolled(f"{name}@example.com", first=name.title(), emailOptedOut=opted_out)
    stage.sync(code=None)
    return prospect, stage.person_of(prospect)["id"]


def test_a_linked_loser_of_a_merge_in_outreach_leaves_nobody_doubled(stage: Stage) -> None:
    """The winner was not in the CRM: after a full pass it has the loser's person, and nobody is created."""
    loser, person = _pair(stage, "ada")
    winner = stage.prospect("winner@example.com", first="Ada")
    stage.sync()
    stage.tell({"op": "merge", "winner": winner, "loser": loser})
    stage.sync("--full")
    assert [one["id"] for one in stage.people()] == [person]
    assert stage.of_person(person)[ID] == str(winner)
    assert stage.of_person(person)[STATE] == worlds.RUNNING
    stage.settled()


def test_both_of_a_merge_in_outreach_were_linked(stage: Stage) -> None:
    """Two people in the CRM, one prospect left: the winner's person stays linked, nobody is created, no state is lost."""
    loser, loser_person = _pair(stage, "ada")
    winner, winner_person = _pair(stage, "bo")
    stage.tell({"op": "merge", "winner": winner, "loser": loser})
    stage.sync("--full", code=None)
    assert {one["id"] for one in stage.people()} == {loser_person, winner_person}
    assert stage.of_person(winner_person)[ID] == str(winner)


def test_a_merge_in_outreach_unites_opt_outs(stage: Stage) -> None:
    """The loser was opted out: the winner is, on both sides."""
    loser, _ = _pair(stage, "ada", opted_out=True)
    winner, winner_person = _pair(stage, "bo")
    stage.tell({"op": "merge", "winner": winner, "loser": loser})
    stage.sync("--full", code=None)
    assert stage.of_prospect(winner)["emailOptedOut"] is True
    assert stage.of_person(winner_person)[NO_EMAIL] is True


def test_addresses_swapped_between_two_prospects_cross_no_links(stage: Stage) -> None:
    """Each person follows its own prospect, whatever address that now bears."""
    ada, ada_person = _pair(stage, "ada")
    bo, bo_person = _pair(stage, "bo")
    stage.set_prospect(ada, emails=["bo@example.com"])
    stage.set_prospect(bo, emails=["ada@example.com"])
    stage.sync()
    assert [stage.of_person(ada_person)[ID], stage.of_person(bo_person)[ID]] == [str(ada), str(bo)]
    assert [stage.of_person(ada_person)[EMAIL], stage.of_person(bo_person)[EMAIL]] == [
        "bo@example.com",
        "ada@example.com",
    ]
    stage.settled()


def test_a_prospect_entered_anew_takes_the_person_over(stage: Stage) -> None:
    """Deleted in Outreach and entered again under the same address: linked to the person that is there, none created."""
    old, person = _pair(stage, "ada")
    stage.tell({"op": "delete", "type": "prospect", "id": old})
    stage.sync("--full", code=None)
    new = stage.enrolled("ada@example.com", first="Ada")
    stage.sync(code=None)
    assert [one["id"] for one in stage.people()] == [person]
    assert stage.of_person(person)[ID] == str(new)
    assert stage.of_person(person)[STATE] == worlds.RUNNING


def test_a_double_in_the_crm_made_later_does_not_move_the_link(stage: Stage) -> None:
    """Somebody types the same person in once more: the linked one goes on being written, the double is left alone."""
    ada, person = _pair(stage, "ada")
    double = stage.person(first="Ada", last="Ashby", email="ada@example.com")
    stage.set_prospect(ada, title="Engineer")
    stage.sync()
    assert (stage.of_person(person)[TITLE], stage.of_person(double).get(TITLE)) == ("Engineer", None)
    stage.settled()


def test_the_double_alone_survives(stage: Stage) -> None:
    """The linked one is then deleted: the double takes over the link instead of a third person being created."""
    ada, person = _pair(stage, "ada")
    double = stage.person(first="Ada", last="Ashby", email="ada@example.com")
    stage.sync()
    stage.delete_person(person)
    stage.sync()
    assert [one["id"] for one in stage.people()] == [double]
    assert stage.person_of(ada)["id"] == double
    stage.settled()


@pytest.mark.parametrize("first", ["crm", "outreach"])
def test_a_merge_on_both_sides_at_once(stage: Stage, first: str) -> None:
    """The same two people merged in both systems between two passes: one person, one prospect, linked."""
    ada, ada_person = _pair(stage, "ada")
    bo, bo_person = _pair(stage, "bo")
    stage.tell({"op": "enrol", "prospect": ada, "sequence": INBOUND})
    winner, loser = (ada_person, bo_person) if first == "crm" else (bo_person, ada_person)
    stage.hand("merge", winner=winner, loser=loser)
    stage.tell({"op": "merge", "winner": ada, "loser": bo})
    stage.sync("--full", code=None)
    stage.sync("--full", code=None)
    assert [one["id"] for one in stage.people()] == [winner]
    assert stage.of_person(winner)[ID] == str(ada)
