"""What waits for a person: entries and the records that hang on them, taken away together and never left alone."""

from __future__ import annotations

import pytest

from tests.store.makers import NOW, claimed, counts, ids, later, opened
from worker.store import database, outbox
from worker.store.outbox import Change, Standing


def hold(store: database.Store, change: Change, key: str, words: str = "which one?", at: float = 0) -> None:
    """Let a change wait."""
    with store.write() as db:
        outbox.hold(db, change, key=key, kind=key.partition(":")[0], words=words, now=later(at))


def entries(store: database.Store, kind: str | None = None) -> list[tuple[str, str, int]]:
    """Return the entries: key, words, how many records hang on them."""
    with store.read() as db:
        return [(row.key, row.words, row.records) for row in outbox.holds(db, kind)]


def test_a_held_change_waits_for_a_person(store: database.Store) -> None:
    """It is not claimed, its entry tells why, and it counts as held, not as open."""
    opened(store, 5)
    hold(store, claimed(store)[0], "ask:prospects:5")
    assert claimed(store, at=999) == []
    assert entries(store) == [("ask:prospects:5", "which one?", 1)]
    assert (counts(store).holds, counts(store).open) == (1, 0)


def test_several_hang_on_one_entry(store: database.Store) -> None:
    """A tripped brake is one entry with its first date and latest words, whatever hangs on it."""
    opened(store, 5, 6)
    one, two = claimed(store)
    hold(store, one, "brake:deleted_people", "21 of 100")
    hold(store, two, "brake:deleted_people", "22 of 100", at=60)
    assert entries(store) == [("brake:deleted_people", "22 of 100", 2)]
    with store.read() as db:
        assert outbox.holds(db)[0].since == NOW
    assert counts(store).holds == 1


def test_entries_come_oldest_first_and_by_kind(store: database.Store) -> None:
    """A list of entries may be asked for by kind."""
    with store.write() as db:
        outbox.post_hold(db, key="label:b", kind="label", words="b", now=later(1))
        outbox.post_hold(db, key="field:a", kind="field", words="a", now=NOW)
        outbox.post_hold(db, key="label:a", kind="label", words="a", now=later(1))
    assert [key for key, _, _ in entries(store)] == ["field:a", "label:a", "label:b"]
    assert entries(store, "label") == [("label:a", "a", 0), ("label:b", "b", 0)]


def test_lifting_makes_due_what_hung_on_it(store: database.Store) -> None:
    """The entry goes and its records are looked at again, now; what hangs on another entry stays."""
    opened(store, 5, 6, 7)
    one, two, three = claimed(store)
    hold(store, one, "brake:deleted_people")
    hold(store, two, "brake:deleted_people")
    hold(store, three, "ask:prospects:7")
    with store.write() as db:
        assert outbox.lift(db, ["brake:deleted_people", "not there"], later(60)) == 2
    assert entries(store) == [("ask:prospects:7", "which one?", 1)]
    assert claimed(store, at=59) == []
    assert ids(claimed(store, at=60)) == [5, 6]


def test_an_edit_makes_a_held_change_due_and_its_entry_goes_when_it_is_settled(store: database.Store) -> None:
    """News is looked at again at once; the entry goes with the last record that hung on it."""
    opened(store, 5, 6)
    one, two = claimed(store)
    hold(store, one, "ask:both")
    hold(store, two, "ask:both")
    for n, left in ((5, [("ask:both", "which one?", 1)]), (6, [])):
        opened(store, n)
        (change,) = claimed(store)
        assert change.hold_key == "ask:both"
        with store.write() as db:
            outbox.settle(db, [change])
        assert entries(store) == left


def test_holding_under_another_entry_leaves_the_first(store: database.Store) -> None:
    """What was ambiguous and is now unreadable hangs on one entry only."""
    opened(store, 5)
    hold(store, claimed(store)[0], "ambiguous:prospects:5")
    opened(store, 5)
    hold(store, claimed(store)[0], "unreadable:prospects:5")
    assert [key for key, _, _ in entries(store)] == ["unreadable:prospects:5"]


def test_burying_leaves_the_entry(store: database.Store) -> None:
    """A dead letter waits for nobody's answer."""
    opened(store, 5)
    hold(store, claimed(store)[0], "ask:prospects:5")
    opened(store, 5)
    (change,) = claimed(store)
    with store.write() as db:
        outbox.bury(db, change, "refused", NOW)
    assert entries(store) == []
    assert counts(store).dead == 1


def test_what_an_edit_has_reached_is_not_held(store: database.Store) -> None:
    """The question belongs to values that are history; the entry goes once the row is settled."""
    opened(store, 5)
    (change,) = claimed(store)
    opened(store, 5)
    hold(store, change, "ask:prospects:5")
    (again,) = claimed(store)
    assert again.ref.id == 5
    with store.write() as db:
        outbox.settle(db, [again])
    assert entries(store) == []


def test_an_entry_without_records_stays_until_it_is_lifted(store: database.Store) -> None:
    """A missing label hangs on nobody's record, and no settling takes it away."""
    with store.write() as db:
        outbox.post_hold(db, key="label:cf_person_sequence_state", kind="label", words="no 'Paused'", now=NOW)
    opened(store, 5)
    changes = claimed(store)
    with store.write() as db:
        outbox.settle(db, changes)
    assert [key for key, _, _ in entries(store)] == ["label:cf_person_sequence_state"]
    with store.write() as db:
        assert outbox.lift(db, ["label:cf_person_sequence_state"], NOW) == 0
    assert entries(store) == []


def test_a_held_row_that_is_set_aside_keeps_its_entry(store: database.Store) -> None:
    """Held back by a switch of this run, a row that was held before still shows what it waits for."""
    opened(store, 5)
    hold(store, claimed(store)[0], "ask:prospects:5")
    opened(store, 5)
    changes = claimed(store)
    with store.write() as db:
        outbox.release(db, changes, standing=Standing.KEPT)
    assert entries(store) == [("ask:prospects:5", "which one?", 1)]


def test_a_retry_keeps_the_entry(store: database.Store) -> None:
    """A passing fault answers no question."""
    opened(store, 5)
    hold(store, claimed(store)[0], "ask:prospects:5")
    opened(store, 5)
    (change,) = claimed(store)
    with store.write() as db:
        outbox.retry(db, change, at=later(5), error="503")
    assert entries(store) == [("ask:prospects:5", "which one?", 1)]


@pytest.mark.parametrize("lost", [True, False])
def test_a_stale_holder_posts_no_entry(store: database.Store, lost: bool) -> None:
    """Who has lost its fence has nothing to ask."""
    opened(store, 5)
    (change,) = claimed(store)
    if lost:
        claimed(store, at=16)
    hold(store, change, "ask:prospects:5", at=17)
    assert entries(store) == ([] if lost else [("ask:prospects:5", "which one?", 1)])
