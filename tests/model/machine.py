"""The machine that misuses the product: it edits both sides, breaks what can break, and looks whether all comes right."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.model import stage as stages
from tests.model.ledger import LEFT, RIGHT
from tests.model.model import Model
from tests.model.stage import COLUMN, Tripwire
from tests.sync.scene import Killed, Life, fault
from worker.core import errors
from worker.core.records import System
from worker.store import mirror
from worker.sync import apply, skips, strangers
from worker.sync.run import Report

VALUES: dict[str, list[str | None]] = {
    "first": ["Ada", "Bea", None],
    "last": ["Ashby", "Birch", "Cole"],
    "title": ["Head of Tea", " Clerk ", None],
    "phone": ["+44 7700 900001", "+44 7700 900002", None],
    "email": ["p1@people.example", "p2@people.example", "p3@people.example", "q1@people.example", "q2@people.example"],
}
EDIT = st.sampled_from(sorted(VALUES)).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(VALUES[name])))
SIDE = st.sampled_from([LEFT, RIGHT])
WHO = st.integers(0, 5)
SEQUENCE = st.sampled_from([1, 2])
WAIT_S = st.sampled_from([0, 1, 5, 61, 700])
MOVES = st.sampled_from(["pause", "resume", "finish", "activate", "fail", "bounce"])
FAULTS: list[tuple[str, dict[str, Any]]] = [
    (LEFT, {"kind": "throttle", "seconds": 2}),
    (LEFT, {"kind": "throttle", "seconds": 90}),
    (LEFT, {"kind": "status", "code": 503}),
    (LEFT, {"kind": "status", "code": 500, "times": 4}),
    (LEFT, {"kind": "drop"}),
    (LEFT, {"kind": "truncate"}),
    (LEFT, {"kind": "html200"}),
    (LEFT, {"kind": "lost_reply", "op": "write"}),
    (LEFT, {"kind": "expired_cursor"}),
    (RIGHT, {"kind": "status", "code": 500}),
    (RIGHT, {"kind": "status", "code": 502, "times": 4}),
    (RIGHT, {"kind": "throttle302", "seconds": 0, "hops": 1}),
    (RIGHT, {"kind": "dead_session302"}),
    (RIGHT, {"kind": "drop"}),
    (RIGHT, {"kind": "truncate"}),
    (RIGHT, {"kind": "html200"}),
    (RIGHT, {"kind": "lost_reply", "op": "write"}),
    (RIGHT, {"kind": "lost_reply", "op": "write", "times": 2}),
    (RIGHT, {"kind": "omit_object", "op": "write"}),
]
SETTLING = 8
"""Passes after which everything must be settled, whatever has happened."""


class Machine(RuleBasedStateMachine):
    """Two to four people, two sequences, one store.

    ``clean``: nothing has gone wrong since all was settled, so one pass must settle it again.
    """

    template: ClassVar[Path]

    def __init__(self) -> None:
        """Start with two vendors and an empty store."""
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="outbook-model-")
        self.stage = stages.staged(self.template, Path(self.directory.name) / "store.db")
        self.model = Model(self.stage)
        self.clean = True
        self.set_back = False
        self.wires: list[Tripwire] = []

    def teardown(self) -> None:
        """Settle everything at the end of every story."""
        try:
            self.settle()
        finally:
            self.stage.close()
            self.directory.cleanup()

    @initialize(known=st.booleans(), more=st.integers(0, 1))
    def begin(self, *, known: bool, more: int) -> None:
        """Somebody is in Outreach, somebody on both sides or in the CRM."""
        self.model.new_prospect(1, "p1@people.example", 1)
        if more:
            self.model.new_prospect(2, "p2@people.example", None)
        if known:
            fields = {COLUMN["first"]: "Ada", COLUMN["last"]: "Ashby", COLUMN["email"]: "P2@people.example"}
            self.model.new_person(fields)

    # --- people at work

    def pick(self, side: str, n: int, *, deleted: bool = False) -> int | None:
        """Return the nth record of a side, if there is any."""
        if side == LEFT:
            found = sorted(self.stage.prospects())
        else:
            found = sorted(n for n, one in self.stage.everybody().items() if bool(one["is_deleted"]) == deleted)
        return found[n % len(found)] if found else None

    @rule(side=SIDE, n=WHO, edit=EDIT)
    def edits(self, side: str, n: int, edit: tuple[str, str | None]) -> None:
        """Edit a field on one side."""
        record = self.pick(side, n)
        if record is not None:
            self.model.edit(side, record, *edit)

    @rule(n=WHO, name=st.sampled_from(["first", "last", "title", "phone"]), left=WHO, right=WHO)
    def edits_both(self, n: int, name: str, left: int, right: int) -> None:
        """Edit a field on both sides of a pair."""
        pairs = sorted(self.stage.links().items())
        if pairs:
            pid, cid = pairs[n % len(pairs)]
            self.model.edit(LEFT, pid, name, VALUES[name][left % len(VALUES[name])])
            self.model.edit(RIGHT, cid, name, VALUES[name][right % len(VALUES[name])])

    @rule(n=st.integers(1, 4), sequence=st.sampled_from([None, 1, 2]))
    def new_prospect(self, n: int, sequence: int | None) -> None:
        """Somebody appears in Outreach."""
        if n not in self.stage.prospects():
            self.model.new_prospect(n, f"p{n}@people.example", sequence)

    @rule(address=st.sampled_from(VALUES["email"]), tick=st.booleans(), out=st.booleans())
    def new_person(self, address: str, *, tick: bool, out: bool) -> None:
        """Somebody appears in the CRM, perhaps with an address that somebody else has."""
        if len(self.stage.living()) < 6:
            fields: dict[str, Any] = {COLUMN["first"]: "Cid", COLUMN["last"]: "Cole", COLUMN["email"]: address}
            self.model.new_person(
                fields | ({stages.TICK: True} if tick else {}) | ({stages.NO_EMAIL: True} if out else {})
            )

    @rule(n=WHO, wanted=st.booleans())
    def tick(self, n: int, *, wanted: bool) -> None:
        """Somebody in the CRM wants a person in Outreach, or no longer."""
        person = self.pick(RIGHT, n)
        if person is not None:
            self.stage.edit_crm(op="set", type="person", id=person, fields={stages.TICK: wanted})

    @rule(n=WHO)
    def delete(self, n: int) -> None:
        """Delete a person in the CRM."""
        person = self.pick(RIGHT, n)
        if person is not None:
            self.stage.edit_crm(op="delete", type="person", id=person)

    @rule(n=WHO)
    def undelete(self, n: int) -> None:
        """Bring a deleted person back."""
        person = self.pick(RIGHT, n, deleted=True)
        if person is not None:
            self.model.undelete(person)

    @rule(winner=WHO, loser=WHO)
    def merge(self, winner: int, loser: int) -> None:
        """Merge two people in the CRM."""
        one, other = self.pick(RIGHT, winner), self.pick(RIGHT, loser)
        if one is not None and other is not None and one != other:
            self.stage.edit_crm(op="merge", winner=one, loser=other)

    @rule(side=SIDE, n=WHO, how=st.sampled_from(["manual", "unsubscribe"]))
    def opt_out(self, side: str, n: int, how: str) -> None:
        """Opt somebody out."""
        record = self.pick(side, n)
        if record is not None:
            self.model.opt_out(side, record, how)

    @rule(side=SIDE, n=WHO)
    def take_back(self, side: str, n: int) -> None:
        """Take an opt-out back by hand."""
        record = self.pick(side, n)
        if record is not None:
            self.model.take_back(side, record)

    @rule(n=WHO, sequence=SEQUENCE)
    def enrol(self, n: int, sequence: int) -> None:
        """Add somebody to a sequence, if Outreach lets them."""
        with contextlib.suppress(ValueError):
            prospect = self.pick(LEFT, n)
            self.stage.edit_outreach(op="enrol", prospect=prospect, sequence=sequence, state="active")

    @rule(n=WHO, verb=MOVES)
    def move(self, n: int, verb: str) -> None:
        """Move a sequence state."""
        found = sorted(self.stage.states())
        if found:
            self.stage.edit_outreach(op=verb, state=found[n % len(found)])

    @rule(sequence=SEQUENCE, verb=st.sampled_from(["enable_sequence", "disable_sequence"]))
    def switch(self, sequence: int, verb: str) -> None:
        """Switch a sequence on or off."""
        self.stage.edit_outreach(op=verb, sequence=sequence)

    @rule(n=WHO)
    def new_task(self, n: int) -> None:
        """A running state gets a task for its step."""
        running = sorted(number for number, one in self.stage.states().items() if one["state"] == "active")
        if running and len(self.stage.outreach_tasks()) < 6:
            number = running[n % len(running)]
            state = self.stage.states()[number]
            around = {name: state[name] for name in ("prospect", "sequence", "sequenceStep")} | {
                "sequenceState": number
            }
            told = {"state": "incomplete", "action": "call", "dueAt": "2026-11-21T10:00:00.000Z"}
            self.stage.edit_outreach(op="create", type="task", attributes=told, relations=around)

    @rule(n=WHO, how=st.sampled_from(["state", "autoskip"]))
    def skip(self, n: int, how: str) -> None:
        """Skip a task."""
        found = self.stage.outreach_tasks()
        waiting = sorted(
            number for number, one in found.items() if one["state"] == "incomplete" and not one.get("completed")
        )
        if waiting:
            task = waiting[n % len(waiting)]
            self.stage.edit_outreach(op="skip_task", task=task, how=how)
            self.model.skipped[task] = f"{how}:{found[task]['prospect']}"

    @rule(n=WHO)
    def delete_task(self, n: int) -> None:
        """Delete a Cancelled task in the CRM."""
        found = sorted(one["id"] for one in self.stage.tasks() if not one["is_deleted"])
        if found:
            self.stage.edit_crm(op="delete", type="task", id=found[n % len(found)])

    # --- what goes wrong

    @rule(which=st.sampled_from(FAULTS), after=st.integers(0, 12))
    def breaks(self, which: tuple[str, dict[str, Any]], after: int) -> None:
        """Let a vendor fail at some call to come."""
        side, told = which
        app = self.stage.outreach if side == LEFT else self.stage.crm
        app.faults.arm([*app.faults.documents(), fault(**told, after=after)])
        self.clean = False

    @rule(system=st.sampled_from(list(System)), writes=st.booleans(), nth=st.integers(0, 8), lost=st.booleans())
    def cuts(self, *, system: System, writes: bool, nth: int, lost: bool) -> None:
        """Let the network fail at some call to come, before or after the vendor has had it."""
        wire = Tripwire(
            lambda call: call.system is system and call.writes >= writes, nth, stages.lose if lost else stages.refuse
        )
        (self.stage.wire.after if lost else self.stage.wire.before).append(wire)
        self.clean = False

    @rule(system=st.sampled_from(list(System)), nth=st.none() | st.integers(0, 12), side=SIDE, n=WHO, edit=EDIT)
    def overtakes(self, *, system: System, nth: int | None, side: str, n: int, edit: tuple[str, str | None]) -> None:
        """Let somebody edit a field right before a call of ours reaches a vendor: the nth, or the next write."""

        def then() -> None:
            self.model.ledger.turn += 1
            self.edits_now(side, n, edit)
            self.model.ledger.turn += 1

        wire = Tripwire(lambda call: call.system is system and (nth is not None or call.writes), nth or 0, then)
        self.stage.wire.before.append(wire)
        self.clean = False

    def edits_now(self, side: str, n: int, edit: tuple[str, str | None]) -> None:
        """Edit a field in the middle of a pass."""
        record = self.pick(side, n)
        if record is not None:
            self.model.edit(side, record, *edit)

    @rule(seconds=st.sampled_from([-20.0, 40.0, 3600.0]), whose=st.sampled_from(["outreach", "crm", "ours"]))
    def jumps(self, seconds: float, whose: str) -> None:
        """One clock jumps."""
        if whose == "ours":
            self.stage.ahead_s += seconds
        elif whose == "crm":
            self.stage.crm.clock.shift(seconds)
        else:
            self.stage.outreach.clock.shift(seconds)
            self.stage.ahead_s -= seconds
            self.set_back = self.set_back or seconds < 0

    # --- the product at work

    def turn(self, what: Callable[[], object]) -> object:
        """Let the product do something; what people do next is another turn's."""
        self.model.ledger.turn += 1
        if self.clean:
            return what()
        with contextlib.suppress(errors.OutbookError):
            return what()
        return None

    @rule(wait_s=WAIT_S, first=st.integers(0, 6), count=st.sampled_from([1, 3, 7]))
    def poll(self, wait_s: float, first: int, count: int) -> None:
        """Poll only, some streams or all."""
        self.stage.later(wait_s)
        kinds: Sequence[Any] = stages.STREAMS[first : first + count] if count < len(stages.STREAMS) else stages.STREAMS
        self.turn(lambda: self.stage.poll(*kinds))

    @rule()
    def apply(self) -> None:
        """Apply one batch of everything."""
        on = self.stage.applier()
        self.turn(lambda: (apply.apply_people(on), strangers.apply_strangers(on), skips.apply_tasks(on)))

    @rule(wait_s=WAIT_S)
    def sync(self, wait_s: float) -> None:
        """Make a whole pass, whatever goes wrong."""
        self.stage.later(wait_s)
        self.turn(self.stage.sync)

    @rule(point=st.integers(0, 60))
    def dies(self, point: int) -> None:
        """Make a pass that dies at some point of it."""
        self.clean = False
        with contextlib.suppress(Killed):
            self.turn(lambda: self.stage.sync(Life(point)))

    @rule(wait_s=WAIT_S)
    def settles(self, wait_s: float) -> None:
        """Let all be mended and settle it."""
        self.stage.later(wait_s)
        self.settle()

    # --- what must be so

    @invariant()
    def glance(self) -> None:
        """What must hold at any moment."""
        self.model.glance()

    def settle(self) -> None:
        """Mend everything, pass until nothing is open, look at it all, and see one more pass do nothing."""
        for app in (self.stage.outreach, self.stage.crm):
            app.faults.arm([])
        self.stage.wire.before.clear()
        self.stage.wire.after.clear()
        if self.set_back:  # older dates are believed after a while only: by the sweep, or when everything is read again
            self.stage.later(mirror.LATE.total_seconds())
            self.stage.sync(full=True)
            self.set_back = False
        for number in range(SETTLING):
            report = self.stage.sync()
            open_ones = report.counts.open - report.counts.dead
            if open_ones == 0 and not report.troubles:
                break
            assert not self.clean, f"one pass did not settle it: {report.as_json()}, {report.waiting}"
            self.stage.later(16.0 if number < 2 else 4000.0)
        else:
            raise AssertionError(f"never settled: {report.as_json()}, {report.waiting}")
        self.model.glance()
        waiting = self.stage.waiting()
        assert len(report.waiting) >= bool(waiting), f"not named: {waiting}"
        assert report.as_json()["failed"] + report.as_json()["held"] >= bool(waiting), waiting
        self.quiet()
        self.model.settle()
        self.clean = True

    def quiet(self) -> None:
        """See one more pass write nothing and queue nothing."""
        before = {side: dict(app.world.dump()) for side, app in self.worlds()}
        self.stage.later(30)
        report: Report = self.stage.sync()
        told = report.as_json()
        assert told["queued"] == 0, f"queued again: {told}"
        assert not any([*({**told["crm"], "unchanged": 0}).values(), *told["outreach"].values()]), told
        after = {side: dict(app.world.dump()) for side, app in self.worlds()}
        assert after == before, "a pass with nothing to do changed something"

    def worlds(self) -> list[tuple[str, Any]]:
        """Return both vendors."""
        return [(LEFT, self.stage.outreach), (RIGHT, self.stage.crm)]
