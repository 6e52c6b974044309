"""Webhooks delivered by the simulated Outreach to a real receiver: whole, forged, doubled, lost, switched off."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import worlds
from tests.e2e.nets import SECRET, courier, delivered, listening
from tests.e2e.rig import Stage
from tests.e2e.worlds import NO_EMAIL, STATE


@pytest.fixture
def told(stage: Stage) -> Iterator[Stage]:
    """A stage whose Outreach delivers to `outbook web`."""
    with listening(stage):
        yield stage


def rows(stage: Stage, query: str) -> list[tuple[Any, ...]]:
    """What the store answers, while the web has it open."""
    path = Path(stage.environ["OUTBOOK_DATA_DIR"]) / "outbook.db"
    with closing(sqlite3.connect(path)) as db:
        return list(db.execute(query))


def test_what_was_told_by_webhook_counts_as_told(told: Stage) -> None:
    """A removal that no poll can show arrives; a foreground pass takes what waits, and counts who saw it first."""
    kept, gone = told.enrolled("ada@example.com"), told.enrolled("bob@example.com")
    told.sync()
    (state,) = [
        one["id"]
        for one in told.outreach.world.dump()["sequenceState"].values()
        if one["relations"]["prospect"] == gone
    ]
    told.tell({"op": "delete", "type": "sequenceState", "id": state})
    told.set_prospect(kept, emailOptedOut=True)
    assert delivered(told)
    told.sync()
    assert (told.person_of(gone)[STATE], told.person_of(kept)[NO_EMAIL]) == ("Not Active", True)
    seen = dict(rows(told, "SELECT stream, records FROM sight WHERE channel = 'webhook'"))
    assert (seen["sequenceStates"], seen["prospects"]) == (1, 1)
    assert rows(told, "SELECT count(*) FROM webhook WHERE done_at IS NULL OR body <> x''") == [(0,)]
    told.settled()


def test_forged_doubled_and_late_ones_do_nothing(told: Stage) -> None:
    """Scenario F47: what is not ours to believe is refused, what is old or comes again changes nothing."""
    courier(told, duplicate=0.5, reorder=0.5, reorder_s=0.2)
    prospects = [told.enrolled(f"p{number}@example.com") for number in range(4)]
    delivered(told)
    told.sync()
    (hook,) = [number for number, one in _hooks(told).items() if one["resource"] == "prospect"]
    before = rows(told, "SELECT count(*) FROM webhook")
    for signature in ("wrong", "none"):
        courier(
            told,
            forge={"hook": hook, "type": "prospect", "id": prospects[0], "action": "destroyed", "signature": signature},
        )
    delivered(told)
    assert rows(told, "SELECT count(*) FROM webhook") == before
    # As if somebody had our secret, and as if a week had passed: a hint all the same, which turns out not to be true.
    told.later(7 * 86_400)
    right = {"type": "prospect", "id": prospects[0], "action": "destroyed", "attributes": {"emailOptedOut": True}}
    courier(told, forge={"hook": hook, "signature": "right", **right})
    for one in delivered(told)[:5]:
        courier(told, replay=one["event"])
    delivered(told)
    told.settled()
    assert {told.person_of(one)[STATE] for one in prospects} == {worlds.RUNNING}


def test_lost_ones_are_made_good_and_dropped_subscriptions_come_back(told: Stage) -> None:
    """A fifth of the deliveries lost: the polls bring the rest. All gone (F48): the polls alone, until they are renewed."""
    courier(told, lose=0.2)
    prospects = [told.enrolled(f"p{number}@example.com") for number in range(6)]
    told.sync()
    for prospect in prospects[:4]:
        told.set_prospect(prospect, emailOptedOut=True)
    delivered(told)
    told.sync()
    assert [told.person_of(one).get(NO_EMAIL) is True for one in prospects] == [True] * 4 + [False] * 2
    for number in _hooks(told):
        told.tell({"op": "delete", "type": "webhook", "id": number})
    told.set_prospect(prospects[4], emailOptedOut=True)
    told.sync()
    assert told.person_of(prospects[4])[NO_EMAIL] is True
    lost = told.outbook("webhooks", "status", "--json")
    assert (lost.code, len(lost.report["troubles"]), lost.report["webhooks"]) == (3, 5, [])
    again = told.outbook("webhooks", "setup", "--url", lost.report["url"], "--json").report
    assert (len(again["created"]), again["troubles"]) == (5, [])
    assert told.outbook("webhooks", "status").code == 0
    assert len(told.outbook("webhooks", "remove", "--json").report["removed"]) == 5


@pytest.mark.parametrize(
    "arguments, secret, words",
    [
        (("setup", "--url", "https://outbook.example"), "", "OUTBOOK_OUTREACH__WEBHOOK_SECRET: missing"),
        (("setup", "--url", "ftp://outbook.example"), SECRET, "--url: must begin with https://"),
        (("setup", "--url", "https://"), SECRET, "--url: must look like https://your.host"),
        (("setup", "--url", "https://u:p@outbook.example/x"), SECRET, "--url: must look like"),
        (
            ("setup", "--url", "https://outbook.example/" + "x" * 1024),
            SECRET,
            "--url: Outreach takes no more than 1024",
        ),
    ],
)
def test_what_outreach_could_not_use_is_refused_here(
    stage: Stage, arguments: tuple[str, ...], secret: str, words: str
) -> None:
    """Exit 4 with what to mend, before anything is asked of Outreach."""
    if secret:
        stage.environ["OUTBOOK_OUTREACH__WEBHOOK_SECRET"] = secret
    refused = stage.outbook("webhooks", *arguments)
    assert (refused.code, refused.out) == (4, "")
    assert refused.err.startswith(f"outbook: {words}"), refused.err
    assert stage.outreach_calls() == 0


def _hooks(stage: Stage) -> dict[int, dict[str, Any]]:
    found = stage.outreach.world.dump().get("webhook", {})
    return {int(number): json.loads(json.dumps(one["attributes"])) for number, one in found.items()}
