"""Webhooks from the simulated Outreach through `outbook web` and the workers into the CRM, with no poll to help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.celery import rig as rigs
from tests.celery.rig import Rig
from worker.store import sights, webhooks

pytestmark = [pytest.mark.broker, pytest.mark.processes, pytest.mark.timeout(150)]

PAUSED, SECRET = "Active – Paused", "a webhook secret"


@pytest.fixture
def told(tmp_path: Path, broker_url: str) -> Iterator[Rig]:
    """Return a rig in which no stream is polled while a test lasts."""
    with rigs.rig(tmp_path, broker_url) as made:
        made.environ |= {"OUTBOOK_OUTREACH__WEBHOOK_SECRET": SECRET, "OUTBOOK_POLL_SECONDS": "3600"}
        yield made


def outbook(rig: Rig, *arguments: str, code: int = 0) -> None:
    """Run a verb to its end."""
    assert rig.start(*arguments).popen.wait(60) == code, rig.words()


def test_what_happens_in_outreach_is_in_the_crm_within_seconds(told: Rig) -> None:
    """An unsubscribe, a pause and a removal, each told by webhook alone; nothing waits afterwards, and no poll was needed."""
    for prospect in (1, 2, 3):
        told.prospect(prospect, 1)
    outbook(told, "sync")
    web = told.start("web")
    told.wait_for(lambda: web.said("listening on"))
    found = re.search(r"listening on (http://\S+)", web.log.read_text())
    assert found is not None
    outbook(told, "webhooks", "setup", "--url", found[1])
    told.worker("--queues", "optout,apply")
    told.start("beat")
    told.edit_outreach(op="pause", state=told.states_of(2)[0])
    told.edit_outreach(op="delete", type="sequenceState", id=told.states_of(3)[0])
    told.wait_for(lambda: (told.label(2), told.label(3)) == (PAUSED, "Not Active"))
    told.edit_outreach(op="opt_out", prospect=1)
    told.wait_for(lambda: told.of(1).get("no_email_soliciting") is True)
    with told.store() as db:
        seen = sights.told(db, told.outreach.clock.now())
        assert webhooks.pulse(db).arrived_at is not None
    assert {channel for (_stream, channel), count in seen.items() if count} == {"webhook"}
    outbook(told, "webhooks", "status")
    outbook(told, "webhooks", "remove")
    assert told.outreach.world.dump().get("webhook", {}) == {}
