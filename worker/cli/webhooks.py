"""`outbook webhooks`: Outreach's subscriptions to our receiver, made, watched and ended."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.markup import escape

from worker import bootstrap, config
from worker.cli.asking import may_write
from worker.cli.exits import UNFINISHED
from worker.cli.show import local, page, say_json, table
from worker.sync import subscriptions
from worker.sync.subscriptions import Standing

app = typer.Typer(help="Let Outreach tell what happens, instead of being asked.", no_args_is_help=True)
PATH = "/webhooks/outreach"
LONGEST = 1024
_AsJson = Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON document.")]


@app.command()
def setup(
    url: Annotated[str, typer.Option(help=f"Where Outreach reaches `outbook web`: https://your.host{PATH}.")],
    *,
    as_json: _AsJson = False,
) -> None:
    """Subscribe to what the mapping needs; what is there is kept, what was switched off is renewed."""
    settings = config.load(os.environ, Path.cwd())
    may_write(settings, "Outreach")
    secret = subscriptions.secret_of(settings)
    if secret is None:
        raise config.SettingsInvalid(["OUTBOOK_OUTREACH__WEBHOOK_SECRET: missing; make up a long one, for both sides"])
    place = _place(url, insecure=settings.allow_insecure_hosts)
    with bootstrap.runtime(settings) as on:
        done = subscriptions.setup(on.store, on.remotes.outreach, place, secret, bootstrap.now())
        found = subscriptions.standing(on.store, on.remotes.outreach, bootstrap.now())
    told = {"created": done.created, "renewed": done.renewed, "removed": done.ended, "refused": done.refused}
    if as_json:
        say_json({"url": place, **told, **_told(found)})
    else:
        for words, resources in told.items():
            typer.echo(f"{words}: {', '.join(resources) or 'none'}")
        typer.echo("next: outbook webhooks status")
    for resource, words in done.refused.items():
        sys.stderr.write(f"outbook: Outreach refuses {resource}: {words}\n")
    if done.refused:
        raise typer.Exit(UNFINISHED)


@app.command()
def status(*, as_json: _AsJson = False) -> None:
    """Show the subscriptions as Outreach has them, when the last webhook came, and what is wrong."""
    settings = config.load(os.environ, Path.cwd())
    with bootstrap.runtime(settings) as on:
        found = subscriptions.standing(on.store, on.remotes.outreach, bootstrap.now())
    if as_json:
        say_json({"url": found.known.url if found.known else None, **_told(found)})
    else:
        _show(found)
    for words in found.troubles:
        sys.stderr.write(f"outbook: {words}\n")
    if found.troubles:
        raise typer.Exit(UNFINISHED)


@app.command()
def remove(
    url: Annotated[
        str | None, typer.Option(help="Also those to this address, if it is another than the last one.")
    ] = None,
    *,
    as_json: _AsJson = False,
) -> None:
    """End our own subscriptions, and nobody else's; the polls go on at full pace."""
    settings = config.load(os.environ, Path.cwd())
    may_write(settings, "Outreach")
    place = _place(url, insecure=settings.allow_insecure_hosts) if url else None
    with bootstrap.runtime(settings) as on:
        gone = subscriptions.remove(on.store, on.remotes.outreach, place)
    if as_json:
        say_json({"removed": [subscriptions.as_json(one) for one in gone]})
    else:
        typer.echo(f"removed: {', '.join(one.resource for one in gone) or 'none'}")


def _place(url: str, *, insecure: bool) -> str:
    """Return the receiver's address, its path added if none is named. SettingsInvalid if Outreach cannot use it."""
    try:
        parts = urlsplit(url.strip())
        readable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        readable = False
    if not readable or parts.username is not None or parts.fragment:
        raise config.SettingsInvalid([f"--url: must look like https://your.host{PATH}"])
    if parts.scheme != "https" and not (insecure and parts.scheme == "http"):
        raise config.SettingsInvalid(["--url: must begin with https://, Outreach delivers to nothing else"])
    place = parts._replace(path=PATH).geturl() if parts.path in {"", "/"} else parts.geturl()
    if len(place) > LONGEST:
        raise config.SettingsInvalid([f"--url: Outreach takes no more than {LONGEST} characters"])
    return place


def _told(found: Standing) -> dict[str, object]:
    pulse = found.pulse
    return {
        "webhooks": [subscriptions.as_json(one) for one in found.ours],
        "last_arrived": pulse.arrived_at.isoformat() if pulse.arrived_at else None,
        "waiting": pulse.waiting,
        "troubles": found.troubles,
    }


def _show(found: Standing) -> None:
    if found.known is None:
        typer.echo("webhooks are not set up; next: outbook webhooks setup --url https://your.host" + PATH)
        return
    listed = table("resource", "id", "delivers", "switched off since", "why", numbers=("id",))
    for one in found.ours:
        why = escape(one.disabled_reason or "")
        listed.add_row(one.resource, str(one.id), "yes" if one.delivers else "no", one.disabled_since or "", why)
    last = found.pulse.arrived_at
    came = local(last) if last else "never, or more than three days ago"
    page(
        f"to {escape(found.known.url)}",
        "",
        listed,
        "",
        f"the last webhook came: {came}; waiting to be looked at: {found.pulse.waiting}",
    )
