from __future__ import annotations

from typing import Any

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Stage, end_of
from tests.e2e.worlds import NO_EMAIL, STATE
from worker.sim import outreach
from worker.sim.outreach import Options

NO_ANSWERS: list[tuple[str, dict[str, Any]]] = [
    ("html200", {}),
    ("truncate", {}),
    ("truncate", {"at": 0}),
    ("status", {"code": 500, "body": ""}),
    ("status", {"code": 502, "body": "<html>bad gateway</html>"}),
    ("status", {"code": 200, "body": ""}),
    ("status", {"code": 200, "body": "null"}),
    ("status", {"code": 200, "body": "{}"}),
    ("status", {"code": 200, "body": "[]"}),
    ("status", {"code": 200, "body": '{"success": true}'}),
    ("status", {"code": 200, "body": '{"data": null}'}),
    ("drop", {}),
    ("reset", {}),
]
IDS = [f"{kind}-{args.get('code', '')}-{args.get('body', args.get('at', ''))}" for kind, args in NO_ANSWERS]


@pytest.fixture
def pair(stage: Stage) -> int:
    """A prospect with its person, opted out neither here nor there."""
    prospect = stage.enrolled("ada@example.com", title="Buyer")
    stage.sync()
    return prospect


def _before(stage: Stage) -> list[dict[str, Any]]:
    return [{name: value for name, value in one.items() if name != "updated_at"} for one in stage.people()]


@pytest.mark.parametrize("kind, args", NO_ANSWERS, ids=IDS)
def test_no_answer_from_outreach_is_never_nothing_there(
    stage: Stage, pair: int, kind: str, args: dict[str, Any]
) -> None:
    """Streams that answer with no list: exit 3, nobody loses a state or a person; well again, all is as before."""
    before = _before(stage)
    stage.break_outreach(kind, times=None, path="/(sequenceStates|prospects|sequences)$", args=args)
    told = stage.sync("--full", "--wait", "0", code=3)
    assert all(f"{name}:" in told.err for name in ("sequenceStates", "prospects", "sequences"))
    assert _before(stage) == before
    stage.mend()
    stage.sync("--full")
    assert _before(stage) == before
    assert pair


@pytest.mark.parametrize("kind, args", NO_ANSWERS, ids=IDS)
def test_no_answer_from_the_crms_list_is_never_nothing_there(
    stage: Stage, pair: int, kind: str, args: dict[str, Any]
) -> None:
    """The CRM's people answer with no list: exit 3, nobody is created again or held as deleted."""
    before = _before(stage)
    stage.break_crm(kind, times=None, op="read", path="people", args=args)
    told = stage.sync("--full", "--wait", "0", code=3)
    assert "people" in told.err
    assert _before(stage) == before
    stage.mend()
    assert stage.sync("--full").report["held"] == 0
    assert _before(stage) == before
    assert pair


def test_a_short_fault_is_not_even_noticed(stage: Stage, pair: int) -> None:
    """One bad answer among good ones: read again within the pass, exit 0."""
    stage.set_prospect(pair, title="Engineer")
    stage.break_outreach("html200", times=1, path="prospects")
    assert stage.sync().crm == {"updated": 1}
    stage.set_prospect(pair, title="Planner")
    stage.break_crm("truncate", times=1, op="read")
    assert stage.sync().crm == {"updated": 1}


def test_one_side_down_the_other_is_still_read(stage: Stage, pair: int) -> None:
    """Outreach does not answer: exit 3 and named; what the CRM's people say is kept and delivered later."""
    stage.set_person(stage.person_of(pair)["id"], title="Planner", no_email=True)
    stage.break_outreach("status", times=None, op=None, args={"code": 503, "body": ""})
    told = stage.sync("--wait", "0", code=3)
    assert told.report["converged"] is False
    stage.mend()
    stage.sync()
    assert stage.of_prospect(pair)["title"] == "Planner"
    assert stage.of_prospect(pair)["emailOptedOut"] is True


def test_a_wrong_key_is_5(stage: Stage, pair: int) -> None:
    """The CRM no longer takes the key: exit 5, the likely causes named, the key not shown, nothing lost."""
    stage.set_prospect(pair, title="Engineer")
    stage.environ["OUTBOOK_WORKBOOKS__API_KEY"] = "wr0ng-k3y"
    told = stage.sync(code=5)
    assert "key" in told.err
    assert "wr0ng-k3y" not in told.err + told.out
    stage.environ["OUTBOOK_WORKBOOKS__API_KEY"] = "sim-key"
    assert stage.sync().crm == {"updated": 1}


def test_a_wrong_access_token_is_5(stage: Stage, pair: int) -> None:
    """Outreach refuses the fixed token: exit 5, the token not shown."""
    assert pair
    stage.environ["OUTBOOK_OUTREACH__ACCESS_TOKEN"] = "wr0ng-t0ken"
    told = stage.sync(code=5)
    assert "wr0ng-t0ken" not in told.err + told.out
    stage.environ["OUTBOOK_OUTREACH__ACCESS_TOKEN"] = "sim-access"
    stage.sync()


def test_a_missing_scope_is_5_and_named(stage: Stage) -> None:
    """A token that may not read sequence states: exit 5, with the vendor's words, nothing written."""
    scopes = frozenset({"prospects.all", "sequences.all", "sequenceSteps.all", "tasks.all"})
    stage.use(outreach_app=outreach.build(records=0, options=Options(scopes=scopes)))
    stage.enrolled("ada@example.com")
    told = stage.sync(code=5)
    assert "sequenceStates" in told.err
    assert stage.people() == []


def _by_refresh_token(stage: Stage) -> None:
    stage.use(outreach_app=outreach.build(records=0, options=Options(strict_refresh=True)))
    del stage.environ["OUTBOOK_OUTREACH__ACCESS_TOKEN"]
    stage.environ |= {
        "OUTBOOK_OUTREACH__CLIENT_ID": "sim-client",
        "OUTBOOK_OUTREACH__CLIENT_SECRET": "sim-secret",
        "OUTBOOK_OUTREACH__REDIRECT_URI": "http://127.0.0.1/callback",
        "OUTBOOK_OUTREACH__REFRESH_TOKEN": "sim-refresh",
    }


def test_rotating_refresh_tokens_carry_on(stage: Stage) -> None:
    """With single-use refresh tokens: passes hours apart go on, though the seed in the environment is long spent."""
    _by_refresh_token(stage)
    stage.enrolled("ada@example.com")
    stage.sync()
    for _ in range(3):
        stage.later(8_000)
        stage.sync()


def test_a_revoked_refresh_token_is_5_until_a_new_seed(stage: Stage) -> None:
    """Revoked: exit 5 and what to do, no secret shown, no CRM write; a seed never seen before goes on."""
    _by_refresh_token(stage)
    stage.environ["OUTBOOK_OUTREACH__REFRESH_TOKEN"] = "revoked-s33d"
    stage.enrolled("ada@example.com")
    told = stage.sync(code=5)
    assert "revoked-s33d" not in told.err + told.out
    assert "sim-secret" not in told.err + told.out
    assert stage.crm_writes() == []
    assert stage.sync(code=5).crm == {}
    stage.environ["OUTBOOK_OUTREACH__REFRESH_TOKEN"] = "sim-refresh"
    assert stage.sync().crm == {"created": 1}


def test_as_a_process_a_wrong_key_exits_with_5(stage: Stage) -> None:
    """As a process: 5, the reason on stderr, a report or nothing on stdout, no traceback."""
    stage.environ["OUTBOOK_WORKBOOKS__API_KEY"] = "wr0ng-k3y"
    ended = end_of(stage.process("sync", "--json"))
    assert ended.code == 5, ended.err
    assert ended.report["converged"] is False
    assert "Traceback" not in ended.err
    assert "wr0ng-k3y" not in ended.err + ended.out


def test_a_relation_without_data_is_not_read_as_none(stage: Stage) -> None:
    """States whose relations come without data: asked for by id, nobody loses a sequence, nothing is guessed."""
    prospect = stage.prospect("ada@example.com")
    state = stage.state(prospect)
    stage.sync()
    stage.tell({"op": "pause", "state": state})
    stage.break_outreach("omit_relation_data", times=1, path="sequenceStates")
    stage.sync()
    person = stage.person_of(prospect)
    assert [person[name] for name in (STATE, worlds.NAME)] == [worlds.PAUSED, "Cold outreach"]
    stage.settled()


def test_a_relation_that_never_comes_is_held_or_kept(stage: Stage) -> None:
    """Also by id without data: what was known of the state stays, and no new person is made up."""
    prospect = stage.prospect("ada@example.com")
    state = stage.state(prospect)
    stage.sync()
    stage.enrolled("bo@example.com", first="Bo")
    stage.tell({"op": "pause", "state": state})
    stage.break_outreach("omit_relation_data", times=None, path="sequenceStates")
    stage.sync(code=None)
    assert stage.person_of(prospect)[worlds.NAME] == "Cold outreach"
    assert len(stage.people()) == 1
    stage.mend()
    stage.sync("--full")
    assert stage.person_of(prospect)[STATE] == worlds.PAUSED
    assert len(stage.people()) == 2


@pytest.mark.parametrize("kind", ["drop_record", "duplicate_page", "empty_middle_page"])
def test_pages_that_lie_lose_nobody(stage: Stage, kind: str) -> None:
    """A page that leaves one out, comes twice or is empty in the middle: nobody's state is taken back."""
    stage.servers.outreach.page_size = 5
    people = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(14)]
    stage.break_outreach(kind, times=1, after=1, path="sequenceStates")
    stage.sync(code=None)
    stage.mend()
    stage.sync("--full")
    assert [stage.person_of(one)[STATE] for one in people] == [worlds.RUNNING] * 14
    assert len(stage.people()) == 14


def test_a_next_link_to_another_host_stops_everything(stage: Stage) -> None:
    """Foreign next link: exit 3, named, the token is not sent there, and no pass goes wrong silently."""
    stage.servers.outreach.page_size = 5
    for n in range(8):
        stage.enrolled(f"p{n}@example.com", first=f"P{n}")
    stage.break_outreach("wrong_next_host", times=1, path="prospects")
    told = stage.sync(code=None)
    assert told.code == 3
    assert "another place" in told.err
    stage.mend()
    stage.sync()
    assert len(stage.people()) == 8


def test_an_expired_cursor_reads_again_from_the_watermark(stage: Stage) -> None:
    """410 in the middle of a run: the stream is read again from its watermark, all arrive."""
    stage.servers.outreach.page_size = 5
    people = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(12)]
    stage.break_outreach("expired_cursor", times=1, path="prospects")
    stage.sync(code=None)
    stage.mend()
    stage.sync()
    assert {stage.person_of(one)[STATE] for one in people} == {worlds.RUNNING}


def test_a_hidden_prospect_is_never_nobody(stage: Stage, pair: int) -> None:
    """An opt-out stays on although Outreach answers with empty lists for everything afterwards."""
    stage.tell({"op": "opt_out", "prospect": pair})
    stage.sync()
    empty = '{"data": [], "meta": {}, "links": {}}'
    stage.break_outreach("status", times=None, path="/api/v2/", args={"code": 200, "body": empty})
    stage.sync(code=None)
    assert stage.person_of(pair)[NO_EMAIL] is True
    assert stage.person_of(pair)[STATE] == worlds.OPTED_OUT
