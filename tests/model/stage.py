"""Two small worlds and a store that is cheap to make: what the machine acts on, and how it looks at the outcome."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from tests.sync.scene import Scene
from worker.core.records import Kind
from worker.store import cursors, links, outbox, upgrade
from worker.store.outbox import CHANGE, Standing

Fields = dict[str, Any]
COLUMN = {
    "first": "person_first_name",
    "last": "person_last_name",
    "title": "person_job_title",
    "phone": "main_location[telephone]",
    "email": "main_location[email]",
}
ATTRIBUTE = {"first": "firstName", "last": "lastName", "title": "title", "phone": "workPhones", "email": "emails"}
LISTS = frozenset({"phone", "email"})
STREAMS = cursors.STREAMS
TICKED = frozenset({True, "1", "true"})
ALTERNATE, ID, NO_EMAIL = "main_location[alternate_email]", "cf_person_outreach_id", "no_email_soliciting"
LABEL, ERROR, TICK = "cf_person_sequence_state", "cf_person_outreach_error", "cf_person_sync_to_outreach"


def template(directory: Path) -> Path:
    """Return a store just migrated, to be copied."""
    path = directory / "template.db"
    upgrade.upgrade(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@dataclass(slots=True)
class Stage(Scene):
    """A scene whose store is a copy in one file, and in which the three clocks need not agree."""

    ahead_s: float = 0.0
    _anchor: Any = None

    def open(self, path: Path) -> None:
        """Keep the store's file open: SQLite syncs it to disk whenever its last connection goes."""
        self._anchor = sqlite3.connect(path)
        self._anchor.execute("SELECT count(*) FROM sqlite_master")

    def close(self) -> None:
        """Let the store go."""
        Scene.close(self)
        self._anchor.close()

    def now(self) -> datetime:
        """Return our own time."""
        return Scene.now(self) + timedelta(seconds=self.ahead_s)

    # --- what stands where

    def prospects(self) -> dict[int, Fields]:
        """Return every prospect's attributes by id."""
        found = self.outreach.world.dump().get("prospect", {})
        return {int(one["id"]): one["attributes"] for one in found.values()}

    def states(self) -> dict[int, Fields]:
        """Return every sequence state by id: its attributes, and the ids of its relations."""
        found = self.outreach.world.dump().get("sequenceState", {})
        return {int(one["id"]): {**one["attributes"], **one["relations"]} for one in found.values()}

    def outreach_tasks(self) -> dict[int, Fields]:
        """Return every task of Outreach by id, as states are."""
        found = self.outreach.world.dump().get("task", {})
        return {int(one["id"]): {**one["attributes"], **one["relations"]} for one in found.values()}

    def everybody(self) -> dict[int, Fields]:
        """Return every person in the CRM by id, deleted ones too."""
        return {int(one["id"]): one for one in self.people()}

    def living(self) -> dict[int, Fields]:
        """Return the people who are not deleted, by id."""
        return {number: one for number, one in self.everybody().items() if not one["is_deleted"]}

    # --- what the product has written down

    def links(self) -> dict[int, int]:
        """Return whom each prospect is linked to, living links only."""
        with self.store.read() as db:
            rows = db.execute(sa.select(links.LINK).where(links.LINK.c.kind == Kind.PROSPECT))
            return {row.outreach_id: row.crm_id for row in rows if not row.gone}

    def waiting(self) -> dict[tuple[str, int], str]:
        """Return what is held or will not be tried again: (stream, record) → how it stands and why."""
        query = sa.select(CHANGE).where(CHANGE.c.state.in_([Standing.HELD.value, Standing.DEAD.value]))
        with self.store.read() as db:
            return {(row.kind, row.record_id): f"{row.state}: {row.error}" for row in db.execute(query)}

    def entries(self) -> list[str]:
        """Return the words of every entry that waits for a person."""
        with self.store.read() as db:
            return [row.words for row in outbox.holds(db)]


def staged(template_path: Path, path: Path) -> Stage:
    """Return a stage with a fresh store in ``path``."""
    shutil.copyfile(template_path, path)
    made = Stage(f"sqlite:///{path}")
    made.open(path)
    return made


@dataclass(slots=True)
class Tripwire:
    """Does something once, at the ``nth`` call that fits; ``lifted`` afterwards."""

    fits: Callable[[Any], bool]
    nth: int
    then: Callable[[], None]
    met: int = field(default=0)
    lifted: bool = False

    def __call__(self, call: object) -> None:
        """See one call."""
        if self.lifted or not self.fits(call):
            return
        self.met += 1
        if self.met > self.nth:
            self.lifted = True
            self.then()


def refuse() -> None:
    """Be a host that takes no connection."""
    raise httpx.ConnectError("refused")


def lose() -> None:
    """Be a connection that breaks before the answer is there."""
    raise httpx.ReadError("broken")


def held_by_outreach(attributes: Fields, name: str) -> str | None:
    """Return a field as Outreach holds it, blank as None."""
    value = attributes.get(ATTRIBUTE[name])
    if name in LISTS:
        value = value[0] if value else None
    return plain(name, value)


def held_by_crm(person: Fields, name: str) -> str | None:
    """Return a field as the CRM holds it, blank as None."""
    return plain(name, person.get(COLUMN[name]))


def plain(name: str, value: object) -> str | None:
    """Return a value in the form in which equal ones are equal."""
    text = str(value or "").strip()
    return (text.lower() if name == "email" else text) or None


def out_in_outreach(attributes: Fields) -> bool:
    """Tell whether a prospect shows an opt-out of e-mail."""
    return bool(attributes.get("optedOut") or attributes.get("emailOptedOut"))


def out_in_crm(person: Fields) -> bool:
    """Tell whether a person shows No Email."""
    return person.get(NO_EMAIL) in TICKED


def addresses_of(record: Fields) -> set[str]:
    """Return every address that a prospect or a person bears."""
    found = [*(record.get("emails") or ()), record.get(COLUMN["email"]), record.get(ALTERNATE)]
    return {str(text).strip().lower() for text in found if text}
