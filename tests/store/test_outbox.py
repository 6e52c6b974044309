"""The outbox: one open row a record, counted generations, the order of claims, and what is told of it all."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.store.makers import NOW, claimed, counts, ids, keep, later, opened, seen
from worker.core.records import Kind
from worker.store import backlog, database, outbox, waking
from worker.store.outbox import Lane, Standing


def rows(store: database.Store) -> dict[int, sa.Row[tuple[object, ...]]]:
    """Return the open rows by record."""
    with store.read() as db:
        return {row.record_id: row for row in db.execute(sa.select(outbox.CHANGE))}


def test_one_open_row_a_record(store: database.Store) -> None:
    """However often a record is opened, one row waits for it; another kind's record of that id has its own."""
    opened(store, 5, 5, 6)
    opened(store, 5)
    opened(store, 5, kind=Kind.TASK)
    with store.read() as db:
        held = db.execute(sa.select(outbox.CHANGE.c.kind, outbox.CHANGE.c.record_id, outbox.CHANGE.c.generation))
        assert sorted(tuple(row) for row in held) == [("prospects", 5, 2), ("prospects", 6, 1), ("tasks", 5, 1)]


def test_opening_tells_how_many(store: database.Store) -> None:
    """The number of records is returned, whether their rows are new or were open already."""
    with store.write() as db:
        assert outbox.open_changes(db, Kind.PROSPECT, [], lane=Lane.EDIT, now=NOW) == 0
        assert outbox.open_changes(db, Kind.PROSPECT, [7, 7, 8], lane=Lane.EDIT, now=NOW) == 2
        assert outbox.open_changes(db, Kind.PROSPECT, range(1, 1203), lane=Lane.EDIT, now=NOW) == 1202
    assert counts(store).due == 1202


def test_an_edit_while_leased_keeps_the_row_open(store: database.Store) -> None:
    """What was settled is what was read: a row whose generation moved meanwhile is due again, with a clean slate."""
    opened(store, 5, 6)
    first = claimed(store)
    opened(store, 5, at=1)
    with store.write() as db:
        outbox.settle(db, first)
    assert list(rows(store)) == [5]
    again = claimed(store, at=1)
    assert [(one.generation, one.fence, one.attempts, one.alone) for one in again] == [(2, 2, 0, False)]
    with store.write() as db:
        outbox.settle(db, again)
    assert rows(store) == {}


def test_an_edit_leaves_the_lease_to_its_holder(store: database.Store) -> None:
    """A row that is being worked on is not claimed a second time because an edit arrives."""
    opened(store, 5)
    claimed(store)
    opened(store, 5, lane=Lane.OPT_OUT)
    assert claimed(store, at=1) == []


def test_opt_outs_go_first_then_single_edits_then_bulk(store: database.Store) -> None:
    """The lane decides before the time of arrival; within a lane the oldest goes first."""
    opened(store, 1, lane=Lane.BULK, at=-9)
    opened(store, 2, lane=Lane.EDIT, at=-2)
    opened(store, 3, lane=Lane.EDIT, at=-5)
    opened(store, 4, lane=Lane.OPT_OUT, at=0)
    assert ids(claimed(store, limit=2)) == [4, 3]
    assert ids(claimed(store)) == [2, 1]


def test_only_wanted_lanes_are_claimed(store: database.Store) -> None:
    """The opt-out worker takes nothing else."""
    opened(store, 1, lane=Lane.BULK)
    opened(store, 2, lane=Lane.OPT_OUT)
    assert ids(claimed(store, lanes=[Lane.OPT_OUT])) == [2]
    assert claimed(store, lanes=[Lane.OPT_OUT, Lane.EDIT]) == []


def test_a_row_moves_to_the_faster_lane_and_never_back(store: database.Store) -> None:
    """An opt-out raises an open bulk change; a bulk change does not lower an open opt-out."""
    opened(store, 1, lane=Lane.BULK)
    opened(store, 1, lane=Lane.OPT_OUT)
    opened(store, 1, lane=Lane.BULK)
    assert [one.lane for one in claimed(store)] == [Lane.OPT_OUT]


def test_at_most_a_hundred_at_once(store: database.Store) -> None:
    """A claim is a batch of the CRM's size."""
    opened(store, *range(1, 251))
    assert [len(claimed(store)) for _ in range(4)] == [100, 100, 50, 0]


def test_kinds_are_claimed_apart(store: database.Store) -> None:
    """People and tasks never ride together."""
    opened(store, 1)
    opened(store, 2, kind=Kind.TASK)
    assert ids(claimed(store, kind=Kind.TASK)) == [2]
    assert ids(claimed(store)) == [1]


def test_nothing_is_claimed_before_its_time(store: database.Store) -> None:
    """A deferred row is left alone until its time has come."""
    opened(store, 5)
    (change,) = claimed(store)
    with store.write() as db:
        outbox.retry(db, change, at=later(30), error="503")
    assert claimed(store, at=29.9) == []
    (again,) = claimed(store, at=30)
    assert (again.attempts, again.alone, again.opened_at) == (1, False, NOW)


def test_an_edit_makes_a_deferred_row_due(store: database.Store) -> None:
    """News is looked at now; how often it was tried, and since when, stays known."""
    opened(store, 5)
    (change,) = claimed(store)
    with store.write() as db:
        outbox.retry(db, change, at=later(900), error="503")
    opened(store, 5, at=10)
    (again,) = claimed(store, at=10)
    assert (again.attempts, again.opened_at) == (1, NOW)


@pytest.mark.parametrize("counted", [True, False])
def test_a_retry_counts_unless_it_was_nobodys_fault(store: database.Store, counted: bool) -> None:
    """The attempt and the words of the error stay on the row."""
    opened(store, 5)
    (change,) = claimed(store)
    with store.write() as db:
        outbox.retry(db, change, at=later(1), error="stale", counted=counted)
    row = rows(store)[5]
    assert (row.attempts, row.error, row.lease_until, row.intent) == (int(counted), "stale", None, None)


def test_a_dead_letter_waits_until_an_edit(store: database.Store) -> None:
    """It is not claimed again by itself; an edit makes it due with a clean slate."""
    opened(store, 5)
    (change,) = claimed(store)
    with store.write() as db:
        assert outbox.bury(db, change, "unmapped state 'odd'", NOW)
    assert claimed(store, at=99999) == []
    row = rows(store)[5]
    assert (row.state, row.error, row.attempts) == (Standing.DEAD, "unmapped state 'odd'", 1)
    opened(store, 5, at=60)
    (again,) = claimed(store, at=60)
    assert (again.attempts, again.opened_at) == (0, later(60))


def test_a_row_that_an_edit_reached_is_not_buried(store: database.Store) -> None:
    """The fault belongs to values that are history: the edit is looked at first."""
    opened(store, 5)
    (change,) = claimed(store)
    opened(store, 5)
    with store.write() as db:
        assert not outbox.bury(db, change, "refused", NOW)
    assert rows(store)[5].state == Standing.DUE
    assert ids(claimed(store)) == [5]


@pytest.mark.parametrize("standing", [Standing.KEPT, Standing.WAITING])
def test_what_is_set_aside_is_not_claimed(store: database.Store, standing: Standing) -> None:
    """Kept and waiting rows stay where they are until something wakes them; an edit does."""
    opened(store, 5)
    with store.write() as db:
        outbox.release(db, claimed_in(db), standing=standing)
    assert claimed(store, at=999) == []
    opened(store, 5)
    assert ids(claimed(store)) == [5]


def claimed_in(db: sa.Connection) -> list[outbox.Change]:
    """Claim what is due, in the caller's transaction."""
    return outbox.claim(db, Kind.PROSPECT, now=NOW)


@pytest.mark.parametrize("standing", [Standing.KEPT, Standing.WAITING])
def test_an_edit_is_not_set_aside_with_what_was_read(store: database.Store, standing: Standing) -> None:
    """A row that was reached meanwhile, perhaps by what it was to wait for, stays due."""
    opened(store, 5)
    changes = claimed(store)
    opened(store, 5)
    with store.write() as db:
        outbox.release(db, changes, standing=standing)
    assert ids(claimed(store)) == [5]


def test_what_was_kept_is_due_again(store: database.Store) -> None:
    """The next run decides anew what it keeps back; what waits for a person or is dead is not touched."""
    opened(store, 5, 6)
    changes = claimed(store)
    with store.write() as db:
        outbox.release(db, changes[:1], standing=Standing.KEPT)
        outbox.bury(db, changes[1], "dead", NOW)
        outbox.unkeep(db)
    assert ids(claimed(store)) == [5]


def test_everyone_in_a_sequence_is_opened_by_one_statement(store: database.Store) -> None:
    """A sequence opens everybody with a living state in it, once each, in the bulk lane, with one statement."""
    keep(
        store,
        Kind.STATE,
        seen(Kind.STATE, 1, relations={"prospect": 11, "sequence": 3, "sequenceStep": 31}),
        seen(Kind.STATE, 2, relations={"prospect": 11, "sequence": 3, "sequenceStep": 32}),
        seen(Kind.STATE, 3, relations={"prospect": 12, "sequence": 3, "sequenceStep": 31}),
        seen(Kind.STATE, 4, relations={"prospect": 13, "sequence": 4, "sequenceStep": 41}),
        seen(Kind.STATE, 5, deleted=True, relations={"prospect": 14, "sequence": 3}),
        seen(Kind.STATE, 6, relations={"prospect": None, "sequence": 3}),
    )
    opened(store, 11)
    statements: list[str] = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    with store.write() as db:
        assert outbox.open_everyone_in(db, "sequence", [3], now=NOW) == 2
    assert len([text for text in statements if "INTO change" in text]) == 1
    held = {record: (row.lane, row.generation) for record, row in rows(store).items()}
    assert held == {11: (Lane.EDIT, 2), 12: (Lane.BULK, 1)}


def test_everyone_on_a_step_is_opened(store: database.Store) -> None:
    """A step opens those that stand on it, and nobody else of its sequence."""
    for n, step in ((1, 31), (2, 32)):
        keep(
            store, Kind.STATE, seen(Kind.STATE, n, relations={"prospect": 10 + n, "sequence": 3, "sequenceStep": step})
        )
    with store.write() as db:
        assert outbox.open_everyone_in(db, "sequenceStep", [32, 99], now=NOW) == 1
    assert list(rows(store)) == [12]


def test_all_of_a_kind_are_opened(store: database.Store) -> None:
    """Every living record of the kind, behind single edits."""
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 1), seen(Kind.PROSPECT, 2, deleted=True), seen(Kind.PROSPECT, 3))
    keep(store, Kind.PERSON, seen(Kind.PERSON, 4))
    with store.write() as db:
        assert outbox.open_all(db, Kind.PROSPECT, now=NOW) == 2
    assert {record: row.lane for record, row in rows(store).items()} == {1: Lane.BULK, 3: Lane.BULK}


def waiting_tasks(store: database.Store, *task_ids: int) -> None:
    """Let tasks wait for their person."""
    opened(store, *task_ids, kind=Kind.TASK)
    with store.write() as db:
        outbox.release(db, outbox.claim(db, Kind.TASK, now=NOW), standing=Standing.WAITING)


def test_tasks_wake_with_their_person(store: database.Store) -> None:
    """A task is due once its prospect has a person, whether the task tells its prospect or only its state does."""
    keep(store, Kind.STATE, seen(Kind.STATE, 9, relations={"prospect": 1}))
    keep(store, Kind.TASK, seen(Kind.TASK, 21, relations={"prospect": 1}))
    keep(store, Kind.TASK, seen(Kind.TASK, 22, relations={"prospect": 2}))
    keep(store, Kind.TASK, seen(Kind.TASK, 23, relations={"sequenceState": 9}))
    waiting_tasks(store, 21, 22, 23)
    assert claimed(store, kind=Kind.TASK) == []
    with store.write() as db:
        waking.wake_tasks(db, [1, 3], later(5))
    assert ids(claimed(store, kind=Kind.TASK, at=5)) == [21, 23]


def test_a_task_that_is_just_being_looked_at_wakes_too(store: database.Store) -> None:
    """A person that is linked between the look and the waiting is not missed: the task does not wait for ever."""
    keep(store, Kind.TASK, seen(Kind.TASK, 21, relations={"prospect": 1}))
    opened(store, 21, kind=Kind.TASK)
    looking = claimed(store, kind=Kind.TASK)
    with store.write() as db:
        waking.wake_tasks(db, [1], later(1))
    with store.write() as db:
        outbox.release(db, looking, standing=Standing.WAITING)
    assert ids(claimed(store, kind=Kind.TASK, at=2)) == [21]


def test_everything_that_waits_may_be_woken(store: database.Store) -> None:
    """Once a missing field is mended, all of a kind that waited are due, also those just being looked at."""
    waiting_tasks(store, 21)
    opened(store, 22, kind=Kind.TASK)
    looking = claimed(store, kind=Kind.TASK)
    opened(store, 5)
    with store.write() as db:
        waking.wake_everything(db, Kind.TASK, later(1))
        outbox.release(db, looking, standing=Standing.WAITING)
    assert sorted(ids(claimed(store, kind=Kind.TASK, at=1))) == [21, 22]
    assert rows(store)[5].generation == 1


def test_who_is_asked_about_a_namesake_just_now_is_looked_at_again(store: database.Store) -> None:
    """The person's owner goes between the look and the question: nobody need answer it, for it is looked at again."""
    keep(store, Kind.PERSON, seen(Kind.PERSON, 1001, addresses=["ada@people.example"]))
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 2, addresses=["ada@people.example"]))
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 3, addresses=["ben@people.example"]))
    opened(store, 2, 3)
    looking = claimed(store)
    with store.write() as db:
        waking.wake_namesakes(db, [1001], later(1))
    with store.write() as db:
        for one in looking:
            outbox.hold(db, one, key=f"ambiguous:{one.ref.id}", kind="ambiguous", words="who?", now=later(2))
    assert ids(claimed(store, at=2)) == [2]


def test_what_was_put_off_may_be_woken(store: database.Store) -> None:
    """At once and as if never tried, also what somebody who looked before puts off only now; no wake lasts.

    A dead letter stays one.
    """
    opened(store, 1, 2, 3)
    for moment in range(2):
        for change in claimed(store, at=moment):
            with store.write() as db:
                outbox.retry(db, change, at=later(moment + 1), error="503")
    first, second, third = claimed(store, at=2)
    with store.write() as db:
        outbox.retry(db, first, at=later(900), error="503")
        outbox.bury(db, third, "refused", NOW)
    with store.write() as db:
        waking.wake_put_off(db, later(5))
    assert {record: row.attempts for record, row in rows(store).items()} == {1: 0, 2: 2, 3: 3}
    with store.write() as db:
        outbox.retry(db, second, at=later(900), error="503")
    again = claimed(store, at=5)
    assert [(one.ref.id, one.attempts) for one in again] == [(1, 0), (2, 1)]
    with store.write() as db:
        for change in again:
            outbox.retry(db, change, at=later(905), error="503")
    assert claimed(store, at=904) == []


def test_an_edit_wakes_nothing_that_fails(store: database.Store) -> None:
    """What is edited while it is in hand waits as long as the failure wants: no edit mends a vendor."""
    opened(store, 1)
    (change,) = claimed(store)
    opened(store, 1, at=1)
    with store.write() as db:
        outbox.retry(db, change, at=later(900), error="503")
    assert claimed(store, at=899) == []


def test_counts_tell_how_the_outbox_stands(store: database.Store) -> None:
    """Due, leased, deferred, dead, kept and held add up, and the next time is the earliest of the due ones."""
    opened(store, 1, 2, 3, 4, 5)
    opened(store, 6, lane=Lane.OPT_OUT)
    kept_out, leased, deferred, dead, kept, held = claimed(store)
    assert counts(store).leased == 6
    with store.write() as db:
        outbox.retry(db, deferred, at=later(60), error="503")
        outbox.bury(db, dead, "refused", NOW)
        outbox.release(db, [kept_out, kept], standing=Standing.KEPT)
        outbox.hold(db, held, key="ask:x", kind="ask", words="which?", now=NOW)
    opened(store, 7, 8)
    told = counts(store, at=1)
    assert (told.due, told.leased, told.deferred, told.dead) == (2, 1, 1, 1)
    assert (told.holds, told.kept, told.kept_opt_outs, told.open) == (1, 2, 1, 5)
    assert told.next_at == NOW
    after = counts(store, at=100)
    assert (after.due, after.leased, after.deferred) == (4, 0, 0)
    assert leased.ref.id == 1


def test_an_empty_outbox_counts_nothing(store: database.Store) -> None:
    """No rows, no counts, no next time."""
    assert counts(store) == backlog.Counts()
    assert counts(store).open == 0


def test_what_could_be_claimed_is_told_by_lane(store: database.Store) -> None:
    """The sweep rings for rows that are due and free, not for deferred, leased, dead or kept ones."""
    opened(store, 1, lane=Lane.OPT_OUT)
    opened(store, 2, 3)
    opened(store, 4, lane=Lane.BULK, at=50)

    def told(at: float) -> dict[Lane, int]:
        with store.read() as db:
            return backlog.claimable(db, later(at))

    assert told(0) == {Lane.OPT_OUT: 1, Lane.EDIT: 2}
    claimed(store, limit=2)
    assert told(1) == {Lane.EDIT: 1}
    assert told(16) == {Lane.OPT_OUT: 1, Lane.EDIT: 2}
    assert told(51) == {Lane.OPT_OUT: 1, Lane.EDIT: 2, Lane.BULK: 1}


def test_due_ids_are_those_a_plan_looks_at(store: database.Store) -> None:
    """The records of one kind whose time has come, in the order in which they were opened."""
    opened(store, 9, 3)
    opened(store, 4, at=60)
    opened(store, 5, kind=Kind.TASK)
    with store.read() as db:
        assert backlog.due_ids(db, Kind.PROSPECT, NOW) == [3, 9]
