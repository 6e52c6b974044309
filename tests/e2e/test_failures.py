"""`outbook failures`: what died of the same cause is mended together; an opt-out is never dropped."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import Any

from tests.e2e.rig import Stage


def failed(stage: Stage, *words: str) -> list[int]:
    """Prospects, each a dead letter for an unmapped state."""
    found = []
    for number, word in enumerate(words):
        prospect = stage.prospect(f"bo{number}@example.com", first="Bo")
        stage.set_state(stage.state(prospect), state=word)
        found.append(prospect)
    stage.sync(code=3)
    return found


def listed(stage: Stage) -> list[dict[str, Any]]:
    """The causes as JSON."""
    causes: list[dict[str, Any]] = json.loads(stage.outbook("failures", "list", "--json").out)["causes"]
    return causes


def done(stage: Stage, statement: str) -> None:
    """Do something to the store behind everybody's back."""
    with contextlib.closing(sqlite3.connect(f"{stage.environ['OUTBOOK_DATA_DIR']}/outbook.db")) as db, db:
        db.execute(statement)


def test_dead_letters_are_grouped_by_cause(stage: Stage) -> None:
    """The commonest first, with counts, when the first and the last died, a hint and examples."""
    one, two, other = failed(stage, "on_holiday", "on_holiday", "asleep")
    first, second = listed(stage)
    assert (first["number"], first["cause"], first["records"]) == (1, "unmapped state 'on_holiday'", 2)
    assert (second["cause"], second["records"], second["opt_outs"]) == ("unmapped state 'asleep'", 1, 0)
    assert [letter["record"] for letter in first["letters"]] == [f"prospect:{one}", f"prospect:{two}"]
    assert first["first_seen"] <= first["newest"]
    assert "states:" in first["hint"]
    plain = stage.outbook("failures", "list")
    assert "unmapped state 'asleep'" in " ".join(plain.out.split()) or str(other) in plain.out


def test_nothing_failed_is_said(stage: Stage) -> None:
    """In words, and as an empty list."""
    assert stage.outbook("failures", "list").out == "nothing has failed\n"
    assert listed(stage) == []


def test_one_is_shown_with_its_history(stage: Stage) -> None:
    """By its number or its record: words, hint, fields written before; no value of a person."""
    [bo] = failed(stage, "on_holiday")
    [[number]] = [list(row) for row in stage.rows("SELECT id FROM change")]
    told = json.loads(stage.outbook("failures", "show", str(number), "--json").out)
    assert (told["record"], told["words"], told["attempts"]) == (f"prospect:{bo}", "unmapped state 'on_holiday'", 1)
    assert told["history"][0]["action"] == "create"
    assert "person_last_name" in told["history"][0]["fields"]
    plain = stage.outbook("failures", "show", f"prospect:{bo}")
    assert f"prospect:{bo}" in plain.out
    assert f"outbook explain --prospect {bo}" in plain.out
    assert "Ashby" not in plain.out + json.dumps(told)
    assert stage.outbook("failures", "show", "4711").err == (
        "outbook: 4711: no dead letter; `outbook failures list` shows them\n"
    )


def test_a_whole_cause_is_tried_again(stage: Stage) -> None:
    """By its number or its words: those are due, the others stay dead."""
    one, two, _ = failed(stage, "on_holiday", "on_holiday", "asleep")
    assert json.loads(stage.outbook("failures", "retry", "--cause", "1", "--json").out)["queued"] == 2
    assert stage.rows("SELECT record_id FROM change WHERE state = 'due' ORDER BY 1") == [(one,), (two,)]
    assert stage.outbook("failures", "retry", "--cause", "ASLEEP").code == 0
    assert stage.rows("SELECT DISTINCT state, attempts FROM change") == [("due", 0)]
    left = stage.outbook("failures", "retry", "--cause", "asleep")
    assert (left.code, left.err) == (4, "outbook: --cause: none such; nothing has failed\n")


def test_selected_ones_are_tried_again(stage: Stage) -> None:
    """Those of the selection that are dead letters; who is well is named and left alone."""
    one, two, other = failed(stage, "on_holiday", "on_holiday", "asleep")
    well = stage.enrolled("ada@example.com")
    stage.sync(code=3)
    words = ["--cause", "holiday", *(f"--prospect={who}" for who in (one, other))]
    assert json.loads(stage.outbook("failures", "retry", "--json", *words).out)["queued"] == 1
    assert stage.rows("SELECT record_id FROM change WHERE state = 'due'") == [(one,)]
    told = stage.outbook("failures", "retry", "--prospect", str(well), "--prospect", str(two), "--json")
    document = json.loads(told.out)
    assert (told.code, document["queued"]) == (3, 1)
    assert [(skip["record"], skip["why"]) for skip in document["skipped"]] == [(f"prospect:{well}", "not failed")]
    assert stage.outbook("failures", "retry").code == 4
    assert stage.outbook("failures", "retry", "--all").code == 0
    assert stage.rows("SELECT count(*) FROM change WHERE state = 'dead'") == [(0,)]


def test_a_dropped_one_is_gone_until_the_next_edit(stage: Stage) -> None:
    """Its row is closed, both records stay; an edit opens another."""
    [bo] = failed(stage, "on_holiday")
    assert json.loads(stage.outbook("failures", "drop", f"prospect:{bo}", "--json").out)["dropped"] == 1
    assert stage.rows("SELECT * FROM change") == []
    assert stage.sync().report["failed"] == 0
    stage.set_prospect(bo, title="Buyer")
    assert stage.sync(code=3).report["failed"] == 1


def test_more_than_twenty_are_dropped_only_if_meant(stage: Stage) -> None:
    """Without a terminal: exit 4 unless --yes."""
    failed(stage, *["on_holiday"] * 21)
    left = stage.outbook("failures", "drop", "--cause", "1")
    assert (left.code, "needs --yes" in left.err) == (4, True)
    assert stage.rows("SELECT count(*) FROM change WHERE state = 'dead'") == [(21,)]
    assert stage.outbook("failures", "drop", "--cause", "1", "--yes").out == "21 dead letters dropped\n"


def test_an_opt_out_is_never_dropped(stage: Stage) -> None:
    """One that a side does not show is refused, loudly, the others go; shown on both sides it may go."""
    bo, cy = failed(stage, "on_holiday", "on_holiday")
    lane = "UPDATE change SET lane = 0 WHERE record_id = {}"
    done(stage, lane.format(bo))
    told = stage.outbook("failures", "drop", f"prospect:{bo}", f"prospect:{cy}")
    assert (told.code, told.out) == (3, "1 dead letter dropped\n")
    assert f"prospect:{bo} carries an opt-out" in told.err
    assert stage.outbook("failures", "drop", f"prospect:{bo}").code == 4
    assert stage.rows("SELECT record_id, state FROM change") == [(bo, "dead")]
    stage.set_prospect(bo, emailOptedOut=True)
    stage.sync()
    row = f"'prospects', {bo}, 0, 'dead', 1, 0, 1, 0, '2026-11-20 09:00:00'"
    names = "kind, record_id, lane, state, generation, fence, attempts, alone, opened_at"
    done(stage, f"INSERT INTO change ({names}) VALUES ({row})")
    assert stage.outbook("failures", "drop", f"prospect:{bo}").out == "1 dead letter dropped\n"


def test_saying_nothing_or_both_is_refused(stage: Stage) -> None:
    """Exit 4 with what to say."""
    for words in ((), ("7", "--cause", "1")):
        left = stage.outbook("failures", "drop", *words)
        assert (left.code, "say which" in left.err) == (4, True)
