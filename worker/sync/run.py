"""One pass: poll both sides, apply until nothing is due, look at what our own writes caused, until that is nothing.

The foreground's `outbook sync` is this loop; the workers do the same through the same functions, one message at a time.
"""

from __future__ import annotations

import contextlib
import uuid
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from worker.core import errors, lanes, letters
from worker.core.records import Kind, System
from worker.store import backlog, clocks, cursors, database, links, mappings, outbox, pauses, runs, vitals
from worker.store.outbox import Lane
from worker.store.selection import Chosen
from worker.sync import apply, brakes, failures, fields, finished, in_force, intake, resync, timing
from worker.sync.look import look
from worker.sync.poll import poll
from worker.sync.second_net import cast, take_due
from worker.sync.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    import sqlalchemy as sa

    from worker.store.pauses import Paused
    from worker.store.selection import Selection
    from worker.sync.case import Applier
    from worker.sync.poll import Polled

ROUNDS = 20
"""How often a pass may cause itself more work before that is taken for a loop."""
BUSY_S = 0.25
ANOTHERS_S = 600.0
"""How long a pass waits for what another live process is working on; a dead one's leases run out within seconds."""
MAPPING = mappings.IN_FORCE
ECHOES = {
    System.CRM: (Kind.PERSON, Kind.CRM_TASK),
    System.OUTREACH: (Kind.PROSPECT, Kind.STATE, Kind.TASK),
}
"""Where our own writes show."""


@dataclass(slots=True)
class Report:
    """What a pass did; ``as_json`` is the contract's shape (section 4)."""

    run_id: str
    mapping_version: str
    began_at: datetime
    seconds: float = 0.0
    polled: dict[str, int] = field(default_factory=dict)
    queued: int = 0
    tally: Tally = field(default_factory=Tally)
    counts: backlog.Counts = field(default_factory=backlog.Counts)
    excluded: int = 0
    calls: dict[str, int] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    chosen: Chosen | None = None
    paused: tuple[Paused, ...] = ()
    halt: errors.Halt | None = None
    would_write: list[dict[str, Any]] | None = None
    swept: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def converged(self) -> bool:
        """Tell whether nothing is left to do, and everything was looked at."""
        return self.counts.open == 0 and not self.troubles and self.halt is None

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        tally, counts = self.tally, self.counts
        told: dict[str, Any] = {
            "run_id": self.run_id,
            "mapping_version": self.mapping_version,
            "converged": self.converged,
            "seconds": round(self.seconds, 3),
            "polled": self.polled,
            "queued": self.queued,
            "failed": counts.dead,
            "new_failed": tally.new_failed,
            "deferred": counts.deferred + counts.due + counts.leased,
            "held": counts.holds,
            "held_back": counts.kept,
            "held_back_opt_outs": counts.kept_opt_outs,
            "excluded": self.excluded,
            "overwritten": tally.overwritten,
            "paused": bool(self.paused),
            "crm": {
                "created": tally.created,
                "updated": tally.updated,
                "recreated": tally.recreated,
                "unchanged": tally.unchanged,
                "tasks_cancelled": tally.tasks_cancelled,
                "opted_out": tally.crm_opted_out,
            },
            "outreach": {
                "created": tally.outreach_created,
                "updated": tally.outreach_updated,
                "opted_out": tally.outreach_opted_out,
                "actions": tally.outreach_actions,
            },
            "calls": {system.value if system is System.OUTREACH else "workbooks": 0 for system in System} | self.calls,
        }
        if self.paused:
            told["paused_scopes"] = [one.scope for one in self.paused]
        if self.chosen is not None:
            told |= {"chosen": len(self.chosen), "unknown": len(self.chosen.unknown)}
        if self.troubles:
            told["troubles"] = self.troubles
        if self.swept:
            told["swept"] = self.swept
        if self.would_write is not None:
            told["plan"] = self.would_write
        return told


@dataclass(frozen=True, slots=True)
class Pass:
    """How a pass runs: the clock, patience, who is told of progress, and for a dry run who looks instead of ``look``.

    With a ``selection`` everything is polled, but only the chosen are applied, each looked at anew whatever became of it.
    The rest stays queued for the next pass or the workers, and counts nowhere in this one's report: not in ``held_back``,
    whose four causes are switches that somebody has to turn back, nor in ``converged`` and the exit code.
    """

    on: Applier
    sleep: Callable[[float], None]
    calls: Callable[[], dict[str, int]]
    wait_s: float = 30.0
    dry_run: bool = False
    full: bool = False
    selection: Selection | None = None
    on_poll: Callable[[Kind, Polled], None] = lambda _kind, _polled: None
    on_apply: Callable[[Tally, int], None] = lambda _tally, _left: None
    on_sweep: Callable[[str, int], None] = lambda _kind, _read: None
    lane: Callable[[str], AbstractContextManager[None]] = lambda _lane: nullcontext()
    rate: Callable[[str], float] = lambda _lane: 1.0
    flush: Callable[[], None] = lambda: None
    stopping: Callable[[], bool] = lambda: False
    look: Callable[[Applier], list[dict[str, Any]]] | None = None


class Interrupted(BaseException):
    """Somebody wants the pass to end: what was done is kept, and the next pass goes on from here."""


def run(this: Pass) -> Report:
    """Make one pass and return its report; a halt is in the report, with everything before it kept."""
    on = this.on
    clocks.set_right(on.store, on.now())
    report = Report(uuid.uuid4().hex, on.mapping.version, on.now(), polled={kind.value: 0 for kind in cursors.STREAMS})
    if this.selection is None and not this.dry_run:
        failures.revive(on.store, on.mapping, on.now())
    with on.store.write() as db:
        if this.selection is None:
            outbox.unkeep(db)
        if this.full:
            cursors.rewind(db)
        this = _by_mapping(db, this)
        runs.begin(db, report.run_id, report.mapping_version, report.began_at)
    try:
        _settle(this, report, planned=on)
    except errors.Halt as halt:
        if isinstance(halt, errors.BudgetSpent):
            _spend_reserve(this, report)
        report.halt = halt
        vitals.note_halt(on.store, halt, on.now())
        report.troubles.append(halt.words)
    except errors.Transient as error:
        report.troubles.append(error.words)
    finally:
        this.flush()
        report.calls = this.calls()
        report.seconds = (on.now() - report.began_at).total_seconds()
        with on.store.write() as db:
            report.counts = _counts(db, this, report)
            report.paused = tuple(pauses.standing(db))
            report.excluded = links.excluded(db)
            report.waiting = _waiting(db)
            runs.end(db, report.run_id, on.now(), report.as_json())
    return report


def _by_mapping(db: sa.Connection, this: Pass) -> Pass:
    """Put the pass's mapping in force; a dry run reads by the one that is, and only looks by its own."""
    known = in_force.readable(mappings.in_force(db)) if this.dry_run else None
    if known is not None:
        return replace(this, on=replace(this.on, mapping=known))
    in_force.take_up(db, this.on.mapping, this.on.now(), to_write=not this.dry_run)
    return this


def _waiting(db: sa.Connection) -> list[str]:
    """Return in words what is held, failed or put off, by cause: ids and vendors' words, nothing personal."""
    told = [f"held: {row.words}" for row in outbox.holds(db)]
    told += [f"failed, {count} of them: {words}" for words, count in letters.grouped(backlog.dead_letters(db))]
    return told + [f"put off, {count} of them: {words}" for words, count in letters.grouped(backlog.put_off(db))]


def _settle(this: Pass, report: Report, *, planned: Applier) -> None:
    on = this.on
    trusted = _trust_fields(this, report)
    intake.take_all(on, lambda: _heed(this))
    kinds: Iterable[Kind] = ()
    patience, swept = this.wait_s, False
    for number in range(ROUNDS):
        if number == 0:
            patience = _poll_first(this, report, trusted=trusted, patience=patience)
            cast(this, report, heed=lambda: _heed(this))
        else:
            patience = _poll(this, report, kinds, first=False, patience=patience)
        if this.full and number == 0:
            finished.look_for_done(on)
        if this.selection is not None:
            _choose(this, report, this.selection)
        with on.store.read() as db:
            due = _counts(db, this, report).due
        report.queued += due
        if number == 0 and trusted and (due or report.troubles):
            _ask_for_fields(this, report)
        if this.dry_run:
            report.would_write = this.look(planned) if this.look else look(planned, report.chosen)
            return
        wrote, patience = _apply(this, report, patience)
        kinds = [kind for system, echoes in ECHOES.items() if system in wrote for kind in echoes]
        if kinds:
            continue
        if this.selection is not None:
            return
        brakes.note_first_pass(on.store, on.now())
        if swept or report.troubles or not take_due(this, report, heed=lambda: _heed(this)):
            return
        swept = True
    msg = "the pass keeps causing itself work"
    raise errors.ContractBroken(msg)


def _trust_fields(this: Pass, report: Report) -> bool:
    """Tell whether the CRM is believed to have every field, for it had them lately; else it is asked."""
    with this.on.store.read() as db:
        trusted = not this.full and fields.are_known(db, this.on.mapping, this.on.now())
    if not trusted:
        _ask_for_fields(this, report)
    return trusted


def _ask_for_fields(this: Pass, report: Report) -> None:
    on = this.on
    try:
        fields.check(store=on.store, crm=on.remotes.crm, mapping=on.mapping, now=on.now())
    except errors.Transient as error:
        report.troubles.append(f"the CRM's fields: {error.words}")


def _poll_first(this: Pass, report: Report, *, trusted: bool, patience: float) -> float:
    """Poll every stream; a list that the CRM refuses, though it was believed to have every field, may be so for one of them."""
    try:
        return _poll(this, report, cursors.STREAMS, first=True, patience=patience)
    except errors.ContractBroken:
        if not trusted:
            raise
    _ask_for_fields(this, report)
    return _poll(this, report, cursors.STREAMS, first=False, patience=patience)


def _choose(this: Pass, report: Report, wanted: Selection) -> None:
    """Find out who is meant, once all is polled, and open their changes; later rounds only follow what became of them."""
    report.chosen = database.insist(lambda: _chosen(this, report.chosen, wanted))


def _chosen(this: Pass, before: Chosen | None, wanted: Selection) -> Chosen:
    on = this.on
    with on.store.read() if this.dry_run else on.store.write() as db:
        if before is not None:
            return resync.grown(db, before, on.now())
        chosen = resync.choose(db, wanted, on.now())
        if not this.dry_run:
            resync.reopen(db, chosen, on.now())
        return chosen


def _counts(db: sa.Connection, this: Pass, report: Report) -> backlog.Counts:
    """Return how the outbox stands, with a selection only that of the chosen."""
    if this.selection is None:
        return backlog.count(db, this.on.now())
    return backlog.count(db, this.on.now(), among=dict(resync.kinds(report.chosen or Chosen())))


def _poll(this: Pass, report: Report, kinds: Iterable[Kind], *, first: bool, patience: float) -> float:
    """Poll streams in the order of a pass; one that cannot be reached is named and the others go on."""
    for kind in kinds:
        busy_s = 0.0
        while True:
            polled, wait = _poll_once(this, report, kind, patience)
            if polled is not None and not (polled.busy and busy_s < ANOTHERS_S):
                # Later rounds read the overlap once more: only what is news there counts.
                report.polled[kind.value] += polled.read if first else polled.moved
                break
            if polled is not None:
                busy_s += BUSY_S
                wait = BUSY_S
            elif wait is None:
                break
            else:
                patience -= wait
            this.sleep(wait)
        this.flush()
    return patience


def _poll_once(this: Pass, report: Report, kind: Kind, patience: float) -> tuple[Polled | None, float | None]:
    """Return what a poll brought, or how long to wait before the next try; neither, if the trouble is now in the report."""
    on = this.on

    def on_page(told: Polled) -> None:
        this.on_poll(kind, told)
        _heed(this)

    try:
        with this.lane(timing.lane_of(on.store, kind)):
            polled = database.insist(
                lambda: poll(
                    kind,
                    store=on.store,
                    remotes=on.remotes,
                    mapping=on.mapping,
                    names=on.names,
                    now=on.now,
                    on_page=on_page,
                )
            )
    except errors.Transient as error:
        wait = error.retry_after_s if isinstance(error, errors.Throttled) else None
        if wait is not None and wait <= patience:
            return None, wait
        report.troubles.append(f"{kind.value}: {error.words}")
        return None, None
    return polled, None


def _heed(this: Pass) -> None:
    """End the pass between two pages or batches if somebody wants it to end, or puts another mapping in force."""
    if this.stopping():
        raise Interrupted
    with this.on.store.read() as db:
        in_force.guard(db, this.on.mapping)


def _spend_reserve(this: Pass, report: Report) -> None:
    """Apply the opt-outs that are due: they alone may spend what is kept of an hour's calls for them."""
    with contextlib.suppress(errors.Halt, errors.Transient), this.lane(lanes.OPT_OUT):
        while not this.dry_run and this.selection is None and not this.stopping():
            told = apply.apply_people(this.on, lanes=(Lane.OPT_OUT,))
            report.tally.add(told)
            if not told.claimed:
                return


def _apply(this: Pass, report: Report, patience: float) -> tuple[set[System], float]:
    """Apply until nothing is due, waiting for what falls due within our patience; return which sides were written."""
    on, wrote, busy_s = this.on, set(), 0.0

    def heed() -> None:
        this.flush()
        _heed(this)

    while True:
        heed()
        told = resync.claim(on, report.chosen, heed)
        report.tally.add(told)
        wrote |= {System.CRM} if told.wrote_crm else set()
        wrote |= {System.OUTREACH} if told.wrote_outreach else set()
        this.flush()
        if this.selection is not None and told.claimed:
            _choose(this, report, this.selection)  # whoever was brought to Outreach is a prospect now
        with on.store.read() as db:
            counts = _counts(db, this, report)
        this.on_apply(report.tally, counts.due)
        if told.claimed:
            continue
        if counts.leased and busy_s < ANOTHERS_S:
            busy_s += BUSY_S
            this.sleep(BUSY_S)
            continue
        if counts.next_at is None or not counts.deferred:
            return wrote, patience
        wait = max(BUSY_S, (counts.next_at - on.now()).total_seconds())
        if wait > patience:
            return wrote, patience
        patience -= wait
        this.sleep(wait)
