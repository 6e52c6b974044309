from __future__ import annotations

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import COLD, INBOUND, NO_EMAIL, STATE
from worker import bootstrap, config
from worker.store import cursors
from worker.sync import apply, skips
from worker.sync.poll import Polled, poll


def _interleaved(stage: Stage) -> None:
    """Read every stream, and apply whatever may be applied after each single page."""
    settings = config.load(stage.environ, stage.directory)
    with bootstrap.runtime(settings) as runtime:
        on = runtime.applier()

        def after_a_page(_polled: Polled) -> None:
            apply.apply_people(on)
            skips.apply_tasks(on)

        for stream in cursors.STREAMS:
            poll(stream, **runtime.reading(), on_page=after_a_page)
        for _ in range(10):
            after_a_page(Polled(cursors.STREAMS[0]))


def _labels_written(stage: Stage) -> dict[str, set[object]]:
    """Every label that the CRM's journal ever saw, by the person's reference."""
    found: dict[str, set[object]] = {}
    by_id = {one["id"]: one[worlds.ID] for one in stage.people(deleted=True)}
    for write in stage.crm_writes("person"):
        if STATE in write["changes"]:
            found.setdefault(by_id[write["id"]], set()).add(write["changes"][STATE][1])
    return found


@pytest.mark.parametrize("page_size", [2, 3])
def test_no_label_is_ever_shown_that_is_not_the_final_one(stage: Stage, page_size: int) -> None:
    """Applying after every page of two: each person gets its final label and no other, once."""
    stage.servers.outreach.page_size = page_size
    expected = {}
    for n, (first, second, label) in enumerate(
        [
            ("finished", "active", worlds.RUNNING),
            ("paused", "bounced", worlds.PAUSED),
            ("disabled", "pending", worlds.PENDING),
            ("finished", "failed", worlds.FAILED),
            ("finished", "finished", worlds.FINISHED),
            ("active", "opted_out", worlds.OPTED_OUT),
        ]
    ):
        prospect = stage.prospect(f"p{n}@example.com", first=f"P{n}")
        stage.state(prospect, COLD, first)
        stage.state(prospect, INBOUND, second)
        expected[str(prospect)] = {label}
    for n in range(3):
        stage.person(first=f"P{n}", last="Ashby", email=f"p{n}@example.com")
    _interleaved(stage)
    stage.later(30)
    stage.sync()
    assert _labels_written(stage) == expected
    stage.settled()


def test_a_stream_that_cannot_be_read_keeps_everything_from_being_written(stage: Stage) -> None:
    """Sequence states never answer: nobody is created or updated in the CRM, exit 3; once they do, all is written."""
    for n in range(3):
        stage.enrolled(f"p{n}@example.com", first=f"P{n}")
    stage.person(first="P0", last="Ashby", email="p0@example.com")
    stage.break_outreach("status", times=None, path="sequenceStates", args={"code": 503, "body": ""})
    told = stage.sync("--wait", "2", code=3)
    assert "sequenceStates" in told.err
    assert (stage.crm_writes(), stage.outreach_writes()) == ([], [])
    assert told.report["converged"] is False
    stage.mend()
    assert stage.sync().crm == {"created": 2, "updated": 1}
    stage.settled()


@pytest.mark.parametrize("stream", ["tasks", "sequenceSteps"])
def test_any_unread_stream_keeps_ordinary_writes_back(stage: Stage, stream: str) -> None:
    """Every stream counts, the tasks' too."""
    stage.enrolled("ada@example.com")
    stage.break_outreach("status", times=None, path=f"/{stream}$", args={"code": 503, "body": ""})
    stage.sync("--wait", "0", code=3)
    assert stage.crm_writes() == []


def test_opt_outs_of_linked_pairs_are_written_before_all_is_read(stage: Stage) -> None:
    """A new stream not read yet, as after an upgrade: linked pairs still opt out both ways, nothing else is written."""
    ada, bo = stage.enrolled("ada@example.com"), stage.enrolled("bo@example.com", first="Bo")
    stage.sync()
    ada_person, bo_person = stage.person_of(ada)["id"], stage.person_of(bo)["id"]
    _forget_stream(stage, "sequenceStates")
    stage.tell({"op": "opt_out", "prospect": ada})
    stage.set_person(bo_person, no_email=True)
    stage.set_prospect(ada, title="Engineer")
    stage.enrolled("cy@example.com", first="Cy")
    stage.break_outreach("status", times=None, path="sequenceStates", args={"code": 503, "body": ""})
    stage.forget_calls()
    stage.sync("--wait", "0", code=3)
    assert stage.of_person(ada_person)[NO_EMAIL] is True
    assert stage.of_prospect(bo)["emailOptedOut"] is True
    assert {name for write in stage.crm_writes() for name in write["changes"]} == {NO_EMAIL}
    stage.mend()
    stage.later(30)
    stage.sync()
    assert {stage.of_person(one)[STATE] for one in (ada_person, bo_person)} == {worlds.OPTED_OUT}
    assert len(stage.people()) == 3
    stage.settled()


def _forget_stream(stage: Stage, name: str) -> None:
    """Make a stream look as if it had never been read."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(stage.directory / "data" / "outbook.db")) as db:
        db.execute("UPDATE cursor SET primed_at = NULL, watermark = NULL WHERE stream = ?", (name,))
        db.commit()


def test_a_state_without_its_prospect_in_the_list_is_looked_up(stage: Stage) -> None:
    """A prospect that its stream left out is fetched by id before anything is decided about it."""
    prospect = stage.enrolled("ada@example.com")
    stage.break_outreach("drop_record", times=1, path="/prospects$", args={"id": prospect})
    stage.sync()
    assert stage.person_of(prospect)[STATE] == worlds.RUNNING


def test_nothing_is_dated_from_our_own_clock(stage: Stage) -> None:
    """The servers' clocks ten hours behind or ahead of ours: changes still arrive, none is missed."""
    for shift in (-36_000, 72_000):
        stage.outreach.clock.shift(shift)
        stage.crm.clock.shift(shift)
        prospect = stage.prospect(f"p{shift}@example.com", first="P")
        state = stage.state(prospect)
        stage.sync()
        stage.tell({"op": "pause", "state": state})
        stage.set_person(stage.person_of(prospect)["id"], title="Planner")
        stage.sync()
        assert stage.person_of(prospect)[STATE] == worlds.PAUSED
        assert stage.of_prospect(prospect)["title"] == "Planner"


def test_a_record_of_the_year_2099_does_not_blind_the_stream(stage: Stage) -> None:
    """One record with a time far ahead: the next change, made now, is seen all the same."""
    ada, bo = stage.prospect("ada@example.com"), stage.prospect("bo@example.com", first="Bo")
    first = stage.state(ada)
    stage.state(bo)
    stage.set_state(first, updatedAt="2099-01-01T00:00:00.000Z")
    stage.sync()
    stage.later(900)
    stage.sync()
    second = stage.state(bo, INBOUND, "paused", at="2026-02-05T10:00:00.000Z")
    stage.sync()
    assert "Inbound follow-up: Active – Paused" in stage.person_of(bo)[worlds.ALL]
    assert second


def test_many_changes_in_one_second_over_page_edges(stage: Stage) -> None:
    """Two hundred and fifty people saved in the CRM in one second, thirty states in Outreach: all are seen."""
    stage.servers.outreach.page_size = 7
    people = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(30)]
    stage.sync()
    stage.crm.clock.freeze()
    stage.outreach.clock.freeze()
    for n in range(220):
        stage.person(first="S", last=f"Stranger {n}", email=f"s{n}@example.org")
    for one in people:
        stage.set_person(stage.person_of(one)["id"], title="Planner")
        stage.set_prospect(one, lastName="Ashcombe")
    stage.sync()
    assert {stage.of_prospect(one)["title"] for one in people} == {"Planner"}
    assert {stage.person_of(one)["person_last_name"] for one in people} == {"Ashcombe"}
