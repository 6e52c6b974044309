"""Secrets in places where nobody looks for them: in a URL, a query, a proxy's address, a redirect, a receiver of alerts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests.e2e.rig import Stage
from worker.store import upgrade

SECRET = "zyxsecret"
VERBS = (
    ("status", "--json"),
    ("status",),
    ("doctor", "--json"),
    ("doctor", "--alert-test"),
    ("sync", "--json"),
    ("plan", "--json"),
    ("failures", "list", "--json"),
    ("held", "list", "--json"),
    ("explain", "--email", "ada@example.com", "--json"),
    ("reconcile", "--json"),
    ("forget", "--email", "nobody@example.com"),
    ("webhooks", "status"),
    ("crm", "setup", "--dry-run"),
    ("mapping", "check", "--live"),
    ("auth", "outreach", "--manual"),
)

ASKING = (("doctor", "--json"), ("sync", "--json"))


def told(stage: Stage, verbs: Iterable[tuple[str, ...]] = VERBS) -> dict[str, str]:
    """What the verbs put out, less those that say nothing of the secret."""
    said = {" ".join(verb): stage.outbook(*verb) for verb in verbs}
    assert any(one.err for one in said.values())
    return {verb: one.out + one.err for verb, one in said.items() if SECRET in (one.out + one.err).lower()}


def kept(stage: Stage) -> bool:
    """Whether the secret stands in the database's file or its log."""
    files = Path(stage.environ["OUTBOOK_DATA_DIR"]).glob("outbook.db*")
    return any(SECRET.encode() in path.read_bytes().lower() for path in files)


def test_no_verb_tells_a_secret_of_the_settings(stage: Stage) -> None:
    """Whatever every setting that may hold one is, with a broker, a proxy and a receiver that do not answer."""
    stage.enrolled("ada@example.com")
    stage.environ |= {
        "OUTBOOK_SECRET_KEY": f"{SECRET}-key",
        "OUTBOOK_OUTREACH__ACCESS_TOKEN": f"{SECRET}-token",
        "OUTBOOK_OUTREACH__CLIENT_ID": "an-app",
        "OUTBOOK_OUTREACH__CLIENT_SECRET": f"{SECRET}-client",
        "OUTBOOK_OUTREACH__WEBHOOK_SECRET": f"{SECRET}-webhook",
        "OUTBOOK_WORKBOOKS__SETUP_API_KEY": f"{SECRET}-setup",
        "OUTBOOK_BROKER_URL": f"redis://:{SECRET}@127.0.0.1:9/0",
        "OUTBOOK_ALERT_URL": f"http://127.0.0.1:9/hooks/{SECRET}",
        "OUTBOOK_CONSOLE__PASSWORD_HASH": SECRET,
    }
    assert told(stage) == {}
    assert not kept(stage)


@pytest.mark.parametrize("way", ["proxy", "key"])
def test_a_vendor_that_cannot_be_reached_is_told_without_it(stage: Stage, way: str) -> None:
    """Through a proxy with a password that nobody answers behind; with a key that no header can hold."""
    if way == "proxy":
        stage.environ |= {
            "HTTPS_PROXY": f"http://somebody:{SECRET}@127.0.0.1:9",
            "OUTBOOK_OUTREACH__BASE_URL": "https://outreach.example",
            "OUTBOOK_WORKBOOKS__BASE_URL": "https://workbooks.example",
        }
    else:
        stage.environ |= {
            "OUTBOOK_OUTREACH__ACCESS_TOKEN": f"{SECRET}é\tx",
            "OUTBOOK_WORKBOOKS__API_KEY": f"{SECRET}é\tx",
        }
    assert told(stage, ASKING) == {}


def test_what_a_redirect_carries_is_not_told(stage: Stage) -> None:
    """Away to another host with a token, to itself with one without end, to the login page with one."""
    for place in (
        f"https://elsewhere.example/go?token={SECRET}",
        f"/crm/people.api?session={SECRET}",
        f"/login?t={SECRET}",
    ):
        stage.servers.crm.app = _Redirecting(place)  # type: ignore[assignment]
        assert told(stage, ASKING) == {}
        assert not kept(stage)


class _Redirecting:
    """A vendor that sends everybody somewhere else."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __call__(self, _environ: object, start_response: object) -> list[bytes]:
        """Send elsewhere."""
        start_response("302 Found", [("Location", self.place), ("Content-Length", "0")])  # type: ignore[operator]
        return [b""]


def test_an_address_in_a_query_is_not_told(stage: Stage) -> None:
    """A vendor that repeats the URL it was asked for as it fails: the address in it stays untold, in the store, too."""
    words = f"no route for /api/v2/prospects?filter%5Bemails%5D={SECRET}%40example.com&page[size]=1"
    stage.outreach.faults.arm([{"match": {}, "kind": "status", "times": None, "args": {"code": 500, "body": words}}])
    assert told(stage, (*ASKING, ("forget", "--email", f"{SECRET}@example.com"))) == {}
    assert not kept(stage)


@pytest.mark.postgres
def test_the_database_s_password_is_not_told(stage: Stage, postgres_url: str) -> None:
    """In its place or in the query, while it answers, when it is moved and where it does not answer."""
    upgrade.upgrade(postgres_url)
    url = make_url(postgres_url)
    full = url.set(password=SECRET).update_query_dict({"password": SECRET, "application_name": SECRET})
    stage.environ |= {
        "OUTBOOK_DATABASE_URL": full.render_as_string(hide_password=False),
        "OUTBOOK_SECRET_KEY": "k" * 32,
    }
    moved = (("db", "upgrade"), *VERBS[:3], VERBS[4], ("db", "copy", "--to", "sqlite:///moved.db"), *VERBS[:2])
    assert told(stage, moved) == {}
    assert SECRET.encode() not in Path("moved.db").read_bytes()
    gone = full.set(port=9, host="127.0.0.1", query={"password": SECRET})
    stage.environ["OUTBOOK_DATABASE_URL"] = gone.render_as_string(hide_password=False)
    assert told(stage, VERBS[:5]) == {}
