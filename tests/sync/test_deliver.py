"""Deliveries: what becomes of each write, with outcomes written by hand and a CRM that only repeats them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import pytest

from worker.core import errors
from worker.core.records import Kind, Ref, Snapshot, Value
from worker.remote.base import Page
from worker.remote.workbooks import Applied, Outcome, Refused, Stale, Uncertain, Workbooks, Write
from worker.sync import deliver
from worker.sync.deliver import Desk, Job

REFERENCE, ERROR = "cf_person_outreach_id", "cf_person_outreach_error"
AT = datetime(2026, 11, 20, 9, 0, 0, tzinfo=UTC)

Judge = Callable[[Write], Outcome]


@dataclass
class Fake:
    """A CRM that judges each write by hand, keeps every batch, and shows the records it was given."""

    judge: Judge
    shown: list[Snapshot] = field(default_factory=list)
    batches: list[list[Write]] = field(default_factory=list)
    asked: list[list[tuple[str, str, str]]] = field(default_factory=list)
    at_once: int = 100

    def write(self, kind: Kind, writes: Sequence[Write], *, reference_field: str) -> list[Outcome]:
        assert kind is Kind.PERSON
        assert reference_field == REFERENCE
        self.batches.append(list(writes))
        return [self.judge(write) for write in writes]

    def page(self, kind: Kind, *, filters: Sequence[tuple[str, str, str]], **_: object) -> Page:
        self.asked.append(list(filters))
        name, _operator, values = filters[0]
        wanted = values.split(",")
        found = [s for s in self.shown if str(s.ref.id if name == "id" else s.fields.get(name)) in wanted]
        return Page(found, None, AT)

    @property
    def sent(self) -> list[tuple[int, dict[str, Value]]]:
        """Every write so far: id and fields."""
        return [(write.id, dict(write.fields)) for batch in self.batches for write in batch]


def desk(fake: Fake, *, lacks: Callable[[str], bool] = lambda _: False) -> Desk:
    """Return a desk at that CRM."""
    return Desk(cast("Workbooks", fake), Kind.PERSON, REFERENCE, ("id", "title", REFERENCE, "last"), lacks)


def update(id: int = 7001, version: int = 3, *, vital: frozenset[str] = frozenset(), **fields: Value) -> Job:
    """Return the update of a person, whose change is that of prospect ``id - 7000``."""
    return Job(id - 7000, Write(id, version, fields), ERROR, vital)


def create(key: int = 1, **fields: Value) -> Job:
    """Return the creation of a prospect's person."""
    return Job(key, Write(0, 0, fields, str(key)), ERROR, frozenset({REFERENCE, "last"}))


def person(
    id: int = 7001, version: int = 3, *, deleted: bool = False, reference: str | None = None, **fields: Value
) -> Snapshot:
    """Return a person as the CRM shows it."""
    return Snapshot(Ref(Kind.PERSON, id), {**fields, REFERENCE: reference}, AT, version, deleted)


def applied(write: Write) -> Outcome:
    """Judge that a write was carried out."""
    return Applied(id=write.id or 8000 + int(write.reference or 0), version=write.version + 1, fields={}, updated_at=AT)


def test_an_applied_write_has_its_receipt() -> None:
    """Id, version and the values that were sent, or what the CRM says it made of them."""
    fake = Fake(lambda write: Applied(write.id, 4, {"title": "Head", "other": 1}, AT))
    (receipt,) = deliver.carry_out([update(title=" Head ", name="x")], desk(fake)).values()
    assert (receipt.applied, receipt.crm_id, receipt.version) == (True, 7001, 4)
    assert receipt.fields == {"title": "Head", "name": "x"}
    assert receipt.refused == {}
    assert receipt.trouble is None
    assert fake.asked == []


def test_one_batch_for_all() -> None:
    """Creates and updates ride together; each receipt is found by whose change it is."""
    fake = Fake(applied)
    told = deliver.carry_out([update(7005, title="a"), create(9, last="b")], desk(fake))
    assert {key: receipt.crm_id for key, receipt in told.items()} == {5: 7005, 9: 8009}
    assert [len(batch) for batch in fake.batches] == [2]


def test_a_refused_field_is_left_out_and_the_rest_written() -> None:
    """The vendor's words go into the error field in the same request, and the neighbours are not sent again."""

    def judge(write: Write) -> Outcome:
        return Refused({"title": "is too long"}) if "title" in write.fields else applied(write)

    fake = Fake(judge, [person(7001, 3)])
    told = deliver.carry_out([update(7001, title="x" * 999, mobile="1"), update(7002, mobile="2")], desk(fake))
    assert told[1].applied
    assert told[1].refused == {"title": "is too long"}
    assert told[1].fields == {"mobile": "1", ERROR: "title: is too long"}
    assert told[2].fields == {"mobile": "2"}
    assert [[write.id for write in batch] for batch in fake.batches] == [[7001, 7002], [7001]]


def test_each_refused_field_in_turn_is_left_out() -> None:
    """A vendor that names one field at a time ends with every good field written and every bad one named."""
    bad = {"a": "is odd", "b": "is odder"}

    def judge(write: Write) -> Outcome:
        for name, words in bad.items():
            if name in write.fields:
                return Refused({name: words})
        return applied(write)

    fake = Fake(judge, [person()])
    (receipt,) = deliver.carry_out([update(a=1, b=2, c=3, opted=True)], desk(fake)).values()
    assert receipt.refused == bad
    assert receipt.fields == {"c": 3, "opted": True, ERROR: "a: is odd; b: is odder"}


def test_a_field_that_the_crm_lacks_is_no_fault_of_the_record() -> None:
    """It is left out without a word in the error field, for nobody can mend it in this record."""

    def judge(write: Write) -> Outcome:
        return Refused({"title": "is not in the list"}) if "title" in write.fields else applied(write)

    fake = Fake(judge, [person()])
    (receipt,) = deliver.carry_out(
        [update(title="x", mobile="1")], desk(fake, lacks=lambda name: name == "title")
    ).values()
    assert receipt.refused == {}
    assert receipt.fields == {"mobile": "1"}


def test_an_update_refused_without_a_name_is_tried_field_by_field() -> None:
    """What the vendor does not name is found by trying, the vital fields first; each write carries the new version."""

    def judge(write: Write) -> Outcome:
        return Refused({"": "This record could not be saved."}) if "title" in write.fields else applied(write)

    fake = Fake(judge, [person()])
    job = update(title="x", mobile="1", opted=True, vital=frozenset({"opted"}))
    (receipt,) = deliver.carry_out([job], desk(fake)).values()
    assert receipt.refused == {"title": "This record could not be saved."}
    assert receipt.fields == {"opted": True, "mobile": "1", ERROR: "title: This record could not be saved."}
    assert receipt.version == 6
    single = [
        (list(fields), write.version) for batch in fake.batches[1:] for write in batch for fields in [write.fields]
    ]
    assert single == [(["opted"], 3), (["title"], 4), (["mobile"], 4), ([ERROR], 5)]


def test_a_new_record_refused_without_a_name_is_made_and_then_filled() -> None:
    """It is created with what is vital, and the rest is then tried field by field: only what is refused stays out."""

    def judge(write: Write) -> Outcome:
        return Refused({"": "This record could not be saved."}) if "title" in write.fields else applied(write)

    fake = Fake(judge)
    (receipt,) = deliver.carry_out([create(1, last="Last", title="x", mobile="1")], desk(fake)).values()
    assert (receipt.crm_id, receipt.version) == (8001, 3)
    assert receipt.refused == {"title": "This record could not be saved."}
    assert receipt.fields == {"last": "Last", "mobile": "1", ERROR: "title: This record could not be saved."}
    tried = [(write.id, write.version, set(write.fields)) for batch in fake.batches[1:] for write in batch]
    assert tried == [
        (0, 0, {"last", ERROR}),
        (8001, 1, {"title"}),
        (8001, 1, {"mobile"}),
        (8001, 2, {ERROR}),
    ]


def test_a_new_record_whose_suspects_are_all_well_shows_no_error() -> None:
    """Refused once for no reason of its own, it ends with every field written and nothing to complain of."""

    def judge(write: Write) -> Outcome:
        return Refused({"": "Busy just now."}) if len(fake.batches) == 1 else applied(write)

    fake = Fake(judge)
    (receipt,) = deliver.carry_out([create(1, last="Last", title="x")], desk(fake)).values()
    assert receipt.refused == {}
    assert receipt.fields == {"last": "Last", "title": "x", ERROR: None}


def test_a_new_record_that_cannot_be_filled_is_kept_as_it_was_made() -> None:
    """The CRM goes down behind the create: the receipt tells what was left out, and nothing is created again."""

    def judge(write: Write) -> Outcome:
        if write.id:
            raise errors.RemoteDown("could not connect")
        return Refused({"": "no"}) if "title" in write.fields else applied(write)

    (receipt,) = deliver.carry_out([create(1, last="Last", title="x")], desk(Fake(judge))).values()
    assert receipt.crm_id == 8001
    assert receipt.refused == {"title": "no"}


def test_a_new_record_that_nothing_helps_fails_with_the_words() -> None:
    """Refused to the last, a record ends as a fault of its own, in a bounded number of requests."""
    fake = Fake(lambda _: Refused({"last": "can't be blank"}))
    (receipt,) = deliver.carry_out([create(1, last="")], desk(fake)).values()
    assert not receipt.applied
    assert isinstance(receipt.trouble, errors.InvalidField)
    assert "can't be blank" in receipt.trouble.words
    assert len(fake.batches) <= deliver.ROUNDS


def test_a_record_saved_by_somebody_else_is_stale_and_comes_along() -> None:
    """The newer copy is read back, so that the next plan starts from it."""
    newer = person(7001, 4, title="Theirs")
    fake = Fake(lambda _: Stale("already been updated elsewhere"), [newer])
    (receipt,) = deliver.carry_out([update(title="Ours")], desk(fake)).values()
    assert isinstance(receipt.trouble, errors.StaleVersion)
    assert receipt.fresh == newer
    assert len(fake.batches) == 1


def test_a_stale_answer_for_an_unchanged_version_is_tried_later() -> None:
    """The CRM says stale though it shows the version we sent: nothing is believed, the record is planned again."""
    fake = Fake(lambda _: Stale("already been updated elsewhere"), [person(7001, 3)])
    (receipt,) = deliver.carry_out([update(title="Ours")], desk(fake)).values()
    assert isinstance(receipt.trouble, errors.StaleVersion)


def test_an_uncertain_update_that_was_carried_out_is_believed() -> None:
    """A newer version that holds what we sent is ours; it is not sent again."""
    fake = Fake(lambda _: Uncertain("no complete answer"), [person(7001, 4, title="Ours")])
    (receipt,) = deliver.carry_out([update(title="Ours")], desk(fake)).values()
    assert (receipt.applied, receipt.version, receipt.fields) == (True, 4, {"title": "Ours"})
    assert len(fake.batches) == 1


def test_an_uncertain_update_that_holds_something_else_is_stale() -> None:
    """A newer version that does not hold what we sent is somebody else's."""
    fake = Fake(lambda _: Uncertain("no complete answer"), [person(7001, 4, title="Theirs")])
    (receipt,) = deliver.carry_out([update(title="Ours")], desk(fake)).values()
    assert isinstance(receipt.trouble, errors.StaleVersion)
    assert receipt.fresh is not None


def test_an_uncertain_update_that_was_not_carried_out_is_sent_again() -> None:
    """The version we sent is still there: nothing was done, so it is done now."""

    def judge(write: Write) -> Outcome:
        return Uncertain("no complete answer") if len(fake.batches) == 1 else applied(write)

    fake = Fake(judge, [person(7001, 3, title="Old")])
    (receipt,) = deliver.carry_out([update(title="Ours")], desk(fake)).values()
    assert receipt.applied
    assert len(fake.batches) == 2


def test_an_uncertain_create_is_found_by_its_reference() -> None:
    """It is linked, with what the CRM holds of it, and never created twice."""
    there = person(8001, 0, title="Made", reference="1")
    fake = Fake(lambda _: Uncertain("no complete answer"), [there])
    (receipt,) = deliver.carry_out([create(1, title=" Made ")], desk(fake)).values()
    assert (receipt.crm_id, receipt.version, receipt.fields) == (8001, 0, {"title": "Made"})
    assert len(fake.batches) == 1
    assert fake.asked == [[(REFERENCE, "eq", "1")]]


def test_an_uncertain_create_that_is_not_found_waits() -> None:
    """An index may lag: it is looked up again later, and not created in the same breath."""
    fake = Fake(lambda _: Uncertain("no complete answer"))
    (receipt,) = deliver.carry_out([create(1, title="x")], desk(fake)).values()
    assert isinstance(receipt.trouble, errors.Throttled)
    assert (receipt.trouble.retry_after_s, receipt.in_doubt) == (10.0, True)
    assert len(fake.batches) == 1


def test_a_refused_create_that_is_there_is_linked() -> None:
    """Refused as a duplicate of what an earlier, lost answer had made: the one that is there is ours."""
    fake = Fake(lambda _: Refused({REFERENCE: "has been taken"}), [person(8001, 1, reference="1")])
    (receipt,) = deliver.carry_out([create(1, title="x")], desk(fake)).values()
    assert receipt.crm_id == 8001


def test_a_deleted_record_is_told_with_its_tombstone() -> None:
    """The update of a person deleted meanwhile is planned again, with the tombstone in hand."""
    fake = Fake(lambda _: Uncertain("gone"), [person(7001, 3, deleted=True)])
    (receipt,) = deliver.carry_out([update(title="x")], desk(fake)).values()
    assert isinstance(receipt.trouble, errors.StaleVersion)
    assert receipt.fresh is not None
    assert receipt.fresh.deleted


def test_a_record_neither_visible_nor_deleted_is_unreadable() -> None:
    """Absence is no deletion: it waits for a person."""
    fake = Fake(lambda _: Stale("gone or no longer accessible"))
    (receipt,) = deliver.carry_out([update(title="x")], desk(fake)).values()
    assert isinstance(receipt.trouble, errors.Unreadable)


def test_a_batch_that_fails_as_a_whole_is_split() -> None:
    """One object spoils every batch it is in: the others get through, and it ends up alone with its words."""

    def judge(write: Write) -> Outcome:
        spoilt = any(one.id == 7003 for one in fake.batches[-1])
        return Refused({"": "the batch failed"}) if spoilt and len(fake.batches[-1]) > 1 else applied_but(write)

    def applied_but(write: Write) -> Outcome:
        return Refused({"title": "spoils it"}) if write.id == 7003 and "title" in write.fields else applied(write)

    fake = Fake(judge, [person(7000 + n, 3) for n in range(1, 9)])
    told = deliver.carry_out([update(7000 + n, title=str(n)) for n in range(1, 9)], desk(fake))
    assert {key for key, receipt in told.items() if receipt.applied} == set(range(1, 9))
    assert {key: receipt.refused for key, receipt in told.items() if receipt.refused} == {3: {"title": "spoils it"}}


def test_a_batch_of_uncertain_updates_that_were_not_done_ends() -> None:
    """A CRM that confirms nothing and does nothing is given up in a bounded number of requests, each change kept."""
    fake = Fake(lambda _: Uncertain("no complete answer"), [person(7000 + n, 3) for n in range(1, 5)])
    told = deliver.carry_out([update(7000 + n, title="x") for n in range(1, 5)], desk(fake))
    assert {type(receipt.trouble) for receipt in told.values()} == {errors.RemoteDown}
    assert len(fake.batches) < 40


def test_nothing_sent_raises() -> None:
    """A batch that surely never left is no outcome at all: the caller gives every row back."""

    def down(_: Write) -> Outcome:
        raise errors.RemoteDown("could not connect")

    with pytest.raises(errors.RemoteDown):
        deliver.carry_out([update(title="x")], desk(Fake(down)))


def test_going_down_half_way_loses_no_receipt() -> None:
    """The first batch was answered, the second never left: what was applied keeps its receipt."""

    def judge(write: Write) -> Outcome:
        if len(fake.batches) > 1:
            raise errors.RemoteDown("could not connect")
        return Refused({"title": "is odd"}) if write.id == 7001 else applied(write)

    fake = Fake(judge, [person(7001, 3)])
    told = deliver.carry_out([update(7001, title="x", a=1), update(7002, title="y")], desk(fake))
    assert told[2].applied
    assert isinstance(told[1].trouble, errors.RemoteDown)


def test_a_look_up_that_fails_loses_no_receipt() -> None:
    """The neighbours of an uncertain object keep their receipts when the CRM goes down before it can be looked up."""

    class Down(Fake):
        def page(self, kind: Kind, *, filters: Sequence[tuple[str, str, str]], **_: object) -> Page:
            raise errors.RemoteDown("no complete answer")

    fake = Down(lambda write: Uncertain("?") if write.id == 7001 else applied(write))
    told = deliver.carry_out([update(7001, title="x"), update(7002, title="y"), create(3, title="z")], desk(fake))
    assert told[2].applied
    assert told[3].applied
    assert isinstance(told[1].trouble, errors.RemoteDown)


def test_a_slow_crm_is_sent_fewer_at_a_time() -> None:
    """Where the CRM had better be sent two objects a request, five jobs go in three, in their order."""
    fake = Fake(applied, at_once=2)
    receipts = deliver.carry_out([update(7000 + n, title="Dr") for n in range(1, 6)], desk(fake))
    assert [[write.id for write in batch] for batch in fake.batches] == [[7001, 7002], [7003, 7004], [7005]]
    assert sorted(key for key, receipt in receipts.items() if receipt.applied) == [1, 2, 3, 4, 5]


def test_what_a_fault_kept_from_being_sent_is_told() -> None:
    """A CRM that goes away after the first request has done that one; the other jobs are to be tried again."""

    def judged(write: Write) -> Outcome:
        if write.id > 7002:
            raise errors.RemoteDown("gone")
        return applied(write)

    receipts = deliver.carry_out([update(7000 + n, title="Dr") for n in range(1, 6)], desk(Fake(judged, at_once=2)))
    assert [key for key, receipt in receipts.items() if receipt.applied] == [1, 2]
    troubled = {key: receipt.trouble for key, receipt in receipts.items() if not receipt.applied}
    assert {key: type(trouble) for key, trouble in troubled.items()} == dict.fromkeys((3, 4, 5), errors.RemoteDown)


def test_a_fault_at_the_very_first_request_is_raised() -> None:
    """Where nothing at all was sent the fault is raised, however many requests it would have been."""

    def gone(_: Write) -> Outcome:
        raise errors.RemoteDown("gone")

    with pytest.raises(errors.RemoteDown):
        deliver.carry_out([update(7001, title="Dr"), update(7002, title="Dr")], desk(Fake(gone, at_once=1)))
