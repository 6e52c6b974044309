"""The guard of a process, as workers have it: asked once, compared with every task."""

from __future__ import annotations

import pytest

from tests.store.makers import NOW
from worker.core import errors
from worker.core.records import System
from worker.store import database
from worker.sync import tenants
from worker.sync.tenants import Guard, WrongTenant


class Door:
    """A vendor's answer to who it is, and how often it was asked."""

    def __init__(self, identity: str | None) -> None:
        self.identity, self.asked = identity, 0

    def __call__(self) -> str | None:
        self.asked += 1
        if self.identity == "down":
            raise errors.RemoteDown("no answer")
        return self.identity


def guard(store: database.Store, outreach: Door, crm: Door) -> Guard:
    """The guard of a process that has just started."""
    return Guard(store, lambda: NOW, {System.OUTREACH: outreach, System.CRM: crm})


def test_a_process_against_another_tenant_may_call_nobody(store: database.Store) -> None:
    """Neither side, however often it tries, and without asking again; rebound, it goes on by itself."""
    guard(store, Door("org-1"), Door("7")).before_call(System.CRM)
    theirs = Door("8")
    worker = guard(store, Door("org-1"), theirs)
    worker.before_call(System.OUTREACH)
    for system in (System.CRM, System.CRM, System.OUTREACH):
        with pytest.raises(WrongTenant, match="answers as 8, but this store belongs to 7"):
            worker.before_call(system)
    assert theirs.asked == 1
    with store.write() as db:
        tenants.rebind(db, {System.CRM: "8", System.OUTREACH: "org-1"})
    worker.before_call(System.CRM)
    worker.before_call(System.OUTREACH)


def test_a_running_process_notices_that_the_store_was_rebound(store: database.Store) -> None:
    """What it was told at its start is no longer whom the store belongs to: its next task stops."""
    worker = guard(store, Door("org-1"), Door("7"))
    worker.before_call(System.CRM)
    with store.write() as db:
        tenants.rebind(db, {System.CRM: "8"})
    with pytest.raises(WrongTenant):
        worker.heed()
    with pytest.raises(WrongTenant):
        worker.before_call(System.CRM)


def test_a_vendor_that_cannot_be_asked_is_not_written_to_if_it_is_known(store: database.Store) -> None:
    """A store that belongs to somebody waits; asked again only after a while."""
    guard(store, Door("org-1"), Door("7")).before_call(System.CRM)
    down = Door("down")
    worker = guard(store, Door("org-1"), down)
    for _ in range(2):
        with pytest.raises(errors.Transient, match="not known yet whose it is"):
            worker.before_call(System.CRM)
    assert down.asked == 1
