"""Celery put together: queues, beat table, settings. The broker is a doorbell; every task is safe to run twice or never.

The settings are those measured in the facts (delivery, A.3): prefetch of one, no results, no retries and no etas of Celery's
own, for waiting is ``next_at`` in the database. Messages are acknowledged before the work, other than there (deploy/adr/0013).
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

import celery
import structlog
from celery.schedules import schedule
from celery.signals import after_task_publish, before_task_publish, setup_logging, task_postrun
from kombu import Queue
from kombu.transport import redis

from worker import telemetry
from worker.store.cursors import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.config import Settings

log = structlog.get_logger("outbook")
OPT_OUT, APPLY, POLL, SLOW = "optout", "apply", "poll", "slow"
SWEEP_S = 5.0
HINTS_S = 1.0
"""How often stored webhooks are looked for, where there can be any: what one tells is in the CRM within five seconds."""
WATCH_S = 3600.0
EVENTS_S = 300.0
ROUND_S = 60.0
"""How often the rolling sweep looks whether a slice is due; the store spreads them over a day."""
RECONCILE_S = 60.0
"""How often the comparison looks whether a slice is due; the store spreads them over a week."""
CHECK_S = 3600.0
ALERTS_S = 30.0
EXPIRES = 0.9
"""A tick that was not taken up before the next one is worthless: it expires after this share of its interval."""
RUNG, LASTS, PATIENCE_S = "rung_at", "lasts_s", 30.0
"""What a tick says of itself. Celery's own ``expires`` is told by the clocks of two hosts, which may be hours apart.

On a machine that is very busy a tick waits for a process that is free: so long it lasts at least, however often it comes.
"""
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ALIVE = Path(tempfile.gettempdir()) / "outbook-alive"
"""Touched with every task that ends or is rung for: what a container's health check looks at."""

app = celery.Celery("outbook", include=["worker.tasks"])
app.conf.update(
    task_queues=[Queue(name, routing_key=name) for name in (OPT_OUT, APPLY, POLL, SLOW)],
    task_default_queue=APPLY,
    task_create_missing_queues=False,
    task_routes={
        "outbook.poll": {"queue": POLL},
        "outbook.apply": {"queue": APPLY},
        "outbook.opt_outs": {"queue": OPT_OUT},
        "outbook.sweep": {"queue": OPT_OUT},
        "outbook.hints": {"queue": OPT_OUT},
        "outbook.watch_webhooks": {"queue": SLOW},
        "outbook.check_fields": {"queue": SLOW},
        "outbook.round": {"queue": SLOW},
        "outbook.reconcile": {"queue": SLOW},
        "outbook.events": {"queue": SLOW},
        "outbook.resync": {"queue": SLOW},
        "outbook.alerts": {"queue": SLOW},
    },
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    result_backend=None,
    task_acks_late=False,  # nothing is left to be acknowledged while the broker is away; see the ADR
    worker_prefetch_multiplier=1,
    task_time_limit=60,
    task_soft_time_limit=50,
    task_publish_retry=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_channel_error_retry=True,  # a broker that refuses, its memory or disk being full, is waited for and ends nobody
    broker_transport_options={
        "visibility_timeout": 600,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 2,
        "unacked_mutex_expire": 30,
        "socket_timeout": 5,  # above the second that a worker waits for a message; it bounds how long a ring may hang
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 15,
        "global_keyprefix": "outbook:",
        "client_name": "outbook",
    },
    # A busy worker waits this long, whenever its task ends; below the supervisor's patience (`embedded.GRACE_S`).
    worker_soft_shutdown_timeout=10,
    # Nothing waits in a worker of ours (no eta, no countdown), so an idle one may end at once.
    worker_enable_soft_shutdown_on_idle=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_max_tasks_per_child=500,
    worker_max_memory_per_child=300_000,
    worker_hijack_root_logger=False,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    beat_scheduler="celery.beat:Scheduler",
    timezone="UTC",
)


class Slots(redis.QoS):
    """Counts the messages in hand; one that is done with is counted no more, though the broker was away to be told.

    kombu 5.7 goes on counting it for ever: every such loss takes one of a worker's slots, and without any it asks for nothing,
    thus never hears that its connection is dead. What the broker keeps of it comes again, and finds nothing to do.
    """

    def ack(self, delivery_tag: str) -> None:
        """The message is done with, also where this raises."""
        try:
            super().ack(delivery_tag)
        except BaseException:
            self._quick_ack(delivery_tag)  # type: ignore[attr-defined]
            raise

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's own signature
        """The message is done with, also where this raises."""
        try:
            super().reject(delivery_tag, requeue=requeue)
        except BaseException:
            self._quick_ack(delivery_tag)  # type: ignore[attr-defined]
            raise


class Line(redis.Channel):
    """Reads messages; what is none, not even JSON, is dropped with a word, for kombu's worker would end of it."""

    QoS = Slots

    def _brpop_read(self, **options: object) -> bool:
        try:
            return bool(super()._brpop_read(**options))  # type: ignore[misc]
        except ValueError as error:
            log.warning("no_message", reason=type(error).__name__)
            raise Empty from None


redis.Transport.Channel = Line


def _steady() -> datetime:
    """Return a time that goes on evenly whatever the host's clock is set to: beat asks only how long ago something was."""
    return EPOCH + timedelta(seconds=time.monotonic())


def beat_table(poll_seconds: float, *, webhooks: bool = False) -> dict[str, dict[str, Any]]:
    """Return what is rung when: each stream, the sweep, the hourly look at the CRM's fields, webhooks where there are any."""

    def entry(task: str, every: float, *args: str) -> dict[str, Any]:
        evenly = schedule(every, nowfun=_steady)
        return {
            "task": task,
            "schedule": evenly,
            "args": args,
            "options": {"headers": {LASTS: max(every * EXPIRES, PATIENCE_S)}},
        }

    polls = {f"poll-{stream.value}": entry("outbook.poll", poll_seconds, stream.value) for stream in STREAMS}
    if webhooks:
        polls["hints"] = entry("outbook.hints", HINTS_S)
        polls["watch-webhooks"] = entry("outbook.watch_webhooks", WATCH_S)
    return polls | {
        "sweep": entry("outbook.sweep", SWEEP_S),
        "round": entry("outbook.round", ROUND_S),
        "reconcile": entry("outbook.reconcile", RECONCILE_S),
        "events": entry("outbook.events", EVENTS_S),
        "alerts": entry("outbook.alerts", ALERTS_S),
        "check-fields": entry("outbook.check_fields", CHECK_S),
    }


def configure(settings: Settings) -> celery.Celery:
    """Return the application, bound to the broker and the pace that the settings name."""
    table = beat_table(settings.poll_seconds, webhooks=bool(settings.outreach.webhook_secrets))
    app.conf.update(broker_url=settings.broker_url.get_secret_value(), beat_schedule=table)
    return app


def date_ticks(now: Callable[[], datetime]) -> None:
    """Let every tick say when it was rung."""

    def dated(headers: dict[str, Any], **_: object) -> None:
        if LASTS in headers:
            headers[RUNG] = now().isoformat()

    before_task_publish.connect(dated, weak=False)


def after_each_ring(note: Callable[[], None]) -> None:
    """Let something be done whenever this process has rung and the broker took it."""
    after_task_publish.connect(lambda **_: note(), weak=False)


@setup_logging.connect
def _logging(**_: object) -> None:
    """Keep Celery from setting up logging of its own: everything goes through the redacting handler."""
    telemetry.configure()


@task_postrun.connect
@before_task_publish.connect
def _note_progress(**_: object) -> None:
    """Show whoever looks from outside that this process gets on with its work."""
    with contextlib.suppress(OSError):
        ALIVE.touch()
