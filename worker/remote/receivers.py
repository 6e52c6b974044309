"""Receivers of alerts: an address that a JSON document is posted to, a command that reads it. Each within five seconds."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import httpx

from worker.remote import base

if TYPE_CHECKING:
    from collections.abc import Mapping

WITHIN_S = 5.0


class NotDelivered(Exception):
    """The receiver did not take it. The words say why, without its address."""


def post(url: str, document: Mapping[str, Any]) -> None:
    """Post the document; anything but an answer of 2xx raises NotDelivered. Redirects are not followed, no body is read."""
    headers = {"Content-Type": "application/json", "User-Agent": base.user_agent()}
    try:
        with (
            httpx.Client(timeout=WITHIN_S, follow_redirects=False) as client,
            client.stream("POST", url, content=json.dumps(document).encode(), headers=headers) as reply,
        ):
            status = reply.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotDelivered(f"OUTBOOK_ALERT_URL: no answer ({type(error).__name__})") from None
    if not httpx.codes.is_success(status):
        raise NotDelivered(f"OUTBOOK_ALERT_URL: answered {status}")


def run(command: str, document: Mapping[str, Any]) -> None:
    """Run the command, without a shell, with the document on stdin; NotDelivered unless it ends with 0 in time.

    It inherits the environment less our own variables, which hold secrets.
    """
    environ = {name: text for name, text in os.environ.items() if not name.startswith("OUTBOOK_")}
    try:
        done = subprocess.run(
            shlex.split(command),
            input=json.dumps(document).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=WITHIN_S,
            check=False,
            env=environ,
        )
    except subprocess.TimeoutExpired:
        raise NotDelivered(f"OUTBOOK_ALERT_COMMAND: not done within {WITHIN_S:.0f} s") from None
    except (OSError, ValueError, IndexError) as error:
        raise NotDelivered(f"OUTBOOK_ALERT_COMMAND: cannot be run ({type(error).__name__})") from None
    if done.returncode:
        raise NotDelivered(f"OUTBOOK_ALERT_COMMAND: ended with {done.returncode}")
