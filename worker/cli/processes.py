"""`outbook up`, `worker`, `beat`: the deployment in one command, and the single processes of production."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import sqlalchemy.exc
import typer

from worker import bootstrap, config, embedded
from worker.store import vitals

ALL_QUEUES = "optout,apply,poll,slow"
BULK_QUEUES = "apply,poll,slow"
NEEDS_BROKER = "OUTBOOK_BROKER_URL: missing; name a Redis or Valkey, or let `outbook up` start one"


def worker(
    queues: str = typer.Option(ALL_QUEUES, help="The queues to serve, comma separated."),
    concurrency: int = typer.Option(2, min=1, help="How many tasks at once."),
) -> None:
    """Serve the queues until told to stop. SIGTERM ends after the current batch."""
    # Celery reads this when it is imported: SIGTERM then waits for running tasks a bounded time (facts, delivery A.2 #12).
    os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")
    settings = _with_broker()
    from worker import app, tasks

    tasks.in_force()
    app.configure(settings).worker_main(
        [
            "worker",
            *("--queues", queues, "--concurrency", str(concurrency), "--pool", "prefork", "--loglevel", "INFO"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            *("--hostname", f"{queues.partition(',')[0]}@%h"),
        ]
    )


def beat() -> None:
    """Ring for polls and sweeps at their times. Two do no harm, for the store decides."""
    settings = _with_broker()
    bootstrap.begin_mapping(settings)
    from worker import app

    ticks = vitals.Ticks(bootstrap.open_store(settings))

    def note() -> None:
        with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):  # whoever looks on sees the tick grow old
            ticks.note(vitals.BEAT, bootstrap.now())

    app.after_each_ring(note)
    app.date_ticks(bootstrap.now)
    app.configure(settings).start(["beat", "--loglevel", "WARNING", "--pidfile="])


def up() -> None:
    """Run the whole deployment: broker, workers, beat, web. A child that dies comes back; Ctrl-C stops them all."""
    from worker.web import server

    settings = config.load(os.environ, Path.cwd(), also=server.lacking)
    with bootstrap.runtime(settings, bootstrap.begin_mapping(settings)):
        pass
    raise typer.Exit(deployment(settings).run())


def deployment(settings: config.Settings) -> embedded.Supervisor:
    """Return the supervised processes of one box; without a broker in the settings one is started."""
    url = settings.broker_url.get_secret_value()
    children: list[embedded.Child] = []
    if not url:
        broker = embedded.Broker(settings.data_dir)
        children.append(broker.child)
        url = broker.url
    env = {"OUTBOOK_BROKER_URL": url}
    return embedded.Supervisor([*children, *processes(env)])


def processes(env: dict[str, str]) -> list[embedded.Child]:
    """Return the processes of a deployment beside its broker."""

    def child(name: str, *argv: str) -> embedded.Child:
        return embedded.Child(name, (sys.executable, "-m", "worker", *argv), env)

    return [
        child("worker", "worker", "--queues", BULK_QUEUES),
        # Under a backlog the others are busy applying: what is new, an opt-out above all, must still be read in time.
        child("poll", "worker", "--queues", "poll"),
        child("optout", "worker", "--queues", "optout"),  # two at once: webhooks looked at must not hold opt-outs up
        child("beat", "beat"),
        child("web", "web"),  # says where it listens
    ]


def _with_broker() -> config.Settings:
    return config.load(
        os.environ, Path.cwd(), also=lambda values: () if values.get("OUTBOOK_BROKER_URL") else [NEEDS_BROKER]
    )
