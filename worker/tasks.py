"""The tasks: each finds its runtime, calls one function of ``sync``, and rings for what that leaves to do.

A message says only "look here". Losing all of them loses nothing, for the sweep rings again; getting each ten times doubles
nothing, for the rows in the store decide.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import time
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import celery
import kombu.exceptions
import redis
import sqlalchemy as sa
import structlog

from worker import bootstrap, config
from worker.app import EVENTS_S, LASTS, RUNG, app
from worker.core import errors, lanes
from worker.core.records import Kind
from worker.remote import deadline
from worker.store import backlog, clocks, database, exchanges, mappings, outbox, vitals, webhooks, wording
from worker.store.outbox import Lane
from worker.sync import (
    alerts,
    apply,
    brakes,
    failures,
    feeds,
    fields,
    intake,
    reconcile,
    resync,
    skips,
    strangers,
    subscriptions,
    timing,
)
from worker.sync import sweep as rounds
from worker.sync.outlook import Lookout
from worker.sync.poll import poll as poll_stream
from worker.sync.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.bootstrap import Runtime
    from worker.config import Settings
    from worker.core.mapping import Mapping
    from worker.sync.case import Applier
    from worker.sync.poll import Polled

log = structlog.get_logger("outbook")
POLL_FOR = timedelta(seconds=40)
"""A first load takes as many tasks of this length as it needs; each goes on from the last page."""
CALLS_S = 46.0
"""So long a task may call out in all: it ends by itself before Celery ends it after 50 s, in the midst of whatever it does."""
APPLY_S = 1.0
"""So long a message goes on applying: many batches where much is due, and whatever else waits for this worker waits little."""
OUTAGE_S = 60.0
AWAY = "the database cannot be used"
AFTERWARDS = (
    "nothing is lost and work goes on by itself once it can; start it, give it room, or mend OUTBOOK_DATABASE_URL"
)
RINGS = 4
"""Messages a sweep sends at most: as many as workers can usefully take up at once."""


@cache
def in_force() -> tuple[Settings, Mapping]:
    """Return the settings, and the mapping in force as the worker started: its children inherit the answer."""
    settings = config.load(os.environ, Path.cwd())
    return settings, bootstrap.begin_mapping(settings)


_opened: list[Runtime] = []


def runtime() -> Runtime:
    """Return this process's runtime, opened at the first task: a pool's child must not share what its parent opened."""
    if not _opened:
        stack = contextlib.ExitStack()
        atexit.register(stack.close)
        _opened.append(stack.enter_context(bootstrap.runtime(*in_force())))
    return _opened[0]


def heed_mapping() -> None:
    """Go by the mapping that is in force now; a new one is first compared with what the CRM has."""
    on = runtime()
    with on.store.read() as db:
        if mappings.version(db) in {None, on.mapping.version}:
            return
    _opened[0] = on = replace(on, mapping=bootstrap.known_mapping(on.settings, on.store))
    log.info("mapping_taken_up", version=on.mapping.version)
    fields.check(store=on.store, crm=on.remotes.crm, mapping=on.mapping, now=bootstrap.now())


class Outage:
    """A database that is away: told of once a minute, not with every task, and once when it is back."""

    def __init__(self) -> None:
        self._told: float | None = None
        self._put_off = 0

    def note(self, task: str, why: str, error: BaseException) -> None:
        """Count a task that found no database; where it came up is told to whoever listens that closely."""
        log.debug("database_away", task=task, exc_info=error)
        self._put_off += 1
        if self._told is None or time.monotonic() - self._told >= OUTAGE_S:
            self._told = time.monotonic()
            log.error("database_away", put_off=self._put_off, reason=f"{AWAY} ({why}): {AFTERWARDS}")

    def over(self) -> None:
        """Begin anew, now that a task has found its database."""
        if self._told is not None:
            log.info("database_back", put_off=self._put_off)
            self._told, self._put_off = None, 0


outage = Outage()


class OutbookTask(celery.Task):  # type: ignore[type-arg]
    """Turns a foreseen fault into one line: the row in the store says what happens next, not the message."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Celery's own signature
        """Run the task; a halt is an error, anything transient a warning, a database that is away one error for all."""
        try:
            runtime()  # once it is open it knows the clock that all hosts go by
            if self._is_stale():  # asked without a query: hours with no worker leave thousands of ticks behind
                return
            self._attempt(*args, **kwargs)
            outage.over()
        except sa.exc.DBAPIError as error:
            if database.collided(error):
                log.warning(
                    "put_off", task=self.name, reason="the database ended it for another's sake; it comes again"
                )
                return
            why = database.why_away(error)
            if why is None:
                raise
            outage.note(self.name, why, error)

    def _attempt(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as above
        try:
            with deadline.within(CALLS_S):
                heed_mapping()
                runtime().guard.heed()
                self.run(*args, **kwargs)
        except errors.Halt as halt:
            log.error("halted", task=self.name, reason=halt.words)  # noqa: TRY400 - a foreseen fault has no traceback
            if _opened:
                vitals.note_halt(_opened[0].store, halt, bootstrap.now())
        except errors.OutbookError as error:
            log.warning("put_off", task=self.name, reason=error.words)
        finally:
            if _opened:
                _opened[0].flush()
                if queue := (self.request.delivery_info or {}).get("routing_key"):
                    _opened[0].ticks.note(queue, bootstrap.now())

    def _is_stale(self) -> bool:
        """Tell whether the next tick of beat has come before this one was taken up; by the store's clock, not by hosts'."""
        rung, lasts_s = self.request.get(RUNG), self.request.get(LASTS)
        return bool(rung and lasts_s) and bootstrap.now() - datetime.fromisoformat(rung) > timedelta(seconds=lasts_s)


def ring(task: str, *args: str) -> None:
    """Send a message, if the broker takes it; if not, the sweep will."""
    with contextlib.suppress(kombu.exceptions.OperationalError, redis.RedisError, OSError):
        app.send_task(task, args=args)


def ring_for_due() -> None:
    """Ring for what can be claimed now: for opt-outs by a message of their own, and only where there are any."""
    with runtime().store.read() as db:
        due = backlog.lanes_due(db, bootstrap.now())
    if Lane.OPT_OUT in due:
        ring("outbook.opt_outs")
    if due:
        ring("outbook.apply")


def work_off(task: str, *works: Callable[[Applier], Tally], **words: str) -> None:
    """Carry out batch after batch until nothing is due, or until the time is up; then ring for what is left.

    Where nothing was due nothing is looked for again before the others are done too: their work may have made some.
    """
    told, busy, until = Tally(), works, time.monotonic() + APPLY_S

    def did(work: Callable[[Applier], Tally]) -> int:
        batch = work(runtime().applier())
        told.add(batch)
        return batch.claimed

    try:
        while busy and time.monotonic() < until:
            asked, busy = busy, tuple(work for work in busy if did(work))
            if not busy and asked != works:
                busy = works
    finally:
        if told.claimed:
            log.info("applied", **words, **told.counts())
    if busy:
        ring(task)


@app.task(name="outbook.poll", base=OutbookTask)
def poll(stream: str) -> None:
    """Read a stream, and ring for what it brought; one that takes long goes on in another task."""
    on = runtime()

    def rung(polled: Polled) -> None:
        if polled.queued:
            ring_for_due()

    kind, every_s, rate = Kind(stream), on.settings.poll_seconds, on.rate(lanes.POLLS)
    if not timing.is_due(on.store, kind, every_s, bootstrap.now(), rate):
        return
    with bootstrap.lane(timing.lane_of(on.store, kind)):
        if rate < 1 and kind in timing.BY_WEBHOOK:
            intake.take(**on.reading())  # so that what a poll still finds was told by no webhook
        told = poll_stream(
            kind, **on.reading(), until=bootstrap.now() + POLL_FOR, every=timedelta(seconds=every_s), on_page=rung
        )
    log.info("polled", stream=stream, read=told.read, moved=told.moved, queued=told.queued, busy=told.busy)
    if not told.ended:
        ring("outbook.poll", stream)
    elif not told.busy:
        timing.plan_next(on.store, kind, every_s, bootstrap.now(), rate=rate, moved=told.moved)


@app.task(name="outbook.hints", base=OutbookTask)
def take_hints() -> None:
    """Look at the webhooks that wait, and ring for what they brought; after a full batch for the next."""
    if not timing.hints_are_due(runtime().store, bootstrap.now(), runtime().rate(lanes.POLLS)):
        return
    with bootstrap.lane(lanes.POLLS):
        told = intake.take(**runtime().reading())
    if told.read:
        log.info("hinted", read=told.read, moved=told.moved, queued=told.queued)
    if told.queued:
        ring_for_due()
    if told.more:
        ring("outbook.hints")


@app.task(name="outbook.watch_webhooks", base=OutbookTask)
def watch_webhooks() -> None:
    """Renew what Outreach has switched off, warn when webhooks have fallen silent, forget events of long ago."""
    on, secret = runtime(), subscriptions.secret_of(runtime().settings)
    if silence := subscriptions.silence(on.store, bootstrap.now()):
        log.warning("webhooks_silent", reason=silence)
    may = on.settings.writes == "all"
    done = subscriptions.watch(on.store, on.remotes.outreach, secret, bootstrap.now()) if secret and may else None
    if done is not None:
        log.info("webhooks_watched", created=done.created, renewed=done.renewed, refused=done.refused)
    webhooks.clean_all(on.store, bootstrap.now())
    exchanges.prune(on.store, bootstrap.now())


@app.task(name="outbook.apply", base=OutbookTask)
def apply_due() -> None:
    """Apply what is due of people and of tasks, and ring for what is left."""
    work_off("outbook.apply", apply.apply_people, strangers.apply_strangers, skips.apply_tasks)


@app.task(name="outbook.opt_outs", base=OutbookTask)
def opt_outs() -> None:
    """Apply the opt-outs that are due, and ring for what is left."""
    with bootstrap.lane(bootstrap.OPT_OUT):
        work_off("outbook.opt_outs", partial(apply.apply_people, lanes=(Lane.OPT_OUT,)), lane="optout")


@app.task(name="outbook.sweep", base=OutbookTask)
def sweep() -> None:
    """Ring for whatever is due: messages may have been lost, retries have come due, leases run out, a clock been set back."""
    on = runtime()
    if clocks.set_right(on.store, bootstrap.now()):
        log.warning("clock_set_back")
    failures.revive(on.store, on.mapping, bootstrap.now())
    with on.store.read() as db:
        due = backlog.claimable(db, bootstrap.now())
        hinted = webhooks.any_free(db, bootstrap.now())
    if not due:
        brakes.note_first_pass(on.store, bootstrap.now())
    if hinted:
        ring("outbook.hints")
    if due.get(Lane.OPT_OUT):
        ring("outbook.opt_outs")
    for _ in range(min(RINGS, -(-sum(due.values()) // outbox.BATCH))):
        ring("outbook.apply")


@app.task(name="outbook.round", base=OutbookTask)
def take_round() -> None:
    """Take the slices of the rolling sweep that are due, and ring for what they brought."""
    with bootstrap.lane(rounds.LANE):
        rate = runtime().rate(rounds.LANE)
        for told in rounds.roll(runtime().applier(), bootstrap.now() + POLL_FOR, rate=rate):
            log.info("swept", stream=told.kind, read=told.read, missed=told.missed, removed=told.removed)
            if told.trouble:
                log.warning("put_off", task="outbook.round", reason=told.trouble)
            if told.missed or told.removed:
                ring_for_due()


@app.task(name="outbook.reconcile", base=OutbookTask)
def compare() -> None:
    """Compare the next slice of both sides if it is due, and ring for what nothing else had shown."""
    with bootstrap.lane(reconcile.LANE):
        told = reconcile.take_due(runtime().applier(), rate=runtime().rate(reconcile.LANE))
    if not told.busy:
        log.info("compared", read=told.read, pairs=told.compared, differences=told.found, missed=told.missed)
        ring_for_due()


@app.task(name="outbook.events", base=OutbookTask)
def listen() -> None:
    """Read what Outreach tells beside its records, as far as the token may, and ring for what that brought."""
    on = runtime()
    if not timing.feeds_are_due(on.store, EVENTS_S, bootstrap.now(), on.rate(lanes.POLLS)):
        return
    with bootstrap.lane(lanes.POLLS):
        heard = feeds.listen(on.applier())
    for told in heard:
        log.info(
            "heard", feed=told.feed, read=told.read, opted_out=told.opted_out, moved=told.moved, trouble=told.trouble
        )
        if told.queued:
            ring_for_due()


@cache
def lookout() -> Lookout:
    """Return what draws the outlook for this process."""
    return Lookout(runtime().settings, runtime().store, bootstrap.now)


@app.task(name="outbook.alerts", base=OutbookTask)
def alert() -> None:
    """Tell whoever is to be alerted what has changed."""
    on = runtime()
    alerts.tell(on.store, lookout().look(), alerts.receivers_of(on.settings), bootstrap.now)


@app.task(name="outbook.check_fields", base=OutbookTask)
def check_fields() -> None:
    """Look whether the CRM has every field and label that the mapping names."""
    on = runtime()
    for lack in fields.check(store=on.store, crm=on.remotes.crm, mapping=on.mapping, now=bootstrap.now()):
        log.warning("stopped", field=lack.field, reason=lack.words)


@app.task(name="outbook.resync", base=OutbookTask)
def resync_chosen(**words: Any) -> None:  # noqa: ANN401 - JSON, checked word by word
    """Queue records again, told by the words of SELECTION: ``{"sequence": 3, "failed": true}``; see ``store.wording``."""
    on = runtime()
    selection = wording.worded(words, bootstrap.now())
    told = resync.resync(on.store, selection, names=on.names, now=bootstrap.now())
    log.info(
        "queued_again", queued=len(told.queued), **{f"skipped_{why}": count for why, count in told.counts().items()}
    )
    ring("outbook.apply")
