from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.rig import Stage, end_of
from worker import app

SECRETS = ("sim-key", "sim-access", "s3cr3t")


def test_all_problems_at_once_by_variable(stage: Stage) -> None:
    """Exit 4, each variable named, no JSON, no secret shown, no store made."""
    stage.environ |= {
        "OUTBOOK_WORKBOOKS__API_KEY": "",
        "OUTBOOK_OUTREACH__BASE_URL": "ftp://s3cr3t@example.com",
        "OUTBOOK_OUTREACH__HOURLY_CALLS": "s3cr3t",
        "OUTBOOK_MAPPING": str(stage.directory / "nowhere.yaml"),
        "OUTBOOK_ONLY": str(stage.directory / "nobody.txt"),
        "OUTBOOK_WRITES": "some",
    }
    told = stage.sync(code=4)
    assert told.out == ""
    for name in ("WORKBOOKS__API_KEY", "OUTREACH__BASE_URL", "OUTREACH__HOURLY_CALLS", "MAPPING", "ONLY", "WRITES"):
        assert f"OUTBOOK_{name}" in told.err
    assert not any(secret in told.err for secret in SECRETS)
    assert not (stage.directory / "data").exists()


def test_insecure_hosts_need_their_switch(stage: Stage) -> None:
    """Without OUTBOOK_ALLOW_INSECURE_HOSTS both loopback addresses are refused by name, and neither is called."""
    del stage.environ["OUTBOOK_ALLOW_INSECURE_HOSTS"]
    told = stage.sync(code=4)
    assert "OUTBOOK_OUTREACH__BASE_URL" in told.err
    assert "OUTBOOK_WORKBOOKS__BASE_URL" in told.err
    assert (stage.outreach_calls(), stage.crm_calls()) == (0, 0)


def test_a_broken_mapping_is_told_with_its_places(stage: Stage) -> None:
    """Every mistake with file:line:column and a hint, exit 4, nobody is called."""
    path = stage.mapping(
        ("create_people: in_sequence", "create_people: in_sequnce"),
        ("on_conflict: crm\n", "on_conflct: crm\n"),
        ('  bounced:    "Bounced"\n', '  bonced:    "Bounced"\n'),
    )
    lines = path.read_text(encoding="utf-8").splitlines()
    told = stage.sync(code=4)
    for text in ("create_people: in_sequnce", "on_conflct", "  bonced"):
        number = next(n for n, line in enumerate(lines, 1) if line.startswith(text))
        assert f"{path}:{number}:" in told.err
    assert "in_sequence" in told.err
    assert told.out == ""
    assert (stage.outreach_calls(), stage.crm_calls()) == (0, 0)


def test_as_a_process_a_broken_mapping_exits_with_4(stage: Stage) -> None:
    """The same as a process: stdout is empty, stderr has the place."""
    path = stage.mapping(("roll_up: [active, paused", "roll_up: [active, pausd"))
    ended = end_of(stage.process("sync", "--json"))
    assert (ended.code, ended.out) == (4, "")
    assert f"{path}:" in ended.err
    assert "Traceback" not in ended.err


def test_a_secret_key_that_does_not_open_the_store_is_4(stage: Stage) -> None:
    """Never a fresh start: exit 4, nothing written."""
    stage.enrolled("ada@example.com")
    stage.environ["OUTBOOK_SECRET_KEY"] = "s3cr3t-one-s3cr3t-one-s3cr3t-one"
    stage.sync()
    stage.environ["OUTBOOK_SECRET_KEY"] = "s3cr3t-two-s3cr3t-two-s3cr3t-two"
    stage.enrolled("bo@example.com", first="Bo")
    stage.forget_calls()
    told = stage.sync(code=4)
    assert "OUTBOOK_SECRET_KEY" in told.err
    assert "s3cr3t" not in told.err
    assert stage.crm_writes() == []


def test_an_env_file_here_is_read(stage: Stage) -> None:
    """Settings of a `.env` in the current directory count where the environment says nothing."""
    lines = [f"{name}={text}" for name, text in stage.environ.items()]
    (stage.directory / ".env").write_text("\n".join(lines), encoding="utf-8")
    stage.environ = {"OUTBOOK_DATA_DIR": stage.environ["OUTBOOK_DATA_DIR"]}
    stage.enrolled("ada@example.com")
    assert stage.sync().crm == {"created": 1}


def test_a_spent_budget_is_6(stage: Stage) -> None:
    """The hour's calls are used up: exit 6, named, no call more; the next hour goes on where it stopped."""
    stage.environ["OUTBOOK_OUTREACH__HOURLY_CALLS"] = "3"
    for n in range(5):
        stage.enrolled(f"p{n}@example.com", first=f"P{n}")
    told = stage.sync(code=6)
    assert stage.outreach_calls() <= 3
    assert told.report["converged"] is False
    stage.later(3_700)
    stage.environ["OUTBOOK_OUTREACH__HOURLY_CALLS"] = "100"
    stage.sync()
    assert len(stage.people()) == 5


@pytest.mark.parametrize("role", ["worker", "beat", "web", "up", "sync", "db upgrade", "doctor --alerts"])
def test_bad_settings_end_any_role_the_same(
    stage: Stage, role: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Exit 4 with every variable named at each start, so that whoever restarts it reads why; nothing looks alive by it."""
    monkeypatch.setattr(app, "ALIVE", tmp_path / "alive")
    stage.environ |= {
        "OUTBOOK_POLL_SECONDS": "s3cr3t",
        "OUTBOOK_DATABASE_URL": "postgresql+psycopg://nobody:s3cr3t@127.0.0.1:1/none",
        "OUTBOOK_WORKBOOKS__API_KEY_FILE": "nowhere",
        "OUTBOOK_WORKBOOKS__API_KEY": "",
        "OUTBOOK_CONSOLE__HOST": "0.0.0.0",
    }
    wanted = {"OUTBOOK_POLL_SECONDS", "OUTBOOK_SECRET_KEY", "OUTBOOK_WORKBOOKS__API_KEY_FILE"}
    wanted |= {"OUTBOOK_BROKER_URL"} if role in {"worker", "beat"} else set()
    wanted |= {"OUTBOOK_CONSOLE__PASSWORD_HASH"} if role in {"web", "up"} else set()
    for _start in range(2):
        told = stage.outbook(*role.split())
        assert (told.code, told.out) == (4, "")
        assert {line.split(": ")[1] for line in told.err.splitlines()} == wanted
        assert not any(secret in told.err for secret in SECRETS)
    assert not app.ALIVE.exists()


def test_a_secret_key_is_replaced_in_three_steps(stage: Stage) -> None:
    """As the runbook has it: known to all, used by all, alone; what was remembered under the old one still counts."""
    old, new = "s3cr3t-one-s3cr3t-one-s3cr3t-one", "s3cr3t-two-s3cr3t-two-s3cr3t-two"
    prospect = stage.enrolled("ada@example.com", emailOptedOut=True)
    for key in (old, f"{old},{new}", f"{new},{old}", new):
        stage.environ["OUTBOOK_SECRET_KEY"] = key
        stage.sync()
    stage.environ["OUTBOOK_SECRET_KEY"] = old
    assert "OUTBOOK_SECRET_KEY" in stage.sync(code=4).err
    stage.environ["OUTBOOK_SECRET_KEY"] = new
    stage.set_prospect(prospect, emailOptedOut=False)
    again = stage.enrolled("ada@example.com")
    stage.later(60)
    stage.sync(code=None)
    assert stage.of_prospect(prospect)["emailOptedOut"]
    assert stage.of_prospect(again)["emailOptedOut"]
