"""Nothing of anybody and no secret in whatever a whole deployment puts out, every library's logger wide open."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.celery.rig import children
from tests.fault import deployment, edits, rig
from tests.fault.edits import CANARY, LABEL, RUNNING, Wanted
from tests.fault.invariants import missing
from tests.fault.rig import OURS, ROOT, Rig, listens

LOUD = """import logging
put = logging.Logger.setLevel
logging.Logger.setLevel = lambda self, _level: put(self, logging.DEBUG)
"""
"""Python imports this by itself as it starts: whoever wants to quieten a logger opens it instead."""
PHONE, KEY = "+44 20 7946 0777", "canary-api-key-31"
PERSONAL = (CANARY.lower(), "7946 0777", "79460777", "7946%200777", "7946+0777")
SECRETS = ("sim-access", "sim-secret", "sim-refresh", KEY, rig.WEBHOOK_SECRET)
MINTED = re.compile(r"(?:access|refresh)\.\d{8,}\.[0-9a-f]{8,}\.")
"""What the simulated Outreach mints."""
PEOPLE = range(1, 13)
OUTAGE = f"p1@{CANARY}.example and {PHONE} are not welcome here"
REFUSAL = f"{CANARY}1, {OUTAGE}"
"""What is said of the first of them, by name; a page that fails as a whole can hide addresses and numbers only."""
VERBS = (
    ("status", "--json"),
    ("failures", "list", "--json"),
    ("explain", "--prospect", "1", "--json"),
    ("plan", "--json"),
    ("doctor", "--json"),
)


def settings(directory: Path) -> dict[str, str]:
    """Return settings with secrets that can be looked for, everything loud, and a place for alerts."""
    loud = directory / "loud"
    loud.mkdir()
    (loud / "sitecustomize.py").write_text(LOUD, encoding="utf-8")
    return {
        "PYTHONPATH": f"{loud}{os.pathsep}{ROOT}",
        "OUTBOOK_LOG_LEVEL": "DEBUG",
        "OUTBOOK_WORKBOOKS__API_KEY": KEY,
        "OUTBOOK_OUTREACH__ACCESS_TOKEN": "",
        "OUTBOOK_OUTREACH__CLIENT_ID": "sim-client",
        "OUTBOOK_OUTREACH__CLIENT_SECRET": "sim-secret",
        "OUTBOOK_OUTREACH__REDIRECT_URI": "https://localhost/back",
        "OUTBOOK_OUTREACH__REFRESH_TOKEN": "sim-refresh",
        "OUTBOOK_ALERT_COMMAND": f"tee -a {directory / 'alerts.txt'}",
    }


def everything(running: Rig, directory: Path) -> Iterator[tuple[str, str]]:
    """Return all that came out, by where: logs, the broker's memory and disk, arguments, verbs, metrics, alerts."""
    for verb in VERBS:
        yield " ".join(verb), running.outbook(*verb)[1]
    yield "/metrics", running.http.get(f"{listens(running)}/metrics").text
    with running.messages() as db:
        for key in db.scan_iter("*"):
            yield f"broker {key!r}", f"{key!r} {db.dump(key)!r}"
    for name in (*OURS, "proxy"):
        for pid in (running.processes[name].pid, *children(running.processes[name].pid)):
            yield f"arguments of {name}", Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    for name, text in running.texts().items():
        yield name, text.decode(errors="replace")
    yield "alerts", (directory / "alerts.txt").read_text(encoding="utf-8")


def sung(text: str, secrets: tuple[str, ...]) -> list[str]:
    """Return which canaries are in a text."""
    found = [one for one in PERSONAL if one in text.lower()] + [one for one in secrets if one in text]
    return found + [found[0] for found in [MINTED.findall(text)] if found]


@pytest.mark.broker
@pytest.mark.processes
@pytest.mark.timeout(400)
def test_no_canary_sings(tmp_path: Path) -> None:
    """Synced, refused in words that name somebody, throttled, killed, told: no name, address, phone or secret comes out."""
    with deployment.running(tmp_path, more=settings(tmp_path)) as running:
        running.edit("workbooks", [{"op": "add_key", "key": KEY}])
        rule = {"type": "person", "field": "person_job_title", "pattern": "Forbidden", "message": REFUSAL}
        running.edit("workbooks", [{"op": "option", "name": "rules", "value": [rule]}])
        for prospect in PEOPLE:
            created, state = edits.newcomer(prospect)
            created["attributes"] |= {"workPhones": [PHONE], "title": "Forbidden" if prospect == 1 else "Free"}
            running.edit("outreach", [created, state])
        running.fault({"kind": "status", "times": 2, "args": {"code": 500, "body": OUTAGE}})
        wanted = [Wanted(prospect, "crm", LABEL, RUNNING) for prospect in PEOPLE]
        running.wait_for(lambda: not missing(running.seen(), wanted), 120)
        running.kill_child("worker", 0)
        running.edit("workbooks", [{"op": "remove_key", "key": KEY}])
        time.sleep(4)
        running.edit("workbooks", [{"op": "add_key", "key": KEY}])
        running.wait_for((tmp_path / "alerts.txt").exists, 120)
        secrets = (*SECRETS, running.environ["OUTBOOK_SECRET_KEY"])
        texts = dict(everything(running, tmp_path))
    assert "are not welcome here" in texts["failures list --json"], "the refusal was not told at all"
    assert sum(text.count('"level": "info"') for text in texts.values()) > len(PEOPLE), "hardly anything was logged"
    wrong = {where: sung(text, secrets) for where, text in texts.items() if sung(text, secrets)}
    assert wrong == {}, {
        where: [line[:300] for line in texts[where].splitlines() if sung(line, secrets)][:2] for where in wrong
    }
