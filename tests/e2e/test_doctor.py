from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.e2e.documents import CHECKS as SCHEMA
from tests.e2e.rig import Stage
from tests.e2e.shapes import fits
from worker.cli import doctor
from worker.core.checks import Check, fail, ok, warn
from worker.remote import base
from worker.sim import outreach, workbooks
from worker.sim.outreach_options import Options


def _checked(stage: Stage, *, code: int) -> dict[str, tuple[str, str]]:
    """What `doctor --json` found, by name: the level and the words. Whatever it finds, nothing is written anywhere."""
    stage.forget_calls()
    told = stage.outbook("doctor", "--json")
    assert told.code == code, (told.code, told.out, told.err)
    fits(told.report, SCHEMA)
    assert told.report["ok"] is (code == 0)
    assert stage.crm_writes() == []
    assert stage.outreach_writes() == []
    assert all(one["fix"] for one in told.report["checks"] if one["level"] != "ok")
    assert all(secret not in told.out + told.err for secret in ("sim-key", "sim-access", "sim-secret", "sim-refresh"))
    return {one["name"]: (one["level"], one["words"]) for one in told.report["checks"]}


def _levels(checks: dict[str, tuple[str, str]], *levels: str) -> set[str]:
    return {name for name, (level, _) in checks.items() if level in levels}


def test_a_fresh_installation_is_well_and_stays_untouched(stage: Stage) -> None:
    """Before the first start everything is ok but the dates nobody told; with a fixed token no store is made for it."""
    checks = _checked(stage, code=0)
    assert _levels(checks, "fail") == set()
    assert checks["Outreach"] == ("ok", "reached as org-demo")
    assert checks["Workbooks"][1] == "reached: database Simulated, user sim@example.invalid, time zone London"
    assert checks["Workbooks, fields"][1].startswith("all 16 mapped fields are there")
    assert not Path(stage.environ["OUTBOOK_DATA_DIR"]).exists()
    assert checks["broker"][1].startswith("none: started by `outbook up`")
    assert "sales leads are not synced" in checks["Workbooks, sales leads"][1]


def test_a_store_in_use_tells_more(stage: Stage) -> None:
    """After a pass: the key opens it, something was read just now; the doctor spends no refresh while a token lasts."""
    del stage.environ["OUTBOOK_OUTREACH__ACCESS_TOKEN"]
    stage.environ |= {
        "OUTBOOK_OUTREACH__CLIENT_ID": "sim-client",
        "OUTBOOK_OUTREACH__CLIENT_SECRET": "sim-secret",
        "OUTBOOK_OUTREACH__REFRESH_TOKEN": "sim-refresh",
        "OUTBOOK_OUTREACH__REDIRECT_URI": "https://outbook.example/cb",
        "OUTBOOK_WORKBOOKS__API_KEY_EXPIRES": "2099-01-01",
    }
    stage.sync()
    checks = _checked(stage, code=0)
    assert _levels(checks, "warn", "fail") == set()
    assert checks["secret key"] == ("ok", "opens the store")
    assert checks["workers"][1].startswith("something was read")
    assert "14.0 days more" in checks["Outreach, token"][1]
    assert stage.outreach_calls("/oauth/token") == 0


def test_settings_are_all_told_and_hide_nothing_else(stage: Stage) -> None:
    """Two problems are two lines; the vendor whose credentials are there is looked at all the same."""
    del stage.environ["OUTBOOK_WORKBOOKS__API_KEY"]
    stage.environ["OUTBOOK_CONSOLE__PORT"] = "70000"
    told = stage.outbook("doctor", "--json").report
    wrong = [one["words"] for one in told["checks"] if one["level"] == "fail"]
    assert [words.split(":")[0] for words in wrong] == ["OUTBOOK_CONSOLE__PORT", "OUTBOOK_WORKBOOKS__API_KEY"]
    del stage.environ["OUTBOOK_CONSOLE__PORT"]
    checks = _checked(stage, code=1)
    assert _levels(checks, "fail") == {"settings"}
    assert checks["Outreach"][0] == "ok"
    assert stage.crm_calls() == 0


def test_a_refused_key_comes_with_its_likely_causes(stage: Stage) -> None:
    """Expired, disabled, not permitted from here: the vendor's reason and the three causes; Outreach is ok beside it."""
    stage.environ["OUTBOOK_WORKBOOKS__API_KEY"] = "another-key"
    checks = _checked(stage, code=1)
    level, words = checks["Workbooks"]
    assert level == "fail"
    assert all(cause in words for cause in ("expired", "user disabled", "address not permitted"))
    assert (checks["Outreach"][0], checks["Outreach, scopes"][0]) == ("ok", "ok")


def test_a_missing_scope_is_named(stage: Stage) -> None:
    """A token that may not read steps nor users: two failures with the scope to add, and what it may read."""
    scopes = frozenset({"prospects.read", "sequences.read", "sequenceStates.read", "tasks.read"})
    stage.use(outreach_app=outreach.build(records=0, options=Options(scopes=scopes)))
    checks = _checked(stage, code=1)
    assert _levels(checks, "fail") == {"Outreach, sequenceSteps", "Outreach, users"}
    assert "sequenceSteps.read" in checks["Outreach, sequenceSteps"][1]
    assert checks["Outreach, scopes"][1].startswith("may read sequences, prospects, sequenceStates, tasks;")


def test_what_the_crm_lacks_is_told_with_what_comes_near(stage: Stage) -> None:
    """A field that is not there, and a label with a short dash: a failure each, with the entry that was perhaps meant."""
    typo = {"Active – Running": "Active - Running"}
    lacking = {"without_fields": ["cf_person_sequence_step"], "label_typo": typo}
    stage.use(crm_app=workbooks.build(records=0, options=lacking))
    checks = _checked(stage, code=1)
    assert _levels(checks, "fail") == {
        "Workbooks, cf_person_sequence_step",
        "Workbooks, cf_person_sequence_state",
    }
    assert "no field 'cf_person_sequence_step' on people" in checks["Workbooks, cf_person_sequence_step"][1]
    assert "did you mean 'Active - Running'?" in checks["Workbooks, cf_person_sequence_state"][1]


def test_what_is_for_simulators_is_told_where_a_host_is_real(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """OUTBOOK_ALLOW_INSECURE_HOSTS left on before a public host: a warning that names it; a loopback host has none."""
    assert "Outreach, host" not in _checked(stage, code=0)
    real = stage.environ["OUTBOOK_OUTREACH__BASE_URL"]
    monkeypatch.setattr(base, "is_public_host", lambda url: url == real)
    checks = _checked(stage, code=0)
    level, words = checks["Outreach, host"]
    assert level == "warn"
    assert words.startswith("OUTBOOK_ALLOW_INSECURE_HOSTS is on")
    assert words.endswith("and 127.0.0.1 is no simulator")
    assert "Workbooks, host" not in checks


def test_one_vendor_away_hides_nothing_of_the_other(stage: Stage) -> None:
    """Outreach answers 503, Workbooks is looked at in full."""
    stage.break_outreach("status", times=None, op=None, args={"code": 503, "body": ""})
    checks = _checked(stage, code=1)
    assert _levels(checks, "fail") == {"Outreach"}
    assert "503" in checks["Outreach"][1]
    assert checks["Workbooks, fields"][0] == "ok"


def test_a_vendor_that_hangs_costs_its_time_and_no_more(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has not answered in time is a failure."""
    monkeypatch.setattr(doctor, "DEADLINE_S", 1.0)
    stage.break_crm("delay", times=1, op=None, path="login", args={"seconds": 2.5})
    assert _checked(stage, code=1)["Workbooks"] == (
        "fail",
        "no answer within 1 s; the rest of its checks was not made",
    )


@pytest.mark.parametrize("hangs", ["Outreach", "Workbooks"])
def test_one_vendor_that_hangs_hides_nothing_of_the_other(hangs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had found before it hung is told, and the other's checks are all there, whichever comes first."""
    monkeypatch.setattr(doctor, "DEADLINE_S", 2.0)
    told, over = ok("key", "taken"), threading.Event()

    def hanging() -> Iterable[Check]:
        yield told
        over.wait(60)

    asked = dict.fromkeys(("Outreach", "Workbooks"), lambda: [told, told]) | {hangs: hanging}
    checks = doctor.side_by_side(asked)
    over.set()
    missed = "no answer within 2 s; the rest of its checks was not made"
    cut = [told, fail(hangs, missed, "look at the network and at the vendor's status page")]
    assert checks == ([*cut, told, told] if hangs == "Outreach" else [told, told, *cut])


def test_a_broken_mapping_a_foreign_key_and_a_newer_store(stage: Stage) -> None:
    """Each is a failure of its own; with a key that does not open the store no token is renewed."""
    stage.sync()
    path = stage.mapping()
    path.write_text(path.read_text(encoding="utf-8").replace("roll_up:", "roll_upp:"), encoding="utf-8")
    checks = _checked(stage, code=1)
    assert _levels(checks, "fail") == {"mapping"}
    assert "did you mean" in checks["mapping"][1]
    assert checks["Workbooks, fields"][0] == "ok"  # by the mapping in force
    stage.environ["OUTBOOK_SECRET_KEY"] = "another"
    assert _levels(_checked(stage, code=1), "fail") == {"mapping", "secret key"}


def test_a_key_that_runs_out_is_told_in_time(stage: Stage) -> None:
    """Thirteen days ahead it is a warning, past its day a failure."""
    for days, level in ((60, "ok"), (13, "warn"), (-1, "fail")):
        day = stage.now().date().toordinal() + days
        stage.environ["OUTBOOK_WORKBOOKS__API_KEY_EXPIRES"] = str(type(stage.now().date()).fromordinal(day))
        assert _checked(stage, code=int(level == "fail"))["Workbooks, key"][0] == level


def test_a_clock_that_is_wrong_is_told(stage: Stage) -> None:
    """Two minutes behind both vendors: a warning each, with which way."""
    stage.outreach.clock.shift(120)
    stage.crm.clock.shift(120)
    checks = _checked(stage, code=0)
    assert checks["Outreach, clock"][0] == "warn"
    assert "behind" in checks["Outreach, clock"][1]
    assert checks["Workbooks, clock"][0] == "warn"


@pytest.mark.broker
def test_a_broker_that_forgets_or_throws_away_is_told(stage: Stage, broker_url: str) -> None:
    """A real one: it answers; no persistence and an eviction policy are warnings, a wrong place a failure."""
    import redis

    stage.environ["OUTBOOK_BROKER_URL"] = broker_url
    with redis.Redis.from_url(broker_url) as db:
        held = db.config_get("appendonly", "maxmemory-policy")
        try:
            db.config_set("appendonly", "no")
            db.config_set("maxmemory-policy", "allkeys-lru")
            checks = _checked(stage, code=0)
            assert (checks["broker"][0], checks["broker, persistence"][0]) == ("ok", "warn")
            assert "allkeys-lru" in checks["broker, eviction"][1]
        finally:
            for name, value in held.items():
                db.config_set(name, value)
    stage.environ["OUTBOOK_BROKER_URL"] = "redis://127.0.0.1:1/0"
    assert _checked(stage, code=1)["broker"] == ("fail", "does not answer (ConnectionError)")


PAGE = """\
ok    settings  all that is needed is there
WARN  broker    may throw messages away
                → set: maxmemory-policy noeviction
FAIL  mapping   m.yaml:3:1: unknown key [roll_upp]
                → run: outbook mapping check m.yaml

1 ok, 1 WARN, 1 FAIL
next: mend what says FAIL, then outbook doctor again
"""


def test_the_page_reads_as_it_should() -> None:
    """One line a check, its fix below it; brackets in words are no markup."""
    out = io.StringIO()
    console = Console(file=out, width=200)
    found = [
        ok("settings", "all that is needed is there"),
        warn("broker", "may throw messages away", "set: maxmemory-policy noeviction"),
        fail("mapping", "m.yaml:3:1: unknown key [roll_upp]", "run: outbook mapping check m.yaml"),
    ]
    for line in doctor.drawn(found):
        console.print(line)
    assert [line.rstrip() for line in out.getvalue().splitlines()] == PAGE.splitlines()


def test_a_check_that_nobody_foresaw_to_fail_is_a_failure_of_its_own() -> None:
    """What it had found stays; a traceback there is none, and no secret in the words."""

    def broken() -> Iterable[Any]:
        yield ok("first", "fine")
        raise ValueError("token=abcdefgh of ada@example.com")

    found = doctor.guarded("odd", broken)
    assert [(one.name, one.level.value) for one in found] == [("first", "ok"), ("odd", "fail")]
    assert "abcdefgh" not in json.dumps([one.words for one in found])
    assert "ada@" not in found[1].words
