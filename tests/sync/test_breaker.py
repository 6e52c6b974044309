"""A field that goes back and forth is stopped, for its record and on many records for everybody; the rest flows."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.sync.scene import Call, Scene, form
from worker.core.records import Kind
from worker.store import links, outbox
from worker.sync import breakers, held

TITLE, STATE = "person_job_title", "cf_person_sequence_state"


def entries(scene: Scene) -> list[str]:
    """Return the keys of what waits for a person."""
    return [one.key for one in held.entries(scene.store)]


def crm(scene: Scene, prospect: int, **fields: object) -> None:
    """Edit a person in the CRM by hand."""
    scene.edit_crm(op="set", type="person", id=scene.of(prospect)["id"], fields=fields)


def title(scene: Scene, prospect: int, text: str) -> None:
    """Edit a prospect's title in Outreach by hand."""
    scene.edit_outreach(op="set", type="prospect", id=prospect, attributes={"title": text})


def linked(scene: Scene, *prospects: int) -> None:
    """Make prospects with their people."""
    for prospect in prospects:
        scene.prospect(prospect, 1, title="Engineer")
    scene.sync()
    scene.later(60)


def wrestle(scene: Scene, *prospects: int, rounds: int = 7) -> None:
    """Let Outreach say Boss and Clerk by turns, a pass every half minute."""
    for number in range(rounds):
        for prospect in prospects:
            title(scene, prospect, "Boss" if number % 2 else "Clerk")
        scene.sync()
        scene.later(30)


def written(scene: Scene, field: str = TITLE) -> list[Any]:
    """Return what we have written to a field in the CRM, in order."""
    changes = (one["changes"] for one in scene.writes(scene.crm) if one["op"] == "update")
    return [told[field][1] for told in changes if field in told]


def test_five_flips_are_carried_out_and_no_sixth(on_both: Scene) -> None:
    """The sixth time it is stopped with an entry that names the record; the field stays as the fifth left it."""
    linked(on_both, 5)
    person = on_both.of(5)["id"]
    wrestle(on_both, 5, rounds=9)
    assert written(on_both) == ["Clerk", "Boss", "Clerk", "Boss", "Clerk", "Boss"]
    (entry,) = held.entries(on_both.store)
    assert (entry.key, entry.kind) == (f"breaker:prospects:5:{TITLE}", "breaker")
    assert entry.words == (
        f"prospect 5, person {person}: {TITLE} went back and forth 5 times within 10 minutes; "
        "it is left alone until that is approved"
    )
    report = on_both.sync()
    assert (report.converged, report.counts.holds, report.tally.updated) == (True, 1, 0)


def test_a_hand_edit_put_back_again_and_again(scene: Scene) -> None:
    """Somebody's automation overwrites what is only shown: five times it is put back, then left alone."""
    linked(scene, 5)
    for _ in range(8):
        crm(scene, 5, cf_person_sequence_name="Ours")
        scene.sync()
        scene.later(30)
    assert len(written(scene, "cf_person_sequence_name")) == 5
    assert entries(scene) == ["breaker:prospects:5:cf_person_sequence_name"]
    assert scene.of(5)["cf_person_sequence_name"] == "Ours"


def fought_over(scene: Scene, *prospects: int) -> None:
    """Let somebody in the CRM overwrite what is only shown until that stops."""
    for _ in range(6):
        for prospect in prospects:
            crm(scene, prospect, cf_person_sequence_name="Ours")
        scene.sync()
        scene.later(30)


def asked_who(scene: Scene) -> int:
    """Return how often the CRM was asked who saved something last."""
    return sum(breakers.SAVED_BY in text for call in scene.wire.calls for _, text in form(call))


def test_the_user_behind_it_is_named_to_people_only(on_both: Scene) -> None:
    """The entry names whose edits were put back, by one read when it trips; what is logged does not."""
    linked(on_both, 5)
    fought_over(on_both, 5)
    (entry,) = held.entries(on_both.store)
    assert entry.words.endswith("until that is approved; last saved in the CRM by pat@example.invalid")
    assert asked_who(on_both) == 1
    report = on_both.sync()
    assert [words.startswith("held: prospect 5") for words in report.waiting] == [True]
    assert "@" not in " ".join(report.waiting)
    assert held.entries(on_both.store) == [entry]


def test_the_entry_for_everybody_names_them_too(scene: Scene) -> None:
    """Twenty-one people overwritten by one automation: one entry, one read, one user."""
    many = range(101, 122)
    linked(scene, *many)
    fought_over(scene, *many)
    (entry,) = held.entries(scene.store)
    assert (entry.key, asked_who(scene)) == ("breaker:cf_person_sequence_name", 1)
    assert entry.words.endswith(", 120, 121; last saved in the CRM by pat@example.invalid")


def test_our_own_saves_name_nobody(scene: Scene) -> None:
    """Where only Outreach goes to and fro, the last save in the CRM is our own: the entry names no user."""
    linked(scene, 5)
    wrestle(scene, 5)
    assert asked_who(scene) == 1
    assert ["saved in the CRM" in one.words for one in held.entries(scene.store)] == [False]


def test_a_crm_that_does_not_tell_the_user(scene: Scene) -> None:
    """Asked for the user, the CRM fails: the entry stands without a name, and the pass ends well."""
    linked(scene, 5)

    def fail(call: Call) -> None:
        if breakers.SAVED_BY in str(form(call)):
            raise httpx.ConnectError("gone")

    scene.wire.before.append(fail)
    fought_over(scene, 5)
    (entry,) = held.entries(scene.store)
    assert entry.words.endswith("until that is approved")
    assert scene.sync().converged


def test_a_value_thrown_to_and_fro_between_both_sides(scene: Scene) -> None:
    """Each side has an automation of its own: what we carry either way counts, and then neither side is written."""
    linked(scene, 5)
    for number in range(8):
        if number % 2:
            crm(scene, 5, person_job_title="Boss")
        else:
            title(scene, 5, "Clerk")
        scene.sync()
        scene.later(30)
    assert entries(scene) == [f"breaker:prospects:5:{TITLE}"]
    patched = [one for one in scene.writes(scene.outreach) if "title" in one["changes"]]
    assert len(patched) + len(written(scene)) == 6


def test_the_rest_of_the_record_flows(scene: Scene) -> None:
    """Other fields of that record and the same field of others are written as ever, in both directions."""
    linked(scene, 5, 6)
    wrestle(scene, 5)
    title(scene, 5, "Clerk")
    title(scene, 6, "Clerk")
    scene.edit_outreach(op="set", type="prospect", id=5, attributes={"firstName": "Bo"})
    crm(scene, 5, person_last_name="Borg")
    scene.sync()
    assert (scene.of(5)["person_first_name"], scene.of_outreach("prospect", 5)["lastName"]) == ("Bo", "Borg")
    assert (scene.of(5)[TITLE], scene.of(6)[TITLE]) == ("Boss", "Clerk")


def test_an_opt_out_is_never_stopped(scene: Scene) -> None:
    """The state flipped until it was stopped; an opt-out is written all the same, with its label."""
    linked(scene, 5)
    (state,) = scene.states_of(5)
    for number in range(8):
        word = "active" if number % 2 else "paused"
        scene.edit_outreach(op="set", type="sequenceState", id=state, attributes={"state": word})
        scene.sync()
        scene.later(30)
    assert f"breaker:prospects:5:{STATE}" in entries(scene)
    scene.edit_outreach(op="opt_out", prospect=5, how="manual")
    scene.sync()
    assert (scene.of(5)[STATE], scene.of(5)["no_email_soliciting"]) == ("Opted Out", True)


def test_unticking_no_email_again_and_again_trips_nothing(scene: Scene) -> None:
    """No Email is set again as often as somebody takes it back."""
    linked(scene, 5)
    scene.edit_outreach(op="opt_out", prospect=5, how="manual")
    scene.sync()
    for _ in range(8):
        crm(scene, 5, no_email_soliciting=False)
        scene.sync()
        scene.later(30)
    assert (scene.of(5)["no_email_soliciting"], entries(scene)) == (True, [])


def test_slow_changes_and_new_values_trip_nothing(scene: Scene) -> None:
    """Every three minutes is nobody's loop, nor are eight titles in four minutes."""
    linked(scene, 5)
    for number in range(8):
        title(scene, 5, "Boss" if number % 2 else "Clerk")
        scene.sync()
        scene.later(180)
    for number in range(8):
        title(scene, 5, f"Title {number}")
        scene.sync()
        scene.later(30)
    assert (entries(scene), scene.of(5)[TITLE]) == ([], "Title 7")


def approve(scene: Scene) -> int:
    """Approve every tripped breaker."""
    chosen = [one for one in held.entries(scene.store) if one.kind == "breaker"]
    return held.approve(scene.store, chosen, scene.mapping, how=None, now=scene.now())


def test_approved_it_goes_on_and_counts_anew(scene: Scene) -> None:
    """At once, though the ten minutes are not over; it takes five more flips to stop it again."""
    linked(scene, 5)
    wrestle(scene, 5)
    assert (scene.of(5)[TITLE], scene.of_outreach("prospect", 5)["title"]) == ("Boss", "Clerk")
    approve(scene)
    report = scene.sync()
    assert (entries(scene), scene.of(5)[TITLE], report.converged) == ([], "Clerk", True)
    wrestle(scene, 5, rounds=4)
    assert entries(scene) == []
    wrestle(scene, 5, rounds=5)
    assert entries(scene) == [f"breaker:prospects:5:{TITLE}"]


def test_on_many_records_it_stops_for_everybody(scene: Scene) -> None:
    """Twenty are twenty entries; with the twenty-first it is one, which names them all, and nobody's is written."""
    many = range(101, 122)
    linked(scene, 5, *many)
    wrestle(scene, *many[:20])
    assert entries(scene) == sorted(f"breaker:prospects:{pid}:{TITLE}" for pid in many[:20])
    title(scene, 5, "Chair")
    scene.sync()
    assert scene.of(5)[TITLE] == "Chair"
    wrestle(scene, many[20])
    (entry,) = held.entries(scene.store)
    assert (entry.key, entry.prospect) == (f"breaker:{TITLE}", None)
    assert all(str(pid) in entry.words for pid in many)
    title(scene, 5, "Dean")
    scene.edit_outreach(op="set", type="prospect", id=5, attributes={"firstName": "Bo"})
    scene.sync()
    assert (scene.of(5)[TITLE], scene.of(5)["person_first_name"]) == ("Chair", "Bo")
    approve(scene)
    assert scene.sync().converged
    assert entries(scene) == []
    assert (scene.of(5)[TITLE], scene.of(101)[TITLE]) == ("Dean", scene.of_outreach("prospect", 101)["title"])


@pytest.mark.parametrize("kind", ["ask", "unreadable", "brake"])
def test_a_rejected_deletion_is_unlinked(scene: Scene, kind: str) -> None:
    """Deleted, or neither visible nor deleted: somebody says no, nobody is created again, and it stays so."""
    if kind == "ask":
        scene.mapping = scene.mapped(("on_crm_delete: recreate", "on_crm_delete: ask"))
    many = range(1, 24 if kind == "brake" else 2)
    linked(scene, *many)
    people = {prospect: scene.of(prospect)["id"] for prospect in many}
    for person in people.values():
        scene.edit_crm(op="hide" if kind == "unreadable" else "delete", type="person", id=person)
    if kind == "unreadable":
        with scene.store.write() as db:
            db.exec_driver_sql("DELETE FROM mirror WHERE kind = 'people'")
            outbox.open_changes(db, Kind.PROSPECT, many, lane=outbox.Lane.EDIT, now=scene.now())
    scene.sync()
    (entry,) = held.entries(scene.store)
    assert (entry.kind, entry.deletion) == (kind, True)
    assert held.reject(scene.store, [entry], now=scene.now()) == len(many)
    report = scene.sync()
    assert (report.converged, entries(scene), report.tally.recreated) == (True, [], 0)
    assert len(scene.people()) == len(many)
    with scene.store.read() as db:
        assert all(one.gone for one in links.load(db, Kind.PROSPECT, many).values())
        assert links.missing_lately(db) == 0
    for prospect in many:
        title(scene, prospect, "Boss")
    assert (scene.sync().tally.created, entries(scene)) == (0, [])


def test_what_is_no_deletion_cannot_be_rejected(scene: Scene) -> None:
    """An ambiguous match, a conflict and a breaker each say what there is to be done instead."""
    scene.prospect(5, 1)
    for _ in range(2):
        scene.person(person_first_name="Ada", **{"main_location[email]": "p5@people.example"})
    scene.sync()
    (entry,) = held.entries(scene.store)
    assert (entry.deletion, entry.instead) == (False, "say who it is with `outbook link --prospect ID --person ID`")
    assert held.reject(scene.store, [entry], now=scene.now()) == 0
    assert entries(scene) == ["ambiguous:prospects:5"]


def test_a_conflict_shows_both_values(scene: Scene) -> None:
    """Read from the mirror, for somebody's eyes; the entry's own words hold neither."""
    scene.mapping = scene.mapped(("on_conflict: crm", "on_conflict: ask"))
    linked(scene, 5)
    title(scene, 5, "Boss")
    crm(scene, 5, person_job_title="Clerk")
    scene.sync()
    (entry,) = held.entries(scene.store)
    assert held.sides(scene.store, scene.mapping, [entry]) == {f"conflict:prospects:5:{TITLE}": ("Boss", "Clerk")}
    assert "Boss" not in entry.words
