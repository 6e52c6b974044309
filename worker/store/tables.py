"""The rows. Every table of the store, and nothing else; queries live in the rooms beside this one."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from worker.store.columns import Moment, metadata
from worker.store.columns import moment as _moment
from worker.store.columns import number as _id
from worker.store.columns import text as _text

__all__ = ["Moment", "metadata"]


def _related(name: str) -> sa.Index:
    """Return the index of a relation, of those alone that have it: a prospect has none of the four."""
    told = sa.text(f"{name}_id IS NOT NULL")
    return sa.Index(f"ix_mirror_{name}", "kind", f"{name}_id", sqlite_where=told, postgresql_where=told)


class MirrorRow(SQLModel, table=True):
    """The last seen copy of a remote record. ``fields`` is JSON; the four ids are its relations, for joins.

    ``moved_at`` is JSON too: for attributes seen to change, when the snapshot was saved that first showed the new value.
    ``seen_at`` is when, by our clock, this copy was stored. ``ours``: our own write left it so, and no read has shown it yet.
    """

    __tablename__ = "mirror"
    __table_args__ = tuple(map(_related, ("prospect", "sequence", "step", "state")))
    kind: str = Field(primary_key=True)
    id: int = _id(primary_key=True)
    fields: str = _text()
    relations: str = _text(default="{}")
    moved_at: str = _text(default="{}")
    fingerprint: str
    updated_at: datetime | None = _moment()
    seen_at: datetime | None = _moment()
    ours: bool | None = None
    version: int | None = None
    deleted: bool = False
    prospect_id: int | None = _id(default=None)
    sequence_id: int | None = _id(default=None)
    step_id: int | None = _id(default=None)
    state_id: int | None = _id(default=None)


class AddressRow(SQLModel, table=True):
    """One e-mail address of a prospect or a person, in the form in which two are compared."""

    __tablename__ = "address"
    kind: str = Field(primary_key=True)
    record_id: int = _id(primary_key=True)
    address: str = Field(primary_key=True, index=True)


class ReferenceRow(SQLModel, table=True):
    """What a CRM record carries in its reference field: the id of an Outreach record."""

    __tablename__ = "reference"
    kind: str = Field(primary_key=True)
    record_id: int = _id(primary_key=True)
    outreach_id: int = _id(index=True)


class LinkRow(SQLModel, table=True):
    """A pair of ids believed to be the same, with both halves of its shadow as JSON. ``gone`` makes it a tombstone."""

    __tablename__ = "link"
    __table_args__ = (
        sa.UniqueConstraint("kind", "outreach_id"),
        sa.UniqueConstraint("kind", "crm_id"),
        sa.Index("ix_link_gone", "kind", sqlite_where=sa.text("gone = 1"), postgresql_where=sa.text("gone")),
    )
    id: int | None = _id(default=None, primary_key=True)
    kind: str
    outreach_id: int = _id()
    crm_id: int | None = _id(default=None)
    outreach_then: str = _text(default="{}")
    crm_then: str = _text(default="{}")
    written_version: int | None = None
    gone: bool = False
    linked_at: datetime | None = _moment()


class ChangeRow(SQLModel, table=True):
    """One record that needs attention: the outbox. At most one row a record; it is deleted when it is settled."""

    __tablename__ = "change"
    __table_args__ = (
        sa.UniqueConstraint("kind", "record_id"),
        sa.Index("ix_change_next", "state", "kind", "lane", "next_at", "id"),
        {"sqlite_autoincrement": True},
    )
    id: int | None = _id(default=None, primary_key=True)
    kind: str
    record_id: int = _id()
    lane: int = 1
    state: str = "due"
    generation: int = 1
    fence: int = 0
    lease_until: datetime | None = _moment()
    attempts: int = 0
    alone: bool = False
    opened_at: datetime | None = _moment()
    next_at: datetime | None = _moment()
    hold_key: str | None = Field(default=None, index=True)
    error: str | None = _text(default=None)
    failed_at: datetime | None = _moment()
    intent: str | None = _text(default=None)
    wish: str | None = _text(default=None)


class HoldRow(SQLModel, table=True):
    """One thing that waits for a person, however many records hang on it.

    ``login`` is the CRM user behind it, an address: for the eyes of whoever decides, never for a log.
    """

    __tablename__ = "hold"
    key: str = Field(primary_key=True)
    kind: str
    words: str = _text()
    since: datetime | None = _moment()
    login: str | None = None


class ExclusionRow(SQLModel, table=True):
    """A record that the mapping leaves out, and why."""

    __tablename__ = "exclusion"
    kind: str = Field(primary_key=True)
    record_id: int = _id(primary_key=True)
    reason: str = Field(index=True)


class DeletionRow(SQLModel, table=True):
    """A linked person that went missing in the CRM, for the brake. ``at`` is the vendor's time."""

    __tablename__ = "deletion"
    crm_id: int = _id(primary_key=True)
    outreach_id: int = _id()
    at: datetime | None = _moment(index=True)
    approved: bool = False


class BrakeRow(SQLModel, table=True):
    """One record that counts towards a brake, under the brake's key; ``record_id`` 0 is the approval of the brake itself."""

    __tablename__ = "brake"
    __table_args__ = (sa.Index("ix_brake_key_at", "key", "at"),)
    key: str = Field(primary_key=True)
    record_id: int = _id(primary_key=True)
    at: datetime | None = _moment()


class CursorRow(SQLModel, table=True):
    """How far a stream has been read. ``next_link``, ``place_*`` and ``run_*`` belong to the run under way.

    ``moved_at`` is when a poll last brought anything new, ``late_at`` when it brought what a webhook should have told by then.
    """

    __tablename__ = "cursor"
    stream: str = Field(primary_key=True)
    watermark: datetime | None = _moment()
    primed_at: datetime | None = _moment()
    polls: int = 0
    next_link: str | None = _text(default=None)
    place_at: datetime | None = _moment()
    place_id: int | None = _id(default=None)
    run_began: datetime | None = _moment()
    run_newest: datetime | None = _moment()
    lease_until: datetime | None = _moment()
    fence: int = 0
    polled_at: datetime | None = _moment()
    moved_at: datetime | None = _moment()
    late_at: datetime | None = _moment()
    next_at: datetime | None = _moment()
    trouble: str | None = _text(default=None)


_CAUSED = sa.text("caused_at IS NOT NULL")


class HistoryRow(SQLModel, table=True):
    """One write and why it was made. ``before`` and ``after`` are JSON by CRM field or Outreach attribute.

    ``caused_at`` is when, by the vendor's time, the other side was saved with what this write carries over, ``caused_by`` the
    stream that brought it.
    """

    __tablename__ = "history"
    __table_args__ = (
        sa.Index("ix_history_record", "kind", "outreach_id"),
        sa.Index("ix_history_at", "at"),
        sa.Index("ix_history_caused", "system", "at", "caused_at", sqlite_where=_CAUSED, postgresql_where=_CAUSED),
        {"sqlite_autoincrement": True},
    )
    id: int | None = _id(default=None, primary_key=True)
    at: datetime | None = _moment()
    caused_at: datetime | None = _moment()
    caused_by: str | None = None
    kind: str
    outreach_id: int = _id()
    crm_id: int | None = _id(default=None)
    system: str
    action: str
    before: str = _text(default="{}")
    after: str = _text(default="{}")
    why: str = _text(default="")
    mapping_version: str


class LatchRow(SQLModel, table=True):
    """An opt-out remembered under one name of the person: prospect id, person id or keyed hash of an address."""

    __tablename__ = "latch"
    __table_args__ = (sa.Index("ix_latch_since", "key_kind", "since"),)
    key_kind: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    since: datetime | None = _moment()
    evidence: str = _text()


class LiftingRow(SQLModel, table=True):
    """A sign of an opt-out that somebody lifted. ``mark`` is the vendor's date of it, ``open`` that its side still shows it."""

    __tablename__ = "lifting"
    source: str = Field(primary_key=True)
    record_id: int = _id(primary_key=True)
    prospect_id: int | None = _id(default=None, index=True)
    mark: str
    open: bool = True
    at: datetime | None = _moment()
    reason: str = _text()


class TokenRow(SQLModel, table=True):
    """The OAuth pair of one vendor, encrypted. ``previous`` is kept for one try (facts, delivery C.1)."""

    __tablename__ = "token"
    vendor: str = Field(primary_key=True)
    sealed: str = _text()
    previous: str | None = _text(default=None)
    expires_at: datetime | None = _moment()
    seeds: str = _text(default="[]")
    lease_until: datetime | None = _moment()
    fence: int = 0
    minted_at: datetime | None = _moment()


class CallRow(SQLModel, table=True):
    """Calls made to one vendor in one hour, by lane."""

    __tablename__ = "call"
    system: str = Field(primary_key=True)
    lane: str = Field(primary_key=True)
    hour: datetime = Field(sa_type=Moment, primary_key=True)
    calls: int = 0


class RunRow(SQLModel, table=True):
    """One foreground pass and its report, as JSON."""

    __tablename__ = "run"
    id: str = Field(primary_key=True)
    began_at: datetime | None = _moment()
    ended_at: datetime | None = _moment()
    mapping_version: str
    report: str = _text(default="{}")


class WebhookRow(SQLModel, table=True):
    """One webhook as it came in: stored first, looked at later. ``event`` is the vendor's id of it and a hash of the body.

    ``urgent``: it may tell of an opt-out, so it is looked at before the others.
    """

    __tablename__ = "webhook"
    __table_args__ = (
        sa.Index("ix_webhook_waiting", "done_at", "id"),
        sa.Index(
            "ix_webhook_urgent",
            "id",
            sqlite_where=sa.text("urgent = 1 AND done_at IS NULL"),
            postgresql_where=sa.text("urgent AND done_at IS NULL"),
        ),
        {"sqlite_autoincrement": True},
    )
    id: int | None = _id(default=None, primary_key=True)
    event: str = Field(unique=True)
    at: datetime | None = _moment()
    body: bytes = Field(sa_type=sa.LargeBinary)
    urgent: bool | None = None
    lease_until: datetime | None = _moment()
    done_at: datetime | None = _moment()
    error: str | None = _text(default=None)


class SightRow(SQLModel, table=True):
    """How many changes of a stream were seen first through one channel on one day (``sights.Channel``)."""

    __tablename__ = "sight"
    stream: str = Field(primary_key=True)
    channel: str = Field(primary_key=True)
    day: datetime = Field(sa_type=Moment, primary_key=True)
    records: int = 0


class RoundRow(SQLModel, table=True):
    """How far a slow round through all records has come: the rolling sweep, the reconciliation. ``told`` is JSON."""

    __tablename__ = "round"
    name: str = Field(primary_key=True)
    place_id: int = _id(default=0)
    began_at: datetime | None = _moment()
    ended_at: datetime | None = _moment()
    next_at: datetime | None = _moment()
    lease_until: datetime | None = _moment()
    fence: int = 0
    told: str = _text(default="{}")
    last: str = _text(default="{}")


class MappingRow(SQLModel, table=True):
    """A mapping that was put in force, word for word; which one is in force just now is a fact about the store."""

    __tablename__ = "mapping"
    version: str = Field(primary_key=True)
    text: str = _text()
    applied_at: datetime | None = _moment()


class PauseRow(SQLModel, table=True):
    """What somebody has paused: ``all``, ``to-crm``, ``to-outreach`` or the name of a stream."""

    __tablename__ = "pause"
    scope: str = Field(primary_key=True)
    since: datetime | None = _moment()
    words: str = _text(default="")


class ForgottenRow(SQLModel, table=True):
    """A person who was erased, under one name: prospect id, person id or keyed hash of an address. Nothing brings it back."""

    __tablename__ = "forgotten"
    key_kind: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    at: datetime | None = _moment()


class ExchangeRow(SQLModel, table=True):
    """The last request about a record and the reply to it, both redacted, for `explain` and `failures show`."""

    __tablename__ = "exchange"
    kind: str = Field(primary_key=True)
    record_id: int = _id(primary_key=True)
    system: str = Field(primary_key=True)
    at: datetime | None = _moment()
    request: str = _text()
    reply: str = _text()


class AlertRow(SQLModel, table=True):
    """One state that somebody is alerted about.

    ``told`` names those who were last told that it is so: ``url``, ``command``, both, or blank for nobody.
    """

    __tablename__ = "alert"
    name: str = Field(primary_key=True)
    firing: bool = False
    since: datetime | None = _moment()
    told: str = ""
    told_at: datetime | None = _moment()
    lease_until: datetime | None = _moment()
    words: str = _text(default="")


class CounterRow(SQLModel, table=True):
    """How often something has happened, ever, in all processes together. ``labels`` are words, by spaces."""

    __tablename__ = "counter"
    name: str = Field(primary_key=True)
    labels: str = Field(primary_key=True)
    total: float = 0.0


class MetaRow(SQLModel, table=True):
    """A few facts about the store itself: the key it was sealed with, what is known of the CRM's fields."""

    __tablename__ = "meta"
    key: str = Field(primary_key=True)
    value: str = _text()
