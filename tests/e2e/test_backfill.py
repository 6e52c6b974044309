"""The data share's export on the command line: loaded, refused, gone on with; then the API is read on from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.rig import Pass, Stage
from tests.e2e.worlds import NO_EMAIL, NOT_ACTIVE, OPTED_OUT, PAUSED, RUNNING, STATE
from tests.remote.shares import Fields, as_csv, as_parquet, row


def loaded(stage: Stage, *arguments: object, code: int = 0) -> dict[str, Any]:
    """What `outbook backfill --json` reports, ending with this code."""
    told = stage.outbook("backfill", "--json", *map(str, arguments))
    assert told.code == code, (told.code, told.out, told.err)
    found: dict[str, Any] = json.loads(told.out)
    return found


def refused(stage: Stage, *arguments: object) -> str:
    """What `outbook backfill` says when it refuses."""
    told: Pass = stage.outbook("backfill", *map(str, arguments))
    assert told.code == 4, (told.code, told.out, told.err)
    assert told.out == ""
    return told.err


def of(stage: Stage, state: int, **told: object) -> Fields:
    """The share's row of a state that the simulated Outreach has."""
    held = stage.outreach.world.dump()["sequenceState"][str(state)]
    related = {f"{name}_ID": str(held["relations"][key]) for name, key in RELATED.items()}
    times = {name: _naive(held["attributes"].get(key)) for name, key in ATTRIBUTES.items()}
    return {**row(state), "STATE": held["attributes"]["state"], **related, **times, **told}


RELATED = {"PROSPECT": "prospect", "SEQUENCE": "sequence", "SEQUENCE_STEP": "sequenceStep"}
ATTRIBUTES = {"STATE_CHANGED_AT": "stateChangedAt", "ACTIVE_AT": "activeAt", "UPDATED_AT": "updatedAt"}


def _naive(text: str | None) -> str | None:
    return text and text.removesuffix("Z").replace("T", " ")


def long_ago(stage: Stage, *states: int) -> None:
    """Let states have been updated last in January, as most are that a share brings."""
    for state in states:
        stage.set_state(state, updatedAt="2026-01-05T10:00:00.000Z")


def people(stage: Stage, *emails: str) -> list[tuple[int, int]]:
    """Prospects in a sequence since January: each with its state."""
    made = [(prospect := stage.prospect(email), stage.state(prospect)) for email in emails]
    long_ago(stage, *(state for _, state in made))
    return made


def content(stage: Stage) -> list[Any]:
    """Everything that a load could write."""
    return [stage.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in ("mirror", "change", "cursor", "latch")]


@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_a_whole_share_spares_the_reading_of_every_state(stage: Stage, write: Callable[..., Path]) -> None:
    """After a complete load the poll asks for what changed since, nothing else, and the CRM shows what both told."""
    (ada, first), (bea, second) = people(stage, "ada@example.com", "bea@example.com")
    path = write(stage.directory / "states", of(stage, first), of(stage, second))
    told = loaded(stage, "--complete", path)
    assert (told["rows_read"], told["taken"], told["skipped"]) == (2, 2, {})
    assert told["watermark"] == "2026-01-04T10:00:00+00:00"
    assert stage.outreach_calls("sequenceStates") == 0
    stage.set_state(second, state="paused", updatedAt="2026-01-04T12:00:00.000Z")
    stage.sync()
    asked = [one for one in stage.outreach.journal.entries() if "/sequenceStates" in one["path"]]
    assert asked
    assert all("updatedAt" in json.dumps(one) for one in asked)
    assert [stage.person_of(one)[STATE] for one in (ada, bea)] == [RUNNING, RUNNING]
    stage.settled()


def test_a_second_load_writes_nothing(stage: Stage) -> None:
    """The same file again, and the same rows in the other format: not a row of the store differs, no call is made."""
    made = people(stage, "ada@example.com", "bea@example.com")
    rows = [of(stage, state) for _, state in made] + [row(900, DML_TYPE="delete")]
    first = loaded(stage, "--complete", as_csv(stage.directory / "a.csv", *rows))
    assert (first["taken"], first["deleted"], first["queued"]) == (2, 1, 2)
    before = content(stage)
    stage.forget_calls()
    again = loaded(stage, "--complete", as_parquet(stage.directory / "a.parquet", *rows))
    assert (again["taken"], again["unchanged"], again["deleted"], again["queued"]) == (0, 3, 0, 0)
    assert content(stage) == before
    assert (stage.outreach_calls(), stage.crm_calls()) == (0, 0)


def test_a_load_older_than_the_api_changes_nothing(stage: Stage) -> None:
    """Where the API was there later, and where it was there in the same second, the API's copy stays."""
    made = people(stage, "ada@example.com", "bea@example.com")
    stage.sync()
    before = content(stage)
    rows = [
        of(stage, made[0][1], STATE="finished", UPDATED_AT="2026-01-05 09:59:59"),
        of(stage, made[1][1], STATE="finished"),
        of(stage, made[0][1], DML_AT="2020-01-01 00:00:00", STATE="bounced", UPDATED_AT="2026-09-09 00:00:00"),
    ]
    told = loaded(stage, as_csv(stage.directory / "a.csv", *rows))
    assert (told["taken"], told["older"], told["unchanged"], told["superseded"]) == (0, 1, 1, 1)
    assert content(stage) == before
    stage.settled()


def test_a_newer_row_reaches_the_crm(stage: Stage) -> None:
    """What the share knows and the API has not told yet counts, behind single edits, and opens that person alone."""
    ((ada, state), _) = people(stage, "ada@example.com", "bea@example.com")
    stage.sync()
    stage.later(600)
    told = loaded(stage, as_csv(stage.directory / "a.csv", of(stage, state, STATE="paused", UPDATED_AT="2026-02-01")))
    assert (told["taken"], told["queued"]) == (1, 1)
    assert stage.rows("SELECT record_id, lane FROM change") == [(ada, 2)]
    stage.sync()
    assert stage.person_of(ada)[STATE] == PAUSED


def test_a_deletion_that_only_the_share_tells_is_followed_up(stage: Stage) -> None:
    """A state that was removed counts as if it had never been, and an older share does not bring it back to life."""
    ((ada, state), _) = people(stage, "ada@example.com", "bea@example.com")
    alive = of(stage, state)
    stage.sync()
    stage.tell({"op": "delete", "type": "sequenceState", "id": state})
    gone = {**alive, "DML_TYPE": "delete", "IS_DELETED_IN_APP": "true"}
    assert loaded(stage, as_csv(stage.directory / "a.csv", gone))["deleted"] == 1
    stage.sync()
    assert stage.person_of(ada)[STATE] == NOT_ACTIVE
    again = loaded(stage, as_csv(stage.directory / "b.csv", {**alive, "UPDATED_AT": "2026-02-01 00:00:00"}))
    assert (again["taken"], again["lacking"][0]["gone"]) == (0, 1)
    stage.settled()


def test_an_opt_out_in_the_share_is_remembered_and_delivered(stage: Stage) -> None:
    """A state literally opted out latches at once and travels to both sides, as one of the API does."""
    ((ada, state), _) = people(stage, "ada@example.com", "bea@example.com")
    stage.sync()
    loaded(stage, as_csv(stage.directory / "a.csv", of(stage, state, STATE="opted_out", UPDATED_AT="2026-02-01")))
    assert stage.rows("SELECT count(*) FROM latch WHERE key_kind = 'prospect'") == [(1,)]
    stage.sync()
    assert (stage.person_of(ada)[STATE], stage.person_of(ada)[NO_EMAIL]) == (OPTED_OUT, True)
    assert stage.of_prospect(ada)["emailOptedOut"] is True


def test_an_opt_out_that_is_new_is_remembered_too(stage: Stage) -> None:
    """A first load pours most states in without a look at each; one that tells an opt-out is not among those."""
    ((ada, state), (_, other)) = people(stage, "ada@example.com", "bea@example.com")
    path = as_csv(stage.directory / "a.csv", of(stage, state, STATE="opted_out"), of(stage, other))
    loaded(stage, "--no-fetch", path)
    assert stage.rows("SELECT key FROM latch WHERE key_kind = 'prospect'") == [(str(ada),)]
    assert stage.rows("SELECT record_id, lane FROM change ORDER BY lane") == [(ada, 0), (ada + 1, 2)]


def test_rows_of_two_organisations_are_refused_until_one_is_named(stage: Stage) -> None:
    """Nobody guesses whose rows are meant: all are listed, and nothing was touched; an O_ID may be there twice."""
    ((_, state), _) = people(stage, "ada@example.com", "bea@example.com")
    ours = of(stage, state)
    path = as_csv(stage.directory / "a.csv", ours, {**ours, "O_ID": "43"}, {**ours, "BENTO": "app2b"})
    words = refused(stage, path)
    for listed in ("BENTO app1a, O_ID 42: 1 rows", "BENTO app1a, O_ID 43: 1 rows", "BENTO app2b, O_ID 42: 1 rows"):
        assert listed in words
    assert "--org" in words
    assert not (Path(stage.environ["OUTBOOK_DATA_DIR"]) / "outbook.db").exists()
    assert "--bento" in refused(stage, "--org", "42", path)
    assert "no row is of that organisation" in refused(stage, "--org", "44", path)
    assert loaded(stage, "--no-fetch", "--org", "42", "--bento", "app2b", path)["bento"] == "app2b"
    assert loaded(stage, "--no-fetch", "--org", "43", path)["o_id"] == "43"


def test_what_the_share_lacks_is_said_before_it_is_asked_for(stage: Stage) -> None:
    """Streams read already: a prospect and a sequence not known here are looked up by id, and by nothing else."""
    people(stage, "ada@example.com")
    stage.sync()
    warm = stage.sequence("Warm")
    bea = stage.prospect("bea@example.com")
    state = stage.state(bea, warm)
    told_row = of(stage, state)
    stage.tell({"op": "delete", "type": "sequenceState", "id": state})
    stage.forget_calls()
    path = as_csv(stage.directory / "a.csv", told_row, row(901, PROSPECT_ID="7777", UPDATED_AT="2026-01-01"))
    told = stage.outbook("backfill", "--json", str(path))
    found = {one["stream"]: one for one in json.loads(told.out)["lacking"]}
    assert told.code == 0
    assert "2 prospects are not known here: 1 calls" in told.err
    assert (found["prospects"]["found"], found["prospects"]["gone"]) == (1, 1)
    assert (found["sequences"]["found"], found["sequenceSteps"]["found"]) == (1, 1)
    assert sum(stage.outreach_calls(f"/{kind}") for kind in ("prospects", "sequences", "sequenceSteps")) == 3


def test_without_fetching_no_vendor_is_asked_and_no_key_needed(stage: Stage) -> None:
    """A machine that knows no vendor's key can load a share; what is lacking is counted."""
    ((_, state), _) = people(stage, "ada@example.com", "bea@example.com")
    del stage.environ["OUTBOOK_OUTREACH__ACCESS_TOKEN"], stage.environ["OUTBOOK_WORKBOOKS__API_KEY"]
    told = loaded(stage, "--no-fetch", as_csv(stage.directory / "a.csv", of(stage, state)))
    assert [(one["stream"], one["ids"], one["found"]) for one in told["lacking"]] == [
        ("sequences", 1, None),
        ("sequenceSteps", 1, None),
        ("prospects", 1, None),
    ]
    assert (stage.outreach_calls(), stage.crm_calls()) == (0, 0)


def test_a_row_that_cannot_be_used_is_looked_up_instead(stage: Stage) -> None:
    """What a row does not tell the API does; unless it was asked, the states do not count as read."""
    ((ada, state), (_, other)) = people(stage, "ada@example.com", "bea@example.com")
    rows = [of(stage, state, PROSPECT_ID=None), of(stage, other), row(None)]
    path = as_csv(stage.directory / "a.csv", *rows)
    told = loaded(stage, "--no-fetch", "--complete", path, code=3)
    assert told["skipped"] == {"tells no prospect": 1, "has no usable ID": 1}
    assert (told["watermark"], told["not_complete"]) == (None, "2 rows were skipped and not looked up")
    told = loaded(stage, as_csv(stage.directory / "b.csv", *rows[:2]))
    assert [one["found"] for one in told["lacking"] if one["stream"] == "sequenceStates"] == [1]
    stage.sync()
    assert stage.person_of(ada)[STATE] == RUNNING


def test_a_vendor_that_is_away_costs_no_row(stage: Stage) -> None:
    """What was loaded stays loaded, the exit code says that something is left, and the same command goes on with it."""
    made = people(stage, "ada@example.com", "bea@example.com")
    path = as_csv(stage.directory / "a.csv", *(of(stage, state) for _, state in made))
    stage.break_outreach("status", times=None, args={"status": 503})
    told = loaded(stage, path, code=3)
    assert (told["taken"], told["troubles"] != []) == (2, True)
    stage.mend()
    told = loaded(stage, path)
    assert (told["taken"], told["unchanged"], told["troubles"]) == (0, 2, [])


def test_a_spent_budget_ends_the_fetching(stage: Stage) -> None:
    """The calls of the hour are used up: exit 6, with every row loaded."""
    made = people(stage, "ada@example.com", "bea@example.com")
    stage.environ["OUTBOOK_OUTREACH__HOURLY_CALLS"] = "1"
    told = loaded(stage, as_csv(stage.directory / "a.csv", *(of(stage, state) for _, state in made)), code=6)
    assert told["taken"] == 2


def test_a_load_that_is_stopped_goes_on_where_it_was(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it after the transaction under way; the next load takes the rest and nothing twice."""
    made = people(stage, *(f"p{n}@example.com" for n in range(4)))
    path = as_csv(stage.directory / "a.csv", *(of(stage, state) for _, state in made))
    with monkeypatch.context() as patch:
        patch.setattr("worker.remote.share.PAGE", 1)
        patch.setattr("worker.sync.backfill.PAGES", 1)
        patch.setattr("worker.cli.stopper.Stopper.wanted", lambda _self: True)
        patch.setattr("worker.cli.stopper.Stopper.exit_code", 130)
        told = stage.outbook("backfill", str(path))
    assert (told.code, told.out) == (130, "")
    assert stage.rows("SELECT count(*) FROM mirror WHERE kind = 'sequenceStates'") == [(1,)]
    again = loaded(stage, "--no-fetch", path)
    assert (again["taken"], again["unchanged"]) == (3, 1)
    assert stage.rows("SELECT count(*) FROM change WHERE kind = 'prospects'") == [(4,)]


def test_a_file_that_is_no_export_is_refused(stage: Stage) -> None:
    """Exit 4 with what is missing, and no row at all that can be used is refused as well."""
    path = stage.directory / "a.csv"
    path.write_text("ID,STATE\n1,active\n")
    assert "has no column PROSPECT_ID" in refused(stage, path)
    assert "cannot be read" in refused(stage, stage.directory / "missing.csv")
    words = refused(stage, as_csv(path, row(1, UPDATED_AT="05/01/2026"), row(2, UPDATED_AT="06/01/2026")))
    assert "not one row can be used" in words
    assert "UPDATED_AT cannot be read" in words


def test_people_read_a_table(stage: Stage, utc: None) -> None:
    """Without --json: the counts, the reasons, and until when the states count as read."""
    ((_, state), _) = people(stage, "ada@example.com", "bea@example.com")
    told = stage.outbook("backfill", "--complete", str(as_csv(stage.directory / "a.csv", of(stage, state))))
    assert told.code == 0
    for words in ("rows read", "taken", "prospects not known here", "2026-01-04 10:00:00"):
        assert words in told.out
