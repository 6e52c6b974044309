"""What Outreach tells beside its records: evidence of opt-outs, hints at changes, and no failure where it may not be read."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.sync.conftest import MakeScene
from tests.sync.lifting import NOT_ACTIVE, OUT, RUNNING, lift, out
from tests.sync.scene import LEASE_S, NAMES, QUIET, Killed, Life, Scene, reads_of
from worker.core.records import Feed, Kind
from worker.store import cursors, links, outbox, sights
from worker.sync import feeds
from worker.sync.feeds import Heard

STATE = "cf_person_sequence_state"
FEEDS = "/(events|emailAddresses)$"


def hear(scene: Scene) -> dict[Feed, Heard]:
    """Read both feeds."""
    return {told.feed: told for told in feeds.listen(scene.applier())}


def tell(scene: Scene, name: str, **about: int) -> None:
    """Let something have happened of which there is an event and nothing else."""
    now = scene.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")
    attributes = {"name": name, "createdAt": now, "eventAt": now}
    scene.edit_outreach(op="create", type="event", attributes=attributes, relations=about)


def urgent(scene: Scene) -> set[int]:
    """Return the prospects whose change goes before others."""
    with scene.store.read() as db:
        query = sa.select(outbox.CHANGE.c.record_id).where(outbox.CHANGE.c.lane == outbox.Lane.OPT_OUT)
        return set(db.execute(query).scalars())


def people(scene: Scene, *prospects: int) -> None:
    """Bring prospects of one sequence to the CRM, some minutes ago."""
    for n in prospects:
        scene.prospect(n, 1)
    scene.sync()
    scene.later(300)
    scene.sync()


@pytest.mark.parametrize("name", ["opt_out", "emails_opt_out"])
def test_an_opt_out_that_only_an_event_tells(scene: Scene, name: str) -> None:
    """It goes before others, latches under every name, and reaches both sides."""
    people(scene, 1, 2)
    tell(scene, name, prospect=1)
    assert (hear(scene)[Feed.EVENTS].opted_out, urgent(scene)) == (1, {1})
    with scene.store.read() as db:
        names = NAMES.of(prospect=1, person=None, addresses=["p1@people.example"])
        assert links.latched(db, names) == set(names)
    scene.sync()
    assert (out(scene, 1), out(scene, 2)) == ((True, True, OUT), (False, False, RUNNING))


def test_an_address_that_was_unsubscribed(scene: Scene) -> None:
    """Only the address says so, not its prospect: an opt-out all the same."""
    people(scene, 1, 2)
    scene.edit_outreach(op="opt_out", prospect=2, how="address")
    assert (hear(scene)[Feed.ADDRESSES].opted_out, urgent(scene)) == (1, {2})
    scene.sync()
    assert (out(scene, 1), out(scene, 2)) == ((False, False, RUNNING), (True, True, OUT))


def test_what_is_no_opt_out_of_email(scene: Scene) -> None:
    """Taking one back undoes nothing, calls and texts are not e-mails, and a name nobody knows says nothing."""
    people(scene, 1)
    names = ("opt_out_revert", "emails_opt_out_revert", "calls_opt_out", "sms_opt_out", "mailing_opened", "")
    for name in names:
        tell(scene, name, prospect=1)
    told = hear(scene)[Feed.EVENTS]
    assert (told.read >= len(names), told.opted_out, told.queued, urgent(scene)) == (True, 0, 0, set())


def test_taken_back_before_we_looked_it_still_counts(scene: Scene) -> None:
    """Out and in again between two looks: ever opted out means opted out, until somebody lifts it by hand."""
    people(scene, 1)
    scene.edit_outreach(op="opt_out", prospect=1)
    scene.edit_outreach(op="opt_in", prospect=1)
    scene.sync()
    assert out(scene, 1) == (True, True, OUT)


def test_a_lifted_opt_out_is_not_told_anew(scene: Scene) -> None:
    """Event and address are from before the opt-in and are read again in the overlap; a later one counts."""
    people(scene, 1)
    tell(scene, "emails_opt_out", prospect=1)
    scene.edit_outreach(op="opt_out", prospect=1, how="address")
    scene.sync()
    assert out(scene, 1) == (True, True, OUT)
    scene.later(30)
    lift(scene, 1)
    assert out(scene, 1)[:2] == (False, False)
    for _ in range(3):
        scene.later(10)
        scene.sync()
        assert out(scene, 1)[:2] == (False, False)
    tell(scene, "emails_opt_out", prospect=1)
    scene.sync()
    assert out(scene, 1) == (True, True, OUT)


def test_a_destroyed_state_reads_not_active_at_once(scene: Scene) -> None:
    """Its event names no state, only whose it was: the prospect's states are asked for, and the missing one by id."""
    people(scene, 1, 2)
    scene.edit_outreach(op="delete", type="sequenceState", id=scene.states_of(1)[0])
    scene.wire.calls.clear()
    assert hear(scene)[Feed.EVENTS].removed == 1
    assert len(reads_of(scene.wire.calls, "sequenceStates$")) == 2
    scene.sync()
    assert (scene.of(1)[STATE], scene.of(2)[STATE]) == (NOT_ACTIVE, RUNNING)


def test_a_destroyed_prospect_and_its_task(scene: Scene) -> None:
    """Prospect, state and task are gone by their events; the person stays, Not Active and unlinked."""
    scene.prospect(1, 1)
    related = {"prospect": 1, "sequence": 1, "sequenceState": scene.states_of(1)[0]}
    attributes = {"action": "call", "state": "incomplete"}
    scene.edit_outreach(op="create", type="task", attributes=attributes, relations=related)
    people(scene, 2)
    scene.edit_outreach(op="delete", type="prospect", id=1)
    assert hear(scene)[Feed.EVENTS].removed == 3
    scene.sync()
    with scene.store.read() as db:
        assert links.load(db, Kind.PROSPECT, [1])[1].gone
    assert (scene.of(1)[STATE], scene.of(2)[STATE]) == (NOT_ACTIVE, RUNNING)


def test_destroyed_and_there_by_id_is_not_gone(scene: Scene) -> None:
    """An event is a hint: what can be looked up is there, whatever the event is called."""
    people(scene, 1)
    tell(scene, "prospect_destroyed", prospect=1)
    tell(scene, "sequence_state_destroyed", prospect=1)
    assert hear(scene)[Feed.EVENTS].removed == 0
    scene.sync()
    assert scene.of(1)[STATE] == RUNNING


def test_a_change_that_moved_no_stamp_is_fetched(scene: Scene) -> None:
    """The event says that something happened, no poll will: the record is fetched, once, and counted."""
    people(scene, 1)
    (state,) = scene.states_of(1)
    scene.edit_outreach(op="set", type="sequenceState", id=state, attributes={"state": "paused"}, touch=False)
    tell(scene, "sequence_state_paused", prospect=1)
    assert hear(scene)[Feed.EVENTS].moved == 1
    with scene.store.read() as db:
        assert sights.told(db, scene.now() - timedelta(hours=1))[("sequenceStates", "events")] == 1
    scene.wire.calls.clear()
    hear(scene)
    assert len(scene.wire.calls) == len(reads_of(scene.wire.calls, FEEDS)) == 2
    scene.sync()
    assert scene.of(1)[STATE] == "Active – Paused"


def test_what_a_poll_has_seen_is_not_asked_for_again(scene: Scene) -> None:
    """A pass that brings a pause by its polls makes two calls for the feeds, and so does an idle one."""
    people(scene, 1, 2)
    for _ in range(2):
        scene.wire.calls.clear()
        scene.edit_outreach(op="pause", state=scene.states_of(1)[0]) if _ == 0 else None
        scene.sync()
        assert len(reads_of(scene.wire.calls, FEEDS)) == 2
        assert [call for call in scene.wire.calls if "filter%5Bprospect" in call.query] == []
        assert [call for call in scene.wire.calls if "filter%5Bid" in call.query] == []
    before = rows(scene)
    assert hear(scene)[Feed.EVENTS].queued == 0
    assert rows(scene) == before


def rows(scene: Scene) -> list[int]:
    """Return how many rows the store has where something would show."""
    with scene.store.read() as db:
        tables = (outbox.CHANGE, links.LATCH, links.HISTORY, sights.SIGHT)
        return [int(db.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()) for table in tables]


def test_a_token_without_the_scopes_costs_a_call_a_day(make_scene: MakeScene) -> None:
    """The pass is as good as any; the reason stands at the feed, and the feed is asked for again a day later."""
    scene = make_scene(options=QUIET)
    people(scene, 1)
    report = scene.sync()
    assert (report.converged, report.troubles) == (True, [])
    assert len(reads_of(scene.wire.calls, FEEDS)) == 2
    with scene.store.read() as db:
        for feed in Feed:
            assert "unauthorizedOauthScope" in cursors.row_of(db, feed).trouble
    scene.later(86_400)
    scene.sync()
    assert len(reads_of(scene.wire.calls, FEEDS)) == 4


def test_a_feed_in_trouble_hinders_nothing(scene: Scene) -> None:
    """An outage, a refused filter: the other feed and the pass go on, and the next look reads on from where it was."""
    people(scene, 1)
    tell(scene, "opt_out", prospect=1)
    broken = {"match": {"path": "/events"}, "kind": "status", "times": None, "args": {"code": 422}}
    scene.outreach.faults.arm([broken])
    told = hear(scene)
    assert (told[Feed.EVENTS].opted_out, told[Feed.ADDRESSES].trouble) == (0, None)
    assert "refuses a read, 422" in str(told[Feed.EVENTS].trouble)
    assert scene.sync().converged
    scene.outreach.faults.arm([])
    assert hear(scene)[Feed.EVENTS].opted_out == 1


def test_the_first_look_takes_nothing_up_from_long_ago(scene: Scene) -> None:
    """Somebody who opted out last month and in again since: the prospect says how that stands now."""
    scene.prospect(1, 1)
    tell(scene, "opt_out", prospect=1)
    scene.later(30 * 86_400)
    scene.sync()
    assert out(scene, 1) == (False, False, RUNNING)


def test_listeners_die_anywhere_and_nothing_is_lost(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at every point, over several pages: in the end all are opted out and the removed state is gone."""
    monkeypatch.setattr("worker.remote.outreach_feeds.SIZE", 2)
    scene = make_scene()
    people(scene, 1, 2, 3)
    for n in (1, 2, 3):
        tell(scene, "opt_out", prospect=n)
    scene.edit_outreach(op="delete", type="sequenceState", id=scene.states_of(2)[0])
    for point in range(40):
        try:
            feeds.listen(scene.applier(Life(point)))
        except Killed:
            scene.later(LEASE_S)
        else:
            break
    assert point > 8
    scene.sync()
    assert [out(scene, n) for n in (1, 2, 3)] == [(True, True, OUT)] * 3
    with scene.store.read() as db:
        assert cursors.row_of(db, Feed.EVENTS).trouble is None


def test_both_databases_remember_when_somebody_was_opted_in(on_both: Scene) -> None:
    """An event from before the opt-in, first read after it, does not count."""
    scene = on_both
    people(scene, 1)
    scene.edit_outreach(op="opt_out", prospect=1)
    scene.poll(Kind.PROSPECT)
    scene.later(5)
    lift(scene, 1)
    scene.sync()
    assert out(scene, 1)[:2] == (False, False)
