"""Somebody decides who is who: `outbook link`."""

from __future__ import annotations

import pytest

from tests.sync.scene import Scene
from worker.core.records import Kind
from worker.store import links, outbox
from worker.sync import linking
from worker.sync.linking import Linked, Pair, Unlinkable


def twins(scene: Scene, prospect: int = 5) -> list[int]:
    """Make a prospect and two people who could be it, and let a pass find that out."""
    scene.prospect(prospect, 1, firstName="Ada", title="Engineer")
    email = f"p{prospect}@people.example"
    made = [scene.person(person_first_name="Ada", **{"main_location[email]": email}) for _ in range(2)]
    scene.sync()
    assert [entry[0] for entry in entries(scene)] == [f"ambiguous:prospects:{prospect}"]
    return made


def entries(scene: Scene) -> list[tuple[str, int]]:
    """Return what waits for a person, with how many records hang on it."""
    with scene.store.read() as db:
        return [(row.key, row.records) for row in outbox.holds(db)]


def linked(scene: Scene) -> dict[int, int]:
    """Return the living links."""
    with scene.store.read() as db:
        return {pid: one.crm_id for pid, one in links.load(db, Kind.PROSPECT, range(100)).items() if not one.gone}


def decide(scene: Scene, *pairs: Pair) -> list[Linked]:
    """Link pairs as the command does."""
    return linking.link(scene.applier(), pairs, sleep=scene.later)


def refusals(scene: Scene, *pairs: Pair) -> list[tuple[int, str]]:
    """Return why pairs cannot be linked."""
    with pytest.raises(Unlinkable) as refused:
        decide(scene, *pairs)
    return [(one.line, one.words) for one in refused.value.problems]


def test_a_decided_match_is_written_at_the_next_pass(scene: Scene) -> None:
    """The chosen person gets the prospect's id and state, a blank is filled, the other one is left alone."""
    chosen, other = twins(scene)
    (told,) = decide(scene, Pair(5, chosen))
    assert (told.pair, told.already) == (Pair(5, chosen), False)
    assert entries(scene) == []
    report = scene.sync()
    assert (report.converged, report.counts.holds, report.tally.updated) == (True, 0, 1)
    person = scene.of(5)
    assert (person["id"], person["person_job_title"]) == (chosen, "Engineer")
    assert person["cf_person_sequence_state"] == "Active – Running"
    assert next(one for one in scene.people() if one["id"] == other).get("cf_person_outreach_id") in {None, ""}


def test_differing_values_stay_at_first_sight(scene: Scene) -> None:
    """Nothing was agreed yet: what differs stays on both sides until somebody edits one."""
    scene.prospect(5, 1, firstName="Ada")
    email = {"main_location[email]": "p5@people.example"}
    first, _ = (scene.person(person_first_name=name, **email) for name in ("Adelaide", "Adele"))
    scene.sync()
    decide(scene, Pair(5, first))
    scene.sync()
    assert scene.of(5)["person_first_name"] == "Adelaide"
    assert scene.of_outreach("prospect", 5)["firstName"] == "Ada"


def test_deciding_twice_changes_nothing(scene: Scene) -> None:
    """The second time says that they are linked already, and the pass after it writes nothing."""
    chosen, _ = twins(scene)
    decide(scene, Pair(5, chosen))
    scene.sync()
    (told,) = decide(scene, Pair(5, chosen))
    assert told.already
    quiet = scene.sync()
    assert (quiet.tally.updated, quiet.converged, linked(scene)) == (0, True, {5: chosen})


def test_one_linked_to_a_living_other_is_refused(scene: Scene) -> None:
    """Neither is taken away from whom it belongs to; the other is named, and nothing at all is done."""
    chosen, other = twins(scene)
    scene.prospect(6, 1)
    scene.sync()
    belongs = scene.of(6)["id"]
    assert refusals(scene, Pair(5, belongs, 1), Pair(6, other, 2)) == [
        (1, f"person {belongs} is already linked to prospect 6"),
        (2, f"prospect 6 is already linked to person {belongs}"),
    ]
    assert refusals(scene, Pair(5, chosen), Pair(6, other)) == [
        (0, f"prospect 6 is already linked to person {belongs}")
    ]
    assert linked(scene) == {6: belongs}
    assert len(entries(scene)) == 1


def test_who_is_nowhere_is_named(scene: Scene) -> None:
    """Unknown ids are looked up once each side, in one request for all of them, and then named."""
    scene.sync()
    before = len(scene.wire.calls)
    assert refusals(scene, Pair(70, 7070, 1), Pair(71, 7071, 2)) == [
        (1, "person 7070 does not exist in the CRM"),
        (1, "prospect 70 does not exist in Outreach"),
        (2, "person 7071 does not exist in the CRM"),
        (2, "prospect 71 does not exist in Outreach"),
    ]
    assert len(scene.wire.calls) - before == 2


def test_who_was_never_polled_is_looked_up(scene: Scene) -> None:
    """Both were made after the last pass: they are found by id, and linked."""
    scene.sync()
    scene.prospect(5, 1)
    person = scene.person(person_first_name="Bo")
    decide(scene, Pair(5, person))
    assert scene.sync().converged
    assert scene.of(5)["id"] == person
    assert len(scene.people()) == 1


def test_a_deleted_person_is_refused(scene: Scene) -> None:
    """Nobody is linked to a tombstone."""
    chosen, _ = twins(scene)
    scene.edit_crm(op="delete", type="person", id=chosen)
    scene.sync()
    assert refusals(scene, Pair(5, chosen)) == [
        (0, f"person {chosen} was deleted in the CRM"),
        (0, f"prospect 5 is already linked to person {linked(scene)[5]}"),
    ]


def test_a_link_to_somebody_deleted_gives_way(scene: Scene) -> None:
    """The person was deleted in the CRM and nobody has looked since: the prospect may be given another one."""
    scene.prospect(5, 1)
    scene.sync()
    scene.edit_crm(op="delete", type="person", id=scene.of(5)["id"])
    scene.poll(Kind.PERSON)
    successor = scene.person(person_first_name="Bo")
    decide(scene, Pair(5, successor))
    report = scene.sync()
    assert (report.tally.recreated, report.tally.created, report.converged) == (0, 0, True)
    assert scene.of(5)["id"] == successor


def test_an_opt_out_crosses_a_new_link(scene: Scene) -> None:
    """The person had No Email: once linked, the prospect is opted out."""
    scene.prospect(5, 1)
    person = scene.person(person_first_name="Bo", no_email_soliciting=True)
    scene.person(person_first_name="Ada", **{"main_location[email]": "p5@people.example"})
    scene.person(person_first_name="Ida", **{"main_location[email]": "p5@people.example"})
    scene.sync()
    assert not scene.of_outreach("prospect", 5).get("emailOptedOut")
    decide(scene, Pair(5, person))
    scene.sync()
    assert scene.of_outreach("prospect", 5)["emailOptedOut"] is True
    assert scene.of(5)["cf_person_sequence_state"] == "Opted Out"


def test_what_another_has_in_hand_is_waited_for(scene: Scene) -> None:
    """A worker just planned to create somebody for the prospect: its lease is waited for, for its plan would undo ours."""
    chosen, _ = twins(scene)
    with scene.store.write() as db:
        outbox.open_changes(db, Kind.PROSPECT, [5], lane=outbox.Lane.EDIT, now=scene.now())
        outbox.claim(db, Kind.PROSPECT, now=scene.now())
    before = scene.now()
    decide(scene, Pair(5, chosen))
    assert 14 < (scene.now() - before).total_seconds() < 20


@pytest.mark.parametrize(
    "text",
    [
        "5,7001\n6,7002\n",
        "prospect:5 person:7001\nprospect:6 person:7002",
        "prospect,person\r\n5,7001\r\n\r\n6;7002  # the younger one\r\n",
        '\ufeffProspect ID,Person ID\n"5","7001"\n6\t7002\n',
    ],
)
def test_a_file_names_pairs(text: str) -> None:
    """Both spellings, a heading, blank lines, comments, quotes and other separators are read."""
    assert [(pair.prospect, pair.person) for pair in linking.parse(text)] == [(5, 7001), (6, 7002)]


def test_every_mistake_of_a_file_is_named() -> None:
    """Each with its line: what is no pair, and whom two lines give to different ones."""
    with pytest.raises(Unlinkable) as refused:
        linking.parse("5,7001\nAda,7002\n6,7001\n5,7003\n5,7001\nperson:9 prospect:8\n")
    assert [(one.line, one.words) for one in refused.value.problems] == [
        (2, "neither ID,ID (prospect, person) nor prospect:ID person:ID"),
        (3, "person 7001 is already in line 1, with somebody else"),
        (4, "prospect 5 is already in line 1, with somebody else"),
        (6, "neither ID,ID (prospect, person) nor prospect:ID person:ID"),
    ]


def test_a_file_without_pairs_is_a_mistake() -> None:
    """Somebody meant to say something."""
    with pytest.raises(Unlinkable, match="names nobody"):
        linking.parse("prospect,person\n\n")
