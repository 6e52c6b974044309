from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.documents import FORGOTTEN as SCHEMA
from tests.e2e.rig import Stage
from tests.e2e.shapes import fits
from tests.e2e.test_backfill import of
from tests.e2e.worlds import EMAIL, ID, NO_EMAIL
from tests.remote.shares import as_csv

CANARIES = ("zyxcanary", "zyxashby", "5550199", "zyxnote")


def forgot(stage: Stage, *arguments: str, code: int = 0) -> dict[str, Any]:
    """What `outbook forget --json` says, ending with this code."""
    told = stage.outbook("forget", "--json", *arguments)
    assert told.code == code, (told.code, told.out, told.err)
    fits(told.report, SCHEMA)
    assert all(one not in (told.out + told.err).lower() for one in CANARIES)
    return told.report


def somebody(stage: Stage) -> tuple[int, int, int]:
    """Somebody with every kind of trace here: both records, a sequence state, a skipped task, edits; with her ids."""
    prospect = stage.prospect(
        "zyxcanary@example.com", first="Zyxcanary", last="Zyxashby", workPhones=["+44 20 5550199"]
    )
    state = stage.state(prospect)
    task = stage.task(state, note="zyxnote")
    stage.sync()
    stage.tell({"op": "set", "type": "task", "id": task, "attributes": {"state": "skipped"}})
    stage.set_person(stage.person_of(prospect)["id"], person_job_title="zyxcanary of trade")
    stage.sync()
    assert len(stage.cancelled(task)) == 1
    return prospect, int(stage.person_of(prospect)["id"]), state


def traces(stage: Stage) -> list[str]:
    """The canaries that stand anywhere in the data directory, the database's log included."""
    every = b"".join(path.read_bytes() for path in Path(stage.environ["OUTBOOK_DATA_DIR"]).rglob("*") if path.is_file())
    return [one for one in CANARIES if one.encode() in every.lower()]


def about(stage: Stage, prospect: int, person: int) -> list[tuple[Any, ...]]:
    """Every row of the store that still names one of the two by id."""
    return stage.rows(
        f"SELECT 'mirror', kind, id FROM mirror WHERE prospect_id = {prospect} OR (kind='prospects' AND id={prospect})"
        f" OR (kind='people' AND id={person})"
        f" UNION ALL SELECT 'link', kind, id FROM link WHERE kind='prospects' AND (outreach_id={prospect} OR crm_id={person})"
        f" UNION ALL SELECT 'history', kind, id FROM history WHERE kind='prospects' AND outreach_id={prospect}"
        f" UNION ALL SELECT 'change', kind, id FROM change WHERE kind='prospects' AND record_id={prospect}"
    )


@pytest.mark.parametrize("by", ["prospect", "person", "email", "file"])
def test_nothing_of_her_is_left(stage: Stage, by: str) -> None:
    """By either id or the address: no byte of her in the database or its log, others untouched, what still exists is told."""
    prospect, person, _ = somebody(stage)
    other = stage.enrolled("bea@example.com", first="Bea", last="Brook")
    stage.sync()
    assert traces(stage) == list(CANARIES)
    listed = stage.directory / "them.txt"
    listed.write_text(f"# her\nprospect:{prospect}\n")
    words = {
        "prospect": ("--prospect", str(prospect)),
        "person": ("--person", str(person)),
        "email": ("--email", "ZyxCanary@Example.com"),
        "file": ("--ids-from", str(listed)),
    }[by]
    told = forgot(stage, *words)
    assert (told["prospects"], told["people"], told["addresses"]) == ([prospect], [person], 1)
    assert (told["still_in_outreach"], told["still_in_workbooks"]) == ([prospect], [person])
    assert traces(stage) == []
    assert about(stage, prospect, person) == []
    assert sorted(stage.rows("SELECT key_kind, length(key) FROM forgotten")) == [
        ("address", 64),
        ("person", 64),
        ("prospect", 64),
    ]
    assert stage.rows(f"SELECT count(*) FROM link WHERE kind='prospects' AND outreach_id={other}") == [(1,)]


def test_nothing_brings_her_back(stage: Stage, tmp_path: Path) -> None:
    """Edits on both sides, a full read, a new task and state, the data share, a look again: not stored, nothing written."""
    prospect, person, state = somebody(stage)
    forgot(stage, "--prospect", str(prospect))
    stage.set_prospect(prospect, title="zyxcanary again")
    stage.set_person(person, person_job_title="zyxcanary once more", cf_person_sync_to_outreach=True)
    stage.state(prospect, 2)
    stage.task(state, note="zyxnote", state="skipped")
    stage.later(60)
    share = as_csv(tmp_path / "share.csv", of(stage, state, UPDATED_AT="2026-11-20 10:00:00"))
    before = stage.of_person(person), stage.of_prospect(prospect)
    stage.forget_calls()
    for arguments in ((), ("--full",)):
        stage.sync(*arguments)
    assert stage.outbook("backfill", str(share)).code == 0
    assert stage.outbook("resync", "--prospect", str(prospect), "--json").report["skipped"][0]["why"] == "forgotten"
    assert "was forgotten on request" in stage.outbook("explain", "--prospect", str(prospect)).err
    stage.settled()
    assert (stage.of_person(person), stage.of_prospect(prospect)) == before
    assert traces(stage) == []
    assert about(stage, prospect, person) == []


def test_a_new_record_with_her_address_stays_outside(stage: Stage) -> None:
    """A prospect and a person made later with the address are dropped as well, and so is what hangs on their ids alone."""
    prospect, person, _ = somebody(stage)
    forgot(stage, "--person", str(person))
    stage.tell({"op": "delete", "type": "prospect", "id": prospect})
    again = stage.enrolled("zyxCANARY@example.com", first="Zyxcanary", last="Zyxashby")
    copy = stage.person(first="Zyxcanary", last="Zyxashby", email="zyxcanary@example.com")
    stage.sync()
    stage.state(again, 2)
    stage.settled()
    assert traces(stage) == []
    assert about(stage, again, copy) == []
    assert stage.rows("SELECT count(*) FROM mirror WHERE kind = 'sequenceStates'") == [(0,)]
    assert stage.of_person(copy).get(ID) is None


def test_her_opt_out_is_kept_under_a_hash(stage: Stage) -> None:
    """Opted out before: the latch stays, under the address's hash alone."""
    prospect, person, _ = somebody(stage)
    stage.set_prospect(prospect, emailOptedOut=True)
    stage.sync()
    assert stage.of_person(person)[NO_EMAIL] is True
    forgot(stage, "--prospect", str(prospect))
    assert stage.rows("SELECT key_kind, length(key) FROM latch") == [("address", 64)]
    stage.set_person(person, no_email_soliciting=False)
    stage.settled()


def test_an_address_of_nobody_is_remembered(stage: Stage) -> None:
    """Asked for before she ever shows: whoever comes with it is not let in; nobody else is hindered."""
    told = forgot(stage, "--email", "zyxcanary@example.com", "--offline")
    assert (told["prospects"], told["people"], told["still_in_outreach"]) == ([], [], None)
    stage.enrolled("zyxcanary@example.com", first="Zyxcanary", last="Zyxashby")
    bea = stage.enrolled("bea@example.com", first="Bea", last="Brook")
    stage.sync()
    assert [one[EMAIL] for one in stage.people()] == ["bea@example.com"]
    assert stage.person_of(bea)
    assert traces(stage) == []


def test_an_address_known_only_there_counts_too(stage: Stage) -> None:
    """Her prospect got a second address since the last poll: it is remembered, and keeps a person of that address out."""
    prospect, _, _ = somebody(stage)
    stage.set_prospect(prospect, emails=["zyxcanary@example.com", "zyxcanary@example.net"])
    assert forgot(stage, "--prospect", str(prospect))["addresses"] == 2
    copy = stage.person(first="Z", last="A", email="zyxcanary@example.net")
    stage.sync()
    assert about(stage, prospect, copy) == []


def test_the_receipt_knows_whom_the_store_does_not(stage: Stage) -> None:
    """By an address that nothing here bears, before the first pass and again after: who still exists is told each time."""
    prospect = stage.prospect("zyxcanary@example.com", first="Zyxcanary", last="Zyxashby")
    person = stage.person(first="Zyxcanary", last="Zyxashby", email="zyxcanary@example.com")
    stage.enrolled("bea@example.com", first="Bea", last="Brook")
    for _ in range(2):
        told = forgot(stage, "--email", "zyxcanary@example.com")
        assert (told["prospects"], told["people"]) == ([prospect], [person])
        assert (told["still_in_outreach"], told["still_in_workbooks"]) == ([prospect], [person])
        stage.sync()
    assert [one[EMAIL] for one in stage.people() if one.get(ID)] == ["bea@example.com"]


def test_one_address_leads_to_the_next(stage: Stage) -> None:
    """Her prospect has a second address, a person of the CRM that and a third, another prospect the third: all are hers."""
    prospect, person, _ = somebody(stage)
    stage.set_prospect(prospect, emails=["zyxcanary@example.com", "zyxcanary@example.net"])
    other = stage.person(first="Z", last="A", email="zyxcanary@example.net", alternate="zyxcanary@example.org")
    third = stage.prospect("ZyxCanary@example.org", first="Z", last="A")
    told = forgot(stage, "--person", str(person))
    assert (told["prospects"], told["people"], told["addresses"]) == ([prospect, third], [person, other], 3)
    assert (told["still_in_outreach"], told["still_in_workbooks"]) == ([prospect, third], [person, other])
    stage.delete_person(other)
    told = forgot(stage, "--person", str(person), "--person", str(other))
    assert (told["still_in_workbooks"], told["people"]) == ([person], [person, other])


def test_twice_is_once(stage: Stage) -> None:
    """Run again, it finds nothing left to erase and says so."""
    prospect, person, _ = somebody(stage)
    forgot(stage, "--prospect", str(prospect))
    told = forgot(stage, "--prospect", str(prospect), "--person", str(person))
    assert told["erased"] == {}
    assert (told["still_in_outreach"], told["still_in_workbooks"]) == ([prospect], [person])


def test_vendors_that_cannot_be_asked_hinder_nothing(stage: Stage) -> None:
    """She is erased all the same; exit 3 tells that the look-up failed."""
    prospect, _, _ = somebody(stage)
    stage.outreach.faults.arm(
        [{"match": {"path": "prospects"}, "kind": "status", "times": None, "args": {"code": 503}}]
    )
    told = forgot(stage, "--prospect", str(prospect), code=3)
    assert told["still_in_outreach"] is None
    assert "Outreach could not be asked" in told["troubles"][0]
    assert traces(stage) == []


def test_many_are_asked_about(stage: Stage, tmp_path: Path) -> None:
    """Twenty are forgotten at once; twenty-one need --yes where there is no terminal, and nothing is done without."""
    listed = tmp_path / "them.txt"
    listed.write_text("".join(f"prospect:{one}\n" for one in range(5001, 5022)))
    refused = stage.outbook("forget", "--ids-from", str(listed), "--offline")
    assert refused.code == 4
    assert "21 people would be forgotten" in refused.err
    assert stage.rows("SELECT count(*) FROM forgotten") == [(0,)]
    assert forgot(stage, "--ids-from", str(listed), "--offline", "--yes")["erased"] == {}
    few = [f"--prospect={one}" for one in range(6001, 6021)]
    assert len(forgot(stage, *few, "--offline")["prospects"]) == 20


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((), "say whom"),
        (("--email", "nobody"), "--email: not an e-mail address"),
        (("--ids-from", "no-such-file"), "--ids-from: no-such-file cannot be read"),
        (("--prospect", str(2**63)), "no such id"),
    ],
)
def test_whoever_names_nobody_is_told(stage: Stage, arguments: tuple[str, ...], words: str) -> None:
    """Nobody, an address that is none, a file that is not there: exit 4."""
    told = stage.outbook("forget", *arguments)
    assert told.code == 4
    assert words in told.err


def test_a_waiting_webhook_of_hers_is_emptied(stage: Stage) -> None:
    """What came in and nobody has looked at: hers goes, another's stays."""
    prospect, _, state = somebody(stage)
    told = [("prospect", prospect), ("sequenceState", state), ("prospect", 999)]
    bodies = [
        json.dumps({"data": {"type": kind, "id": record, "attributes": {}}, "meta": {"eventName": f"{kind}.updated"}})
        for kind, record in told
    ]
    bodies.append('{"x": "ZyxCanary@example.com"}')
    insert = "INSERT INTO webhook (event, at, body) VALUES (?, '2026-11-20 10:00:00', ?)"
    with contextlib.closing(sqlite3.connect(f"{stage.environ['OUTBOOK_DATA_DIR']}/outbook.db")) as db, db:
        db.executemany(insert, [(str(number), body.encode()) for number, body in enumerate(bodies)])
    assert forgot(stage, "--prospect", str(prospect))["erased"]["webhook"] == 3
    assert stage.rows("SELECT event FROM webhook WHERE body != x'' ") == [("2",)]
    assert traces(stage) == []


def test_the_words_for_people(stage: Stage) -> None:
    """Without --json: who, how much, and where records still have to be deleted."""
    prospect, person, _ = somebody(stage)
    told = stage.outbook("forget", "--prospect", str(prospect))
    assert told.code == 0
    lines = told.out.splitlines()
    assert lines[0] == f"forgotten: prospect {prospect}, person {person}, 1 address"
    assert lines[2:] == [
        f"still in Outreach: prospect {prospect}; delete it there",
        f"still in Workbooks: person {person}; delete it there",
    ]
