"""Yesterday's database put back after a day of work: nobody is doubled, no opt-out is undone, and what was edited stays."""

from __future__ import annotations

import collections
import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.e2e import shortcuts
from tests.e2e.rig import Stage
from tests.e2e.worlds import EMAIL, ID, NO_EMAIL, TITLE
from worker.store import upgrade

TICK = "cf_person_sync_to_outreach"
Backup = Callable[[], Callable[[], None]]
"""Takes a backup, and returns what puts it back."""


@pytest.fixture
def sqlite_backup(stage: Stage) -> Backup:
    """A copy of the file, by the way that the runbook names, and the key beside it."""

    def take() -> Callable[[], None]:
        was, kept = Path(stage.environ["OUTBOOK_DATA_DIR"]), stage.directory / "restored"
        kept.mkdir()
        with (
            contextlib.closing(sqlite3.connect(was / "outbook.db")) as one,
            contextlib.closing(sqlite3.connect(kept / "outbook.db")) as other,
        ):
            one.backup(other)
        shutil.copy(was / "secret.key", kept)
        return lambda: stage.store("restored")

    return take


@pytest.fixture
def postgres_backup(stage: Stage, postgres_url: str) -> Backup:
    """A copy that the server makes of the whole database."""
    upgrade.upgrade(postgres_url)
    stage.environ |= {"OUTBOOK_DATABASE_URL": postgres_url, "OUTBOOK_SECRET_KEY": "k" * 32}

    def take() -> Callable[[], None]:
        shortcuts.connect(postgres_url).engine.dispose()
        server, name = postgres_url.replace("+psycopg", "").rsplit("/", 1)
        with psycopg.connect(f"{server}/postgres", autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name}_kept TEMPLATE {name} STRATEGY file_copy".encode())
        return lambda: stage.environ.update({"OUTBOOK_DATABASE_URL": f"{postgres_url}_kept"})

    return take


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def backup(request: pytest.FixtureRequest) -> Backup:
    """How a backup is taken of a store of each kind."""
    taken: Backup = request.getfixturevalue(f"{request.param}_backup")
    return taken


def a_day_of_work(stage: Stage, old: list[int], state: int) -> dict[str, int]:
    """Everything that a day may bring, each delivered; return who is who."""
    told = {"new": stage.enrolled("new@example.com", first="New"), "task": stage.task(state, state="skipped")}
    stage.set_prospect(old[0], emailOptedOut=True)
    stage.set_person(stage.person_of(old[1])["id"], **{NO_EMAIL: True})
    stage.set_prospect(old[2], title="edited in Outreach")
    stage.set_person(stage.person_of(old[3])["id"], **{TITLE: "edited in Workbooks"})
    stage.delete_person(int(stage.person_of(old[4])["id"]))
    stage.person(first="Wanted", last="There", email="wanted@example.com", **{TICK: True})
    stage.sync()
    # Taken back by hand on one side, put right again by the latch, which yesterday's database knows nothing of.
    stage.set_prospect(old[0], emailOptedOut=False)
    stage.sync()
    stage.later(86_400)
    return told


def looks(stage: Stage) -> dict[str, object]:
    """What matters of both sides: who is there how often, who is opted out, who is called what."""
    prospects = stage.outreach.world.dump()["prospect"]
    shown = {key: one["attributes"] for key, one in prospects.items()}
    people = stage.people()
    return {
        "people": collections.Counter(one[EMAIL] for one in people),
        "references": collections.Counter(one.get(ID) for one in people),
        "prospects": collections.Counter(tuple(one["emails"]) for one in shown.values()),
        "tasks": collections.Counter(one["cf_task_outreach_id"] for one in stage.cancelled()),
        "opted out": sorted(key for key, one in shown.items() if one.get("emailOptedOut")),
        "no email": sorted(one[ID] for one in people if one.get(NO_EMAIL)),
        "titles": {one.get(ID): one.get(TITLE) for one in people}
        | {f"o{key}": one.get("title") for key, one in shown.items()},
    }


def test_yesterdays_database_doubles_nothing_and_opts_nobody_in(stage: Stage, backup: Backup) -> None:
    """As the runbook has it: paused, everything read, resumed; both sides are then as they were before the disaster."""
    old = [stage.enrolled(f"p{number}@example.com", first=f"P{number}", title="as it was") for number in range(6)]
    state = stage.state(old[5], 2)
    stage.sync()
    put_back = backup()
    told = a_day_of_work(stage, old, state)
    before = looks(stage)
    assert before["no email"] == sorted(str(one) for one in old[:2])
    assert before["tasks"] == {str(told["task"]): 1}
    assert set(before["people"].values()) == set(before["prospects"].values()) == {1}  # type: ignore[attr-defined]
    put_back()
    assert stage.outbook("pause").code == 0
    stage.forget_calls()
    assert stage.outbook("sync", "--full", "--dry-run", "--json").code in {0, 2}
    assert (stage.crm_writes(), stage.outreach_writes()) == ([], [])
    assert stage.outbook("resume").code == 0
    stage.sync()
    assert looks(stage) == before
    stage.settled()


def test_whom_somebody_opted_in_since_is_opted_out_again(stage: Stage, sqlite_backup: Backup) -> None:
    """Yesterday's database remembers the opt-out and not what lifted it: the safe side; the runbook says to repeat it."""
    prospect = stage.enrolled("ada@example.com", emailOptedOut=True)
    stage.sync()
    put_back = sqlite_backup()
    assert stage.outbook("opt-in", "--prospect", str(prospect), "--reason", "asked for it").code == 0
    stage.sync()
    assert not stage.of_prospect(prospect)["emailOptedOut"]
    put_back()
    stage.later(86_400)
    stage.sync("--full")
    assert (stage.of_prospect(prospect)["emailOptedOut"], stage.person_of(prospect)[NO_EMAIL]) == (True, True)
    assert stage.outbook("opt-in", "--prospect", str(prospect), "--reason", "asked for it").code == 0
    stage.sync()
    assert (stage.of_prospect(prospect)["emailOptedOut"], stage.person_of(prospect)[NO_EMAIL]) == (False, False)


@pytest.mark.parametrize("policy, stays", [("newest", "Chair"), ("crm", "Head")])
def test_what_was_on_its_way_meets_our_own_later_writes(
    stage: Stage, sqlite_backup: Backup, policy: str, stays: str
) -> None:
    """Written by us after the backup, the CRM's value is a stranger's to yesterday's database: the runbook says `newest`."""
    prospect = stage.enrolled("ada@example.com", title="Clerk")
    stage.sync()
    put_back = sqlite_backup()
    stage.later(3_600)
    stage.set_prospect(prospect, title="Head")
    stage.sync()
    stage.later(3_600)
    stage.set_prospect(prospect, title="Chair")
    put_back()
    stage.mapping(("on_conflict: crm\n", f"on_conflict: {policy}\n"))
    stage.later(3_600)
    stage.sync("--full")
    assert (stage.of_prospect(prospect)["title"], stage.person_of(prospect)[TITLE]) == (stays, stays)
