"""Alerts: which state is told, to whom, how often; over both databases where the store decides."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.equipment.outlooks import CALM
from worker import config
from worker.core import alerts as states
from worker.core import outlook as values
from worker.core.outlook import Outlook
from worker.remote import receivers
from worker.remote.receivers import NotDelivered
from worker.store import alerts as memory
from worker.store import database, tables
from worker.sync import alerts

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PAUSE = values.KeptBack(3, 1, ("paused: all",))
SAFE, FRESH, STUCK = CALM.safe, CALM.fresh, CALM.stuck


def _late(seconds: float) -> values.OptOuts:
    return replace(SAFE.opt_outs, undelivered=2, oldest_age_s=seconds)


def _ticks(**ages: float) -> values.Work:
    return values.Work(ticks=tuple(values.Tick(who, NOON, age) for who, age in ages.items()))


def _halted(reason: str) -> values.Work:
    return values.Work(halted=(values.Halted("outreach", reason, NOON),))


def _polled(age: float, *, reading: bool = False) -> values.Fresh:
    return replace(FRESH, streams=(replace(FRESH.streams[0], polled_age_s=age, reading=reading),))


def _dead(minutes: int) -> values.Stuck:
    newest = NOON - timedelta(minutes=minutes)
    return replace(STUCK, failed=(values.Cause("title: no", 4, newest),), open=replace(STUCK.open, failed=4))


FIRING: list[tuple[dict[str, Any], str, str]] = [
    (
        {"safe": replace(SAFE, opt_outs=_late(901.0), kept_back=PAUSE)},
        "OutbookOptOutLate",
        "an opt-out is on its way for 15 minutes; 2 are, 1 of them kept back by paused: all",
    ),
    ({"safe": replace(SAFE, opt_outs=replace(SAFE.opt_outs, failed=2))}, "OutbookOptOutFailed", "2 opt-outs could not"),
    (
        {"safe": replace(SAFE, opt_outs=replace(SAFE.opt_outs, alarm=True, last_hour=40))},
        "OutbookOptOutsUnusual",
        "40 people opted out within an hour",
    ),
    ({"work": values.Work(troubles=("changes are due",))}, "OutbookNoProgress", "changes are due"),
    ({"fresh": _polled(1200.0)}, "OutbookPollingStopped", "no stream was read for 20 minutes"),
    ({"work": _ticks(beat=5, optout=5, poll=400, slow=301)}, "OutbookWorkersDown", "serves the queues poll, slow"),
    ({"work": _ticks(beat=600, optout=600, poll=600)}, "OutbookBeatDown", "beat has rung for nothing in 10 minutes"),
    ({"work": _halted("contract")}, "OutbookHalted", "halted: outreach: contract"),
    ({"work": _halted("authorisation")}, "OutbookAuthorisationNeeded", "lack a permission: outreach"),
    (
        {"credentials": values.Credentials(None, None, NOON, 2.9)},
        "OutbookAuthorisationDue",
        "nobody renews the Outreach token; it is good for 2.9 more days",
    ),
    (
        {"credentials": values.Credentials(date(2026, 12, 4), 14, None, None)},
        "OutbookKeyExpiring",
        "the Workbooks key runs out on 2026-12-04",
    ),
    ({"work": _halted("budget")}, "OutbookBudgetSpent", "the calls are used up"),
    (
        {"budget": replace(CALM.budget, outreach=replace(CALM.budget.outreach, runs_out_on=date(2027, 3, 1)))},
        "OutbookBudgetSpent",
        "at this pace the year's calls are used up on 2027-03-01",
    ),
    (
        {"stuck": replace(STUCK, held=(values.Held("brake", 1, 30), values.Held("breaker", 1, 1)))},
        "OutbookBrake",
        "2 brakes or breakers have tripped; 31 records wait",
    ),
    ({"stuck": replace(STUCK, held=(values.Held("ambiguous", 2, 2),))}, "OutbookHeld", "for a person: 2 ambiguous"),
    ({"stuck": _dead(59)}, "OutbookDeadLettersGrowing", "records failed within the last hour; 4 have by now"),
    ({"mapping": replace(CALM.mapping, problem="3:1: no")}, "OutbookMappingRefused", "the one in force goes on"),
    ({"mapping": replace(CALM.mapping, differs=True)}, "OutbookMappingDiffers", "is not what is in force"),
]


@pytest.mark.parametrize("parts, name, words", FIRING, ids=lambda part: part if isinstance(part, str) else "")
def test_one_state_is_told_in_a_sentence(parts: dict[str, Any], name: str, words: str) -> None:
    """Each trouble alone makes just its own alert fire, in words that say how much."""
    told = {its: said for its, said in states.states(replace(CALM, **parts)).items() if said is not None}
    assert set(told) == {name}
    assert words in told[name]


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"safe": replace(SAFE, opt_outs=_late(900.0))},
        {"fresh": _polled(5000.0, reading=True)},
        {"fresh": replace(_polled(5000.0), patience_s=6000.0)},
        {"work": _ticks(beat=5, optout=5, poll=300, slow=60, apply=9000)},
        {"credentials": values.Credentials(date(2026, 12, 5), 15, NOON, 3.1)},
        {"stuck": _dead(61)},
    ],
)
def test_what_is_well_is_not_told(parts: dict[str, Any]) -> None:
    """A store in which all is well, one just short of each limit, and a queue that is only rung for when there is work."""
    assert set(states.states(replace(CALM, **parts)).values()) == {None}


class Told(list[dict[str, Any]]):
    """A receiver that keeps what it was sent, or refuses."""

    refuses = False

    def __call__(self, document: dict[str, Any]) -> None:
        """Take a document."""
        if self.refuses:
            raise NotDelivered("OUTBOOK_ALERT_URL: answered 503")
        self.extend(document["alerts"])

    @property
    def heard(self) -> list[tuple[str, str]]:
        """What was heard, in order."""
        return [(one["alert"], one["state"]) for one in self]


@pytest.fixture
def store(database_url: str) -> Iterator[database.Store]:
    """A store with its tables."""
    opened = database.connect(database_url)
    tables.metadata.create_all(opened.engine)
    yield opened
    opened.engine.dispose()


def _at(seconds: float) -> Callable[[], datetime]:
    return lambda: NOON + timedelta(seconds=seconds)


HELD: Outlook = replace(CALM, stuck=replace(STUCK, held=(values.Held("ambiguous", 2, 2),)))


def test_only_a_change_of_state_is_told_and_its_end(store: database.Store) -> None:
    """Held is told once however often it is looked at, once more when it is over, and again when it comes back."""
    told = Told()
    for second, look in enumerate([CALM, HELD, HELD, HELD, CALM, CALM, HELD]):
        alerts.tell(store, look, {"url": told}, _at(30.0 * second))
    assert told.heard == [("OutbookHeld", "firing"), ("OutbookHeld", "resolved"), ("OutbookHeld", "firing")]
    assert told[0] == {
        "id": "OutbookHeld:2026-11-20T12:00:30Z",
        "alert": "OutbookHeld",
        "state": "firing",
        "severity": "warning",
        "since": "2026-11-20T12:00:30Z",
        "at": "2026-11-20T12:00:30Z",
        "words": "entries wait for a person: 2 ambiguous",
        "do": "outbook held list",
        "runbook": "deploy/runbook.md#outbookheld",
    }


def test_a_receiver_that_fails_is_told_later_and_keeps_no_other(store: database.Store) -> None:
    """One refuses three times: the other hears it once, at once; it hears it with the first look after it is well."""
    url, command = Told(), Told()
    url.refuses = True
    for second in range(3):
        alerts.tell(store, HELD, {"url": url, "command": command}, _at(30.0 * second))
    url.refuses = False
    alerts.tell(store, HELD, {"url": url, "command": command}, _at(90))
    assert url.heard == command.heard == [("OutbookHeld", "firing")]


def test_what_was_over_before_anybody_heard_is_not_told(store: database.Store) -> None:
    """A state that came and went while the receiver was down is no news, nor its end."""
    told = Told()
    told.refuses = True
    alerts.tell(store, HELD, {"url": told}, _at(0))
    told.refuses = False
    alerts.tell(store, CALM, {"url": told}, _at(30))
    assert told.heard == []


def test_patience_is_had_with_what_may_be_meant(store: database.Store) -> None:
    """A mapping that differs is told after a day, not while somebody edits it."""
    told, look = Told(), replace(CALM, mapping=replace(CALM.mapping, differs=True))
    for hours in (0, 12, 23.9):
        alerts.tell(store, look, {"url": told}, _at(3600 * hours))
    assert told.heard == []
    alerts.tell(store, look, {"url": told}, _at(86_400))
    assert told.heard == [("OutbookMappingDiffers", "firing")]


def test_two_that_look_at_once_tell_once(store: database.Store) -> None:
    """While one is telling, another that looks finds it in hand; one that died telling is followed after its lease."""
    told = Told()

    def slowly(document: dict[str, Any]) -> None:
        alerts.tell(store, HELD, {"url": told}, _at(1))
        told(document)

    alerts.tell(store, HELD, {"url": slowly}, _at(0))
    assert told.heard == [("OutbookHeld", "firing")]

    def dies(document: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        alerts.tell(store, CALM, {"url": dies}, _at(60))
    assert alerts.tell(store, CALM, {"url": told}, _at(80)) == 0
    assert alerts.tell(store, CALM, {"url": told}, _at(91)) == 1
    assert told.heard == [("OutbookHeld", "firing"), ("OutbookHeld", "resolved")]


def test_many_threads_tell_once(store: database.Store) -> None:
    """Eight at the same moment: each news comes once."""
    told, go = Told(), threading.Barrier(8)

    def look() -> None:
        go.wait(60)
        alerts.tell(store, HELD, {"url": told}, _at(0))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert told.heard == [("OutbookHeld", "firing")]


def test_without_receivers_it_is_remembered_and_told_to_the_first(store: database.Store) -> None:
    """Nobody to tell: the state stands in the store, and whoever is named later hears it."""
    assert alerts.tell(store, HELD, {}, _at(0)) == 0
    with store.read() as db:
        assert [one.name for one in memory.standing(db) if one.firing] == ["OutbookHeld"]
        assert db.scalar(sa.select(sa.func.count()).select_from(memory.ALERT)) == len(states.ALERTS)
    told = Told()
    alerts.tell(store, HELD, {"command": told}, _at(3600))
    assert [one["since"] for one in told] == ["2026-11-20T12:00:00Z"]


class Inbox(http.server.ThreadingHTTPServer):
    """A receiver on loopback that keeps what it was sent and answers as it is told to."""

    status = 204

    def __init__(self) -> None:
        """Listen somewhere."""
        super().__init__(("127.0.0.1", 0), _Letter)
        self.got: list[tuple[str | None, Any]] = []


class _Letter(http.server.BaseHTTPRequestHandler):
    server: Inbox

    def do_POST(self) -> None:
        """Take a document."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.headers["Content-Type"], json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    """A receiver on loopback."""
    with Inbox() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_settings_name_the_receivers(inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document is posted and handed to a command, on stdin, without our secrets around it; a trial tells what failed."""
    monkeypatch.setenv("OUTBOOK_SECRET_KEY", "a-key")
    into = tmp_path / "got.json"
    script = "import os,sys;assert 'OUTBOOK_SECRET_KEY' not in os.environ;open(sys.argv[1],'wb').write(sys.stdin.buffer.read())"
    environ = {
        "OUTBOOK_ALERT_URL": f"http://127.0.0.1:{inbox.server_port}/hook?token=hush",
        "OUTBOOK_ALERT_COMMAND": f"{sys.executable} -c \"{script}\" '{into}'",
        "OUTBOOK_ALLOW_INSECURE_HOSTS": "1",
    }
    settings = config.load(environ, tmp_path, credentials=False)
    to = alerts.receivers_of(settings)
    assert alerts.try_out(to, NOON) == {"url": None, "command": None}
    (kind, posted), read = inbox.got[0], json.loads(into.read_text())
    assert (kind, posted) == ("application/json", read)
    assert posted["text"] == "Outbook: firing: this is a test: alerts arrive (OutbookTest; outbook status)"
    inbox.status = 302
    assert alerts.try_out(to, NOON)["url"] == "OUTBOOK_ALERT_URL: answered 302"
    assert len(inbox.got) == 2


@pytest.mark.parametrize(
    "command, why",
    [
        ("/nowhere/at-all", "cannot be run (FileNotFoundError)"),
        (f"{sys.executable} -S -c 'raise SystemExit(3)'", "ended with 3"),
        (f"{sys.executable} -S -c 'import time; time.sleep(60)'", "not done within 1 s"),
    ],
)
def test_a_command_that_fails_or_hangs_is_told_and_ended(
    command: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No program, an exit code, no end in time: a sentence each, and nothing waits longer."""
    monkeypatch.setattr(receivers, "WITHIN_S", 0.8)
    with pytest.raises(NotDelivered) as told:
        receivers.run(command, {})
    assert str(told.value) == f"OUTBOOK_ALERT_COMMAND: {why}"


def test_an_address_where_nobody_is_is_told_without_itself() -> None:
    """The words name the setting and the kind of fault, never the address, which may hold a secret."""
    with pytest.raises(NotDelivered) as told:
        receivers.post("http://127.0.0.1:1/hush", {})
    assert str(told.value) == "OUTBOOK_ALERT_URL: no answer (ConnectError)"


@pytest.mark.parametrize(
    "name, value, insecure, problem",
    [
        ("OUTBOOK_ALERT_URL", "http://hooks.example/x", "0", "must begin with https://"),
        ("OUTBOOK_ALERT_URL", "hush", "1", "must begin with https://"),
        ("OUTBOOK_ALERT_URL", "https://", "0", "must begin with https://"),
        ("OUTBOOK_ALERT_COMMAND", "page 'hush", "0", "cannot be split"),
        ("OUTBOOK_ALERT_URL", "https://hooks.example/x", "0", ""),
        ("OUTBOOK_ALERT_URL", "http://127.0.0.1:9/x", "1", ""),
    ],
)
def test_bad_receivers_are_settings_to_mend(name: str, value: str, insecure: str, problem: str, tmp_path: Path) -> None:
    """An address must be https unless insecure hosts are allowed; no problem quotes what was set."""
    environ = {name: value, "OUTBOOK_ALLOW_INSECURE_HOSTS": insecure}
    if not problem:
        assert alerts.receivers_of(config.load(environ, tmp_path, credentials=False))
        return
    with pytest.raises(config.SettingsInvalid, match=f"{name}: {problem}") as told:
        config.load(environ, tmp_path, credentials=False)
    assert "hush" not in str(told.value)
