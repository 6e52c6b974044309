"""No database session is open while a vendor is being asked."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from tests.sync.scene import Call, Scene
from tests.sync.test_crashes import arrive, edit
from worker.core import errors
from worker.sync import fields


@pytest.fixture
def open_sessions(on_both: Scene) -> Iterator[Counter[str]]:
    """Count, thread by thread, the connections of the store that are checked out and the transactions begun on them."""
    held: Counter[str] = Counter()

    def me(what: str) -> str:
        return f"{what} of {threading.get_ident()}"

    listeners: list[tuple[Any, str, Any]] = [
        (on_both.store.engine, "checkout", lambda *_: held.update({me("connection"): 1})),
        (on_both.store.engine, "checkin", lambda *_: held.update({me("connection"): -1})),
        (on_both.store.engine, "begin", lambda *_: held.update({me("transaction"): 1})),
        (on_both.store.engine, "commit", lambda *_: held.update({me("transaction"): -1})),
        (on_both.store.engine, "rollback", lambda *_: held.update({me("transaction"): -1})),
    ]
    for target, event, listener in listeners:
        sa.event.listen(target, event, listener)
    yield held
    for target, event, listener in listeners:
        sa.event.remove(target, event, listener)


def watch(scene: Scene, held: Counter[str]) -> list[str]:
    """Return a list in which every request that leaves while a session is open will be noted."""
    noted: list[str] = []

    def look(call: Call) -> None:
        here = {f"{what} of {threading.get_ident()}" for what in ("connection", "transaction")}
        noted.extend(f"{call} with an open {name}" for name in here if held[name] > 0)

    scene.wire.before.append(look)
    scene.wire.after.append(look)
    return noted


def test_no_session_is_open_while_a_vendor_is_asked(on_both: Scene, open_sessions: Counter[str]) -> None:
    """Through a first pass, a pass over every sort of edit and a look at the fields, no request finds one open."""
    noted = watch(on_both, open_sessions)
    arrive(on_both)
    assert on_both.sync().converged
    edit(on_both)
    assert on_both.sync().converged
    on = on_both.applier()
    fields.check(store=on.store, crm=on.remotes.crm, mapping=on.mapping, now=on.now())
    assert len(on_both.wire.calls) > 40
    assert sum(call.writes for call in on_both.wire.calls) >= 5
    assert noted == []
    assert open_sessions.total() == 0
    assert any(name.startswith("connection") for name in open_sessions)


def test_none_is_left_open_by_a_fault(on_both: Scene, open_sessions: Counter[str]) -> None:
    """A vendor that fails in the middle of it all leaves no session open either."""
    noted = watch(on_both, open_sessions)
    arrive(on_both)

    def fail(call: Call) -> None:
        if call.writes:
            raise errors.AuthRevoked("no longer accepted")

    on_both.wire.before.append(fail)
    assert on_both.sync().halt is not None
    assert noted == []
    assert open_sessions.total() == 0


def test_a_session_that_is_open_would_be_seen(on_both: Scene, open_sessions: Counter[str]) -> None:
    """The watch is no blind one: a request from within a transaction is noted."""
    noted = watch(on_both, open_sessions)
    with on_both.store.write():
        on_both.remotes().crm.login()
    assert any("an open transaction" in words for words in noted)
    assert any("an open connection" in words for words in noted)
