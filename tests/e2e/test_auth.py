from __future__ import annotations

import io
import socket
import sys
import types
import webbrowser
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.e2e.documents import AUTHORISED as SCHEMA
from tests.e2e.rig import Stage
from tests.e2e.shapes import fits
from worker.cli import auth, callback
from worker.sim import outreach
from worker.sim.outreach_options import Options

LEAST = [
    "prospects.read",
    "prospects.write",
    "sequences.read",
    "sequenceSteps.read",
    "sequenceStates.read",
    "tasks.read",
    "users.read",
]


def _app(stage: Stage, redirect_uri: str) -> None:
    """An OAuth application whose refresh token in the settings is worth nothing."""
    stage.environ.pop("OUTBOOK_OUTREACH__ACCESS_TOKEN", None)
    stage.environ |= {
        "OUTBOOK_OUTREACH__CLIENT_ID": "sim-client",
        "OUTBOOK_OUTREACH__CLIENT_SECRET": "sim-secret",
        "OUTBOOK_OUTREACH__REFRESH_TOKEN": "worn-out",
        "OUTBOOK_OUTREACH__REDIRECT_URI": redirect_uri,
    }


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _browser(monkeypatch: pytest.MonkeyPatch, visit: Callable[[str], object]) -> list[str]:
    """A browser that does what the test says with the address; returns the addresses it was given."""
    opened: list[str] = []

    def open_it(url: str) -> bool:
        opened.append(url)
        visit(url)
        return True

    monkeypatch.setattr(webbrowser, "open", open_it)
    return opened


def _follow(url: str) -> httpx.Response:
    with httpx.Client(trust_env=False, follow_redirects=True, timeout=90) as browser:
        return browser.get(url)


def _typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text + "\n"))


def test_the_browser_brings_the_code_and_work_goes_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A halted sync goes on after the round trip, by the settings' worn-out token beside it; no secret is printed."""
    _app(stage, f"http://localhost:{_free_port()}/done")
    stage.sync(code=5)
    answers: list[httpx.Response] = []
    opened = _browser(monkeypatch, lambda url: answers.append(_follow(url)))
    told = stage.outbook("auth", "outreach", "--json")
    assert told.code == 0, told.err
    fits(told.report, SCHEMA)
    assert told.report["organisation"] == "org-demo"
    assert told.report["scopes"] == [*LEAST, "events.read", "emailAddresses.read", "webhooks.all"]
    asked = parse_qs(urlsplit(opened[0]).query)
    assert asked["scope"] == [" ".join(told.report["scopes"])]
    assert asked["response_type"] == ["code"]
    assert len(asked["state"][0]) == 32
    assert answers[0].status_code == 200
    assert "+" not in opened[0]
    secrets = [*parse_qs(answers[0].url.query.decode())["code"], "sim-secret", "access.", "refresh."]
    assert all(one not in told.out + told.err for one in secrets)
    assert stage.sync().report["converged"] is True


def test_a_seed_never_planted_does_not_come_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Authorised before anything ever ran: the settings' old token does not take the place of the new pair."""
    _app(stage, f"http://127.0.0.1:{_free_port()}/")
    _browser(monkeypatch, _follow)
    assert stage.outbook("auth", "outreach", "--least", "--json").report["scopes"] == LEAST
    assert stage.sync().report["converged"] is True


def test_the_answer_to_another_request_is_not_heeded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forged answer and another page get 400 and change nothing; what Outreach refuses is told, with exit 5."""
    port = _free_port()
    _app(stage, f"http://127.0.0.1:{port}/done")
    answers: list[int] = []

    def visit(url: str) -> None:
        state = parse_qs(urlsplit(url).query)["state"][0]
        queries = ("done?code=c&state=forged", "done?code=c", f"other?code=c&state={state}")
        answers.extend(_follow(f"http://127.0.0.1:{port}/{query}").status_code for query in queries)
        _follow(f"http://127.0.0.1:{port}/done?error=invalid_scope&state={state}")

    _browser(monkeypatch, visit)
    told = stage.outbook("auth", "outreach")
    assert (told.code, answers) == (5, [400, 400, 400])
    assert "invalid_scope; permit the app these scopes in Outreach, or use --least" in told.err
    assert stage.outreach_calls("/oauth/token") == 0


def test_nobody_comes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait ends by itself, with exit 5 and what to do."""
    _app(stage, f"http://127.0.0.1:{_free_port()}/done")
    _browser(monkeypatch, lambda _: None)
    monkeypatch.setattr(auth, "WAIT_S", 0.2)
    told = stage.outbook("auth", "outreach")
    assert told.code == 5
    assert "start again, with --manual" in told.err


def test_a_port_that_is_taken_is_said(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else listens there: exit 4 by the setting's name."""
    _browser(monkeypatch, lambda _: None)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        _app(stage, f"http://127.0.0.1:{other.getsockname()[1]}/done")
        told = stage.outbook("auth", "outreach")
    assert told.code == 4
    assert "OUTBOOK_OUTREACH__REDIRECT_URI: its port cannot be listened on" in told.err


@pytest.mark.parametrize("bare", [False, True], ids=["address", "code"])
def test_by_hand(stage: Stage, monkeypatch: pytest.MonkeyPatch, *, bare: bool) -> None:
    """On a server the address is printed; the whole address that the browser ends at serves, and the code alone."""
    _app(stage, "https://outbook.example/done")

    def pastes() -> str:
        """Return what the browser shows for the address printed last."""
        printed = sys.stderr
        assert isinstance(printed, io.StringIO)
        url = next(line for line in printed.getvalue().splitlines() if line.startswith("http"))
        ends_at = httpx.get(url, trust_env=False).headers["Location"]
        return f"{parse_qs(urlsplit(ends_at).query)['code'][0] if bare else ends_at}\n"

    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(readline=pastes))
    told = stage.outbook("auth", "outreach", "--manual")
    assert told.code == 0, told.err
    assert told.out.startswith("authorised for org-demo; asked for: prospects.read ")
    assert stage.sync().report["converged"] is True


@pytest.mark.parametrize("pasted", ["", "https://outbook.example/done?code=c&state=forged", "https://outbook.example/"])
def test_what_answers_nothing_is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch, pasted: str) -> None:
    """Nothing, another request's answer, an address without one: exit 4, and Outreach is not asked."""
    _app(stage, "https://outbook.example/done")
    _typed(monkeypatch, pasted)
    told = stage.outbook("auth", "outreach", "--manual")
    assert told.code == 4
    assert "start again" in told.err
    assert stage.outreach_calls("/oauth/token") == 0


def test_a_code_that_is_refused_keeps_what_there_is(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 5 with Outreach's words; the tokens stored before still serve."""
    _app(stage, "https://outbook.example/done")
    stage.environ["OUTBOOK_OUTREACH__REFRESH_TOKEN"] = "sim-refresh"
    stage.sync()
    _typed(monkeypatch, "no-such-code")
    told = stage.outbook("auth", "outreach", "--manual")
    assert told.code == 5
    assert "Outreach refuses the code" in told.err
    assert "no-such-code" not in told.err
    stage.sync()


def test_another_organisation_is_told_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store belongs to somebody else: exit 4 and both ways out."""
    _app(stage, f"http://127.0.0.1:{_free_port()}/done")
    stage.environ["OUTBOOK_OUTREACH__REFRESH_TOKEN"] = "sim-refresh"
    stage.sync()
    stage.use(outreach_app=outreach.build(records=0, options=Options(organisation="org-other")))
    _browser(monkeypatch, _follow)
    told = stage.outbook("auth", "outreach")
    assert told.code == 4
    assert "this store belongs to org-demo" in told.err
    assert "outbook db rebind" in told.err


def test_a_mint_within_the_minute_is_waited_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker has just renewed: the code is redeemed after the minute that Outreach asks for."""
    stage.use(outreach_app=outreach.build(records=0, options=Options(mint_throttle=True)))
    _app(stage, f"http://127.0.0.1:{_free_port()}/done")
    stage.environ["OUTBOOK_OUTREACH__REFRESH_TOKEN"] = "sim-refresh"
    stage.sync()
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        stage.later(seconds)

    monkeypatch.setattr(auth, "time", types.SimpleNamespace(sleep=sleep))
    _browser(monkeypatch, _follow)
    told = stage.outbook("auth", "outreach")
    assert told.code == 0, told.err
    assert waited == [60.0]


def test_what_is_missing_is_told_at_once(stage: Stage) -> None:
    """Every setting that lacks is named, and a fixed token is in the way."""
    told = stage.outbook("auth", "outreach")
    assert told.code == 4
    for words in ("CLIENT_ID: missing", "CLIENT_SECRET: missing", "REDIRECT_URI: missing", "ACCESS_TOKEN: set"):
        assert f"OUTBOOK_OUTREACH__{words}" in told.err


@pytest.mark.parametrize(
    "redirect_uri, here",
    [
        ("http://localhost:8765/callback", True),
        ("http://127.0.0.1:8765", True),
        ("https://localhost:8765/callback", False),
        ("http://localhost/callback", False),
        ("http://outbook.example:8765/", False),
        ("http://localhost:port/", False),
        ("urn:ietf:wg:oauth:2.0:oob", False),
    ],
)
def test_where_the_browser_can_come(redirect_uri: str, *, here: bool) -> None:
    """Only plain http to a named port of this machine's loopback is listened on."""
    assert callback.is_here(redirect_uri) is here
