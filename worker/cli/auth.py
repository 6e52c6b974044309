"""`outbook auth`: the OAuth round trip, with or without a browser on this machine."""

from __future__ import annotations

import os
import queue
import secrets
import sys
import time
import webbrowser
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from worker import bootstrap, config
from worker.bootstrap import Runtime
from worker.cli import callback
from worker.cli.callback import Answer
from worker.cli.show import local, say_json
from worker.config import Settings
from worker.core import errors, scopes
from worker.core.records import System
from worker.remote import outreach_tokens
from worker.remote.outreach_tokens import TokenPair
from worker.store.vault import Vault
from worker.sync.tenants import WrongTenant

WAIT_S = 300
PATIENCE_S = 75
"""Outreach mints one token a minute, and a worker may just have had it (facts, outreach-api 1.1)."""

app = typer.Typer(help="Let Outbook into a vendor's system.", no_args_is_help=True)


@app.callback()
def _noun() -> None:
    """Let Outbook into a vendor's system."""


@app.command()
def outreach(
    *,
    manual: Annotated[
        bool, typer.Option("--manual", help="Open no browser here: print the address, read what comes back.")
    ] = False,
    least: Annotated[
        bool, typer.Option("--least", help="Ask only for what the mapping cannot do without: no events, no webhooks.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON document.")] = False,
) -> None:
    """Authorise Outbook in Outreach. The tokens are stored encrypted; running workers take them up by themselves.

    Log in there as the user whom Outbook is to act for, and permit what is asked. With a redirect address on this machine
    (http://localhost:PORT/...) the browser brings the answer here; else, or with --manual, paste the address it ends at.
    """
    settings = _settings()
    with bootstrap.runtime(settings, guarded=False) as on:
        if not isinstance(on.tokens, Vault):
            raise TypeError("a fixed token was refused before")
        asked = (*scopes.needed(on.mapping), *(() if least else scopes.BETTER))
        pair = _redeemed(on, _code(settings, asked, manual=manual))
        on.tokens.put(pair)
        whose = _whose(on)
    if as_json:
        told = {"organisation": whose, "scopes": list(asked), "expires_at": pair.expires_at.isoformat()}
        say_json(told)
        return
    typer.echo(f"authorised{f' for {whose}' if whose else ''}; asked for: {' '.join(asked)}")
    typer.echo(f"the token lasts until {local(pair.expires_at)} and is renewed by itself; running workers take it up")


def _settings() -> Settings:
    settings = config.load(os.environ, Path.cwd(), credentials=False)
    mine = settings.outreach
    needed = (
        ("OUTBOOK_OUTREACH__CLIENT_ID", mine.client_id),
        ("OUTBOOK_OUTREACH__CLIENT_SECRET", mine.client_secret.get_secret_value()),
        ("OUTBOOK_OUTREACH__REDIRECT_URI", mine.redirect_uri),
    )
    problems = [f"{name}: missing" for name, text in needed if not text]
    if mine.access_token.get_secret_value():
        problems.append("OUTBOOK_OUTREACH__ACCESS_TOKEN: set, and it goes before what is authorised; unset it first")
    if problems:
        raise config.SettingsInvalid(problems)
    return settings


def _code(settings: Settings, asked: tuple[str, ...], *, manual: bool) -> str:
    """Return the code that Outreach gives once somebody has permitted this; AuthRevoked if nobody does."""
    mine, state = settings.outreach, secrets.token_urlsafe(24)
    url = outreach_tokens.authorise_url(
        mine.base_url, client_id=mine.client_id, redirect_uri=mine.redirect_uri, scopes=asked, state=state
    )
    if manual or not callback.is_here(mine.redirect_uri):
        answer = _pasted(url, state)
    else:
        answer = _brought(mine.redirect_uri, url, state)
    if answer.refusal:
        hint = "; permit the app these scopes in Outreach, or use --least" if "scope" in answer.refusal else ""
        raise errors.AuthRevoked(f"Outreach did not authorise it: {answer.refusal}{hint}", system=System.OUTREACH)
    return answer.code


def _brought(redirect_uri: str, url: str, state: str) -> Answer:
    try:
        with callback.listening(redirect_uri, state) as came:
            sys.stderr.write(f"outbook: open this address, unless your browser has done so:\n{url}\n")
            webbrowser.open(url)
            return came.get(timeout=WAIT_S)
    except queue.Empty:
        words = f"nobody authorised it within {WAIT_S // 60} minutes; start again, with --manual if the browser is elsewhere"
        raise errors.AuthRevoked(words, system=System.OUTREACH) from None
    except OSError as fault:
        words = f"its port cannot be listened on ({fault.strerror}); free it, or use --manual"
        raise config.SettingsInvalid([f"OUTBOOK_OUTREACH__REDIRECT_URI: {words}"]) from None


def _pasted(url: str, state: str) -> Answer:
    sys.stderr.write(
        f"outbook: open this address in a browser:\n{url}\noutbook: then paste here the address at which the browser ends "
        "(the page itself need not load), or the code in it:\n"
    )
    sys.stderr.flush()
    text = sys.stdin.readline().strip()
    if not text:
        raise config.SettingsInvalid(["nothing was pasted; start again"])
    if "code=" not in text and "error=" not in text and "/" not in text:
        return Answer(code=text)
    answer = callback.read(urlsplit(text).query or text.lstrip("?"), state)
    if answer is None:
        raise config.SettingsInvalid(["what was pasted does not answer this request (its state differs); start again"])
    return answer


def _redeemed(on: Runtime, code: str) -> TokenPair:
    """Return the pair for the code, after the minute that must pass if a worker has just renewed."""
    mine = on.settings.outreach
    for last in (False, True):
        try:
            return outreach_tokens.redeem(
                on.remotes.outreach.client,
                client_id=mine.client_id,
                client_secret=mine.client_secret.get_secret_value(),
                redirect_uri=mine.redirect_uri,
                code=code,
            )
        except errors.Throttled as wait:
            if last or wait.retry_after_s > PATIENCE_S:
                raise
            sys.stderr.write(f"outbook: Outreach asks to wait {wait.retry_after_s:.0f} s\n")
            time.sleep(wait.retry_after_s)
    raise AssertionError  # pragma: no cover - the second try returns or raises


def _whose(on: Runtime) -> str | None:
    """Return the organisation that the new tokens open. WrongTenant if the store belongs to another one."""
    try:
        on.guard.before_call(System.OUTREACH)
        return on.guard.ask[System.OUTREACH]()
    except WrongTenant:
        raise
    except errors.OutbookError as error:
        sys.stderr.write(
            f"outbook: the tokens are stored; whose organisation they open is not known yet: {error.words}\n"
        )
        return None
