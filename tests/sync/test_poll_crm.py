"""Polling the CRM: page by page by time and id, tombstones with it, and the first load by id alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.sync.conftest import MakeScene
from tests.sync.scene import Scene, at, fault, form, reads_of
from tests.sync.test_poll import cursor, mirrored, on_page, queued
from worker.core import errors
from worker.core.records import Kind
from worker.store import backlog, links, mirror
from worker.store.outbox import Lane
from worker.sync import poll


def people(scene: Scene, count: int) -> list[int]:
    """Make so many people, all in this very second."""
    return [scene.person(person_last_name=f"P{n}", **{"main_location[email]": f"c{n}@x.example"}) for n in range(count)]


def asked(scene: Scene) -> list[dict[str, list[str]]]:
    """Return the forms of all lists of people that were asked for."""
    told: list[dict[str, list[str]]] = []
    for call in reads_of(scene.wire.calls, "people"):
        found: dict[str, list[str]] = {}
        for name, value in form(call):
            found.setdefault(name, []).append(value)
        told.append(found)
    return told


def test_the_first_load_goes_by_id_to_an_empty_page(scene: Scene) -> None:
    """Everybody, in pages after the last id; only an empty page is the end, and only mapped columns are asked for."""
    made = people(scene, 250)
    (told,) = scene.poll(Kind.PERSON)
    assert told.read == 250
    assert mirrored(scene, Kind.PERSON) == set(made)
    pages = asked(scene)
    assert [page["_fc[]"] for page in pages] == [["0"], [str(made[99])], [str(made[199])], [str(made[249])]]
    assert all(page["_ff[]"] == ["id"] and page["_sort"] == ["id"] for page in pages)
    assert "main_location[telephone]" in pages[0]["_select_columns[]"]
    assert "person_job_title" in pages[0]["_select_columns[]"]
    assert "created_at" not in pages[0]["_select_columns[]"]


def test_the_delta_runs_from_the_time_at_which_the_load_began(scene: Scene) -> None:
    """What was edited while the load ran, in front of where it stood, is read by the first delta."""
    made = people(scene, 250)
    scene.later(3600)

    def edit_one_that_was_read() -> None:
        scene.later(600)
        scene.edit_crm(op="set", type="person", id=made[3], fields={"person_job_title": "Edited"})

    on_page(scene, 2, "/people.api", edit_one_that_was_read)
    scene.poll(Kind.PERSON)
    assert cursor(scene, Kind.PERSON).watermark == at("2026-11-20T09:59:00+00:00")
    (told,) = scene.poll(Kind.PERSON)
    assert told.moved == 1


def test_three_hundred_people_of_one_second_are_read(scene: Scene) -> None:
    """More equal times than fit a page: the id leads on inside the second, and the run comes to its end."""
    scene.poll(Kind.PERSON)
    scene.later(600)
    made = people(scene, 300)
    scene.wire.calls.clear()
    (told,) = scene.poll(Kind.PERSON)
    assert (told.read, told.moved) == (300, 300)
    assert mirrored(scene, Kind.PERSON) == set(made)
    assert len(asked(scene)) == 4 + 1, "four pages, and one look ahead for opt-outs after the third"
    assert cursor(scene, Kind.PERSON).watermark == at("2026-11-20T09:09:00+00:00")


def test_people_that_move_while_paging_are_not_missed(scene: Scene) -> None:
    """Rows that leave the second while it is being paged over shift nobody past it."""
    scene.poll(Kind.PERSON)
    scene.later(600)
    made = people(scene, 300)

    def move() -> None:
        scene.later(1)
        for number in made[:150:2]:
            scene.edit_crm(op="set", type="person", id=number, fields={"person_job_title": "Moved"})

    on_page(scene, 1, "/people.api", move)
    scene.poll(Kind.PERSON)
    with scene.store.read() as db:
        held = mirror.load(db, Kind.PERSON, made)
    assert set(held) == set(made)
    assert [held[number].fields.get("person_job_title") for number in made[:150:2]] == ["Moved"] * 75


def test_a_load_that_died_goes_on_after_its_last_page(scene: Scene) -> None:
    """The place is stored with its page: what is in the mirror is not read again."""
    made = people(scene, 250)
    scene.crm.faults.arm([fault("status", path="people", times=4, after=2, code=503)])
    with pytest.raises(errors.RemoteDown):
        scene.poll(Kind.PERSON)
    assert mirrored(scene, Kind.PERSON) == set(made[:200])
    scene.wire.calls.clear()
    (told,) = scene.poll(Kind.PERSON)
    assert told.read == 50
    assert [page["_fc[]"] for page in asked(scene)] == [[str(made[199])], [str(made[249])]]


def test_a_delta_that_died_goes_on_after_its_last_page(scene: Scene) -> None:
    """The same inside a second: the run goes on after the last time and id that were stored."""
    scene.poll(Kind.PERSON)
    scene.later(600)
    made = people(scene, 250)
    scene.crm.faults.arm([fault("status", path="people", times=4, after=1, code=503)])
    with pytest.raises(errors.RemoteDown):
        scene.poll(Kind.PERSON)
    scene.crm.faults.arm([])
    (told,) = scene.poll(Kind.PERSON)
    assert told.read == 150
    assert mirrored(scene, Kind.PERSON) == set(made)


def test_a_deletion_comes_with_the_delta(scene: Scene) -> None:
    """A deleted person shows as a tombstone, opens its prospect's change and counts for the brake."""
    scene.prospect(1, 1)
    scene.sync()
    scene.later(120)
    gone = scene.of(1)["id"]
    scene.edit_crm(op="delete", type="person", id=gone)
    (told,) = scene.poll(Kind.PERSON)
    assert (told.moved, told.queued) == (1, 1)
    with scene.store.read() as db:
        assert mirror.load(db, Kind.PERSON, [gone])[gone].deleted
        assert links.missing_lately(db) == 1
    assert queued(scene) == {1}


def test_reading_everything_again_sees_deletions_too(scene: Scene) -> None:
    """A full pass passes no deletion over, however much was edited after it."""
    scene.prospect(1, 1)
    scene.prospect(2, 1)
    scene.sync()
    scene.later(600)
    scene.edit_crm(op="delete", type="person", id=scene.of(1)["id"])
    scene.later(600)
    scene.edit_crm(op="set", type="person", id=scene.of(2)["id"], fields={"person_job_title": "Edited since"})
    scene.later(600)
    report = scene.sync(full=True)
    assert report.tally.recreated == 1
    assert scene.of(1)["is_deleted"] is False


def test_a_deleted_stranger_is_nobodys_business(scene: Scene) -> None:
    """A person who never was linked is deleted without any change or count."""
    made = people(scene, 2)
    scene.poll()
    scene.later(120)
    scene.edit_crm(op="delete", type="person", id=made[0])
    (told,) = scene.poll(Kind.PERSON)
    assert (told.moved, told.queued) == (1, 0)
    with scene.store.read() as db:
        assert links.missing_lately(db) == 0


def test_our_own_echo_moves_nothing(scene: Scene) -> None:
    """What we wrote is polled again with the lock_version we know, and opens no change."""
    scene.prospect(1, 1)
    scene.sync()
    scene.later(120)
    (told,) = scene.poll(Kind.PERSON)
    assert (told.read, told.moved, told.queued) == (1, 0, 0)


def test_a_hidden_person_is_no_deletion(scene: Scene) -> None:
    """Who may not be seen any more is absent from the list, and absence means nothing."""
    scene.prospect(1, 1)
    scene.sync()
    scene.later(120)
    scene.edit_crm(op="hide", type="person", id=scene.of(1)["id"])
    scene.later(120)
    told = [scene.poll(Kind.PERSON)[0], scene.poll(Kind.PERSON)[0]]
    assert [one.moved for one in told] == [0, 0]
    with scene.store.read() as db:
        assert links.missing_lately(db) == 0


@pytest.mark.parametrize("kind", ["html200", "truncate", "html_login200"])
def test_a_list_that_cannot_be_read_is_never_empty(scene: Scene, kind: str) -> None:
    """A page of HTML is no end of the first load."""
    people(scene, 3)
    scene.crm.faults.arm([fault(kind, path="people", times=8)])
    with pytest.raises((errors.RemoteDown, errors.AuthRevoked)):
        scene.poll(Kind.PERSON)
    assert cursor(scene, Kind.PERSON).primed_at is None


def test_only_our_tasks_are_read(scene: Scene) -> None:
    """A CRM may hold a million tasks: those without our reference are left where they are."""
    scene.edit_crm(op="create", type="task", fields={"name": "Of somebody else"})
    scene.edit_crm(op="create", type="task", fields={"name": "Ours", "cf_task_outreach_id": "40"})
    (told,) = scene.poll(Kind.CRM_TASK)
    assert told.read == 1


def test_paging_that_does_not_move_is_an_error(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CRM that serves the same full page for ever ends the run in words."""
    scene.poll(Kind.PERSON)
    scene.later(600)
    people(scene, 150)
    on = scene.applier()
    honest = on.remotes.crm.page
    first: list[Any] = []

    def stuck(*told: Any, **more: Any) -> Any:  # noqa: ANN401 - as the client's
        first.append(honest(*told, **more))
        return first[0]

    monkeypatch.setattr(on.remotes.crm, "page", stuck)
    with pytest.raises(errors.ContractBroken, match="does not move"):
        scene.poll(Kind.PERSON, on=on)
    assert len(first) < 5
    with scene.store.read() as db:
        assert db.execute(sa.select(sa.func.count()).select_from(mirror.MIRROR)).scalar_one() == 100


def read_some(scene: Scene, stream: Kind, at_least: int) -> poll.Polled:
    """Poll a stream until so many records are read, as a task does whose time is over then."""
    on = scene.applier()

    def on_page(told: poll.Polled) -> None:
        if told.read >= at_least:
            scene.later(10)

    return poll.poll(
        stream,
        store=on.store,
        remotes=on.remotes,
        mapping=on.mapping,
        names=on.names,
        now=on.now,
        until=on.now() + timedelta(seconds=5),
        on_page=on_page,
    )


def test_an_opt_out_is_read_ahead_of_a_long_run(scene: Scene) -> None:
    """Behind four hundred other edits it is found with the third page; a run of few pages asks for nothing more."""
    scene.prospect(5, 1)
    scene.sync()
    person = scene.of(5)["id"]
    scene.later(600)
    others = people(scene, 400)
    scene.later(5)
    scene.edit_crm(op="set", type="person", id=person, fields={"no_email_soliciting": True})
    assert not read_some(scene, Kind.PERSON, 300).ended
    assert len(mirrored(scene, Kind.PERSON) & set(others)) == 300
    with scene.store.read() as db:
        assert mirror.load(db, Kind.PERSON, [person])[person].fields["no_email_soliciting"] is True
        assert backlog.claimable(db, scene.now()).get(Lane.OPT_OUT) == 1
    (rest,) = scene.poll(Kind.PERSON)
    assert rest.read >= 101
    assert mirrored(scene, Kind.PERSON) == {person, *others}
    scene.sync()
    assert scene.of_outreach("prospect", 5)["emailOptedOut"] is True
    scene.later(600)
    scene.edit_crm(op="set", type="person", id=others[0], fields={"person_job_title": "Chief"})
    scene.poll(Kind.PERSON)
    scene.later(600)
    for number in others[:250]:
        scene.edit_crm(op="set", type="person", id=number, fields={"person_job_title": "Boss"})
    scene.wire.calls.clear()
    scene.poll(Kind.PERSON)
    assert len(asked(scene)) == 3


def test_an_opt_out_in_outreach_is_read_ahead_of_a_long_run(make_scene: MakeScene) -> None:
    """Behind pages of other edits it is found with the third; a run of few pages asks for nothing more."""
    scene = make_scene(page_size=10)
    for n in range(1, 46):
        scene.prospect(n, 1)
    scene.sync()
    scene.later(600)
    for n in range(1, 46):
        scene.edit_outreach(op="set", type="prospect", id=n, attributes={"title": f"Chair {n}"}, touch=True)
        scene.later(1)
    scene.edit_outreach(op="opt_out", prospect=37, how="manual")
    assert not read_some(scene, Kind.PROSPECT, 30).ended
    with scene.store.read() as db:
        assert backlog.claimable(db, scene.now()).get(Lane.OPT_OUT) == 1
    scene.poll(Kind.PROSPECT)
    scene.sync()
    assert [scene.of(n)["person_job_title"] for n in (1, 44)] == ["Chair 1", "Chair 44"]
    assert scene.of(37)["no_email_soliciting"] is True
    scene.later(600)
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Chief"}, touch=True)
    scene.poll(Kind.PROSPECT)
    scene.later(600)
    for n in range(1, 26):
        scene.edit_outreach(op="set", type="prospect", id=n, attributes={"title": "Boss"}, touch=True)
    scene.wire.calls.clear()
    scene.poll(Kind.PROSPECT)
    assert len(scene.wire.calls) == 3


def test_a_long_run_looks_ahead_as_often_as_a_poll_would_come(make_scene: MakeScene) -> None:
    """Each page takes ten seconds: one look a minute, and each sees only what no look before it has shown."""
    scene = make_scene()
    scene.prospect(5, 1)
    scene.sync()
    scene.later(600)
    person = scene.of(5)["id"]
    people(scene, 1200)
    scene.later(100)
    scene.wire.calls.clear()
    seen: list[bool] = []

    def each(told: poll.Polled) -> None:
        scene.later(10)
        if told.read == 400:
            scene.edit_crm(op="set", type="person", id=person, fields={"no_email_soliciting": True})
        with scene.store.read() as db:
            seen.append(backlog.claimable(db, scene.now()).get(Lane.OPT_OUT) == 1)

    on = scene.applier()
    poll.poll(
        Kind.PERSON,
        store=on.store,
        remotes=on.remotes,
        mapping=on.mapping,
        names=on.names,
        now=on.now,
        on_page=each,
    )
    looks = [page for page in asked(scene) if "no_email_soliciting" in page["_ff[]"]]
    since = ["Fri Nov 20 09:10:00 UTC 2026", "Fri Nov 20 09:11:00 UTC 2026"]
    assert [look["_fc[]"][0] for look in looks] == since
    assert seen == [False] * 8 + [True] * 5
