"""The mapping in force: kept in the store, whatever its file says meanwhile, until somebody puts another one there.

What a mapping names that no record was read with yet is read once, whole; until then the fields it feeds are left alone, for a
value that was never seen must not be overwritten. Everyone is looked at again through ordinary changes, behind single edits.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from worker.core import errors, mapping_file, states, tasks
from worker.core.mapping import Computed
from worker.core.records import Kind
from worker.store import cursors, links, mappings, mirror, outbox
from worker.store.outbox import Lane
from worker.sync import notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from pathlib import Path

    import sqlalchemy as sa

    from worker.core.mapping import Mapping
    from worker.core.yaml_tree import Problem
    from worker.store.database import Store

IN_STORE = "the mapping in force"
NEVER_LEFT_ALONE = frozenset({Computed.OPTED_OUT, Computed.PROSPECT_ID})
"""An opt-out waits for nothing, and nobody may be created without the link."""


class Superseded(errors.Transient):
    """Another mapping was put in force meanwhile: what goes by the old one must not go on."""


@dataclass(frozen=True, slots=True)
class TakenUp:
    """What putting a mapping in force has set off: ``opened`` changes, and ``unread`` names by stream, read from now on."""

    before: str | None
    opened: int = 0
    unread: mappings.Names = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """The mapping in force beside its file. ``problems`` are the file's, and then it has no version."""

    path: Path
    version: str | None
    applied_at: datetime | None
    file_version: str | None
    problems: tuple[Problem, ...] = ()
    unread: mappings.Names = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        """Tell whether the file says something else than what is in force."""
        return self.version is not None and self.version != self.file_version

    @property
    def words(self) -> str:
        """Return the difference as a sentence that says what to do next."""
        if self.problems:
            told = f"{self.path} has {len(self.problems)} mistakes, and the mapping in force is kept"
            return f"{told}; next: outbook mapping check {self.path}"
        if self.version is None:
            return f"no mapping is in force yet: the first start or sync takes {self.path}"
        if self.differs:
            return f"{self.path} differs from the mapping in force; next: outbook plan --mapping {self.path}"
        return f"{self.path} is in force"


def read(path: Path) -> Mapping:
    """Return the mapping in a file; raise :class:`mapping_file.MappingInvalid` with every problem."""
    return mapping_file.load(text_of(path), str(path))


def text_of(path: Path) -> str:
    """Return the text of a file; one that cannot be read is a mapping with one problem."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        words = f"cannot be read: {error.strerror if isinstance(error, OSError) else error}"
        raise mapping_file.MappingInvalid(str(path), [mapping_file.Problem(1, 1, words)]) from None


def stored(store: Store) -> Mapping | None:
    """Return the mapping in force, under the version it had when it was put there; None if none is."""
    with store.read() as db:
        kept = mappings.in_force(db)
    return _mapping(kept) if kept else None


def _mapping(kept: mappings.Kept) -> Mapping:
    # A newer program may number the same text otherwise: what was not edited is not another mapping.
    return replace(mapping_file.load(kept.text, IN_STORE), version=kept.version)


def named(store: Store, mapping: Mapping) -> Mapping:
    """Return a file's mapping under the version in force, if it is that very text."""
    with store.read() as db:
        kept = mappings.in_force(db)
    return replace(mapping, version=kept.version) if kept and kept.text == mapping.text else mapping


def begin(store: Store, file: Callable[[], Mapping], now: datetime) -> Mapping:
    """Return the mapping in force for a process that starts; at the very first start that of the file is put in force."""
    with store.read() as db:
        begun = mappings.begun(db)
    known = stored(store) if begun else None
    if known is not None:
        return known
    first = named(store, file())
    with store.write() as db:
        if mappings.in_force(db) is None or not mappings.begun(db):
            take_up(db, first, now)
    return stored(store) or first


def guard(db: sa.Connection, mapping: Mapping) -> None:
    """Raise Superseded if another mapping is in force."""
    if mappings.version(db) not in {None, mapping.version}:
        raise Superseded("another mapping was put in force meanwhile; what is left goes by that one")


def standing(store: Store, path: Path) -> Standing:
    """Return how the mapping in force and its file stand to each other; nothing is changed."""
    problems: tuple[Problem, ...] = ()
    file = None
    try:
        file = read(path)
    except mapping_file.MappingInvalid as invalid:
        problems = tuple(invalid.problems)
    with store.read() as db:
        kept, version, unread = mappings.in_force(db), mappings.version(db), mappings.unread(db)
    file = named(store, file) if file else None
    return Standing(path, version, kept.applied_at if kept else None, file.version if file else None, problems, unread)


def take_up(db: sa.Connection, mapping: Mapping, now: datetime, *, to_write: bool = True) -> TakenUp:
    """Put a mapping in force, in the caller's transaction, and open what follows; ``to_write`` by it, not only to look."""
    if to_write:
        mappings.begin(db, now)
    kept, pending = mappings.in_force(db), mappings.unread(db)
    before = mappings.put(db, mapping.version, mapping.text, now)
    if before in {None, mapping.version}:
        return TakenUp(before)
    old = readable(kept)
    fresh = newly_named(old, mapping)
    still = {kind: pending.get(kind, frozenset()) & names for kind, names in _named(mapping).items()}
    mappings.set_unread(db, {kind: fresh.get(kind, frozenset()) | names for kind, names in still.items()})
    cursors.rewind(db, list(fresh))
    links.forget_fields(db, resourced(old, mapping))
    opened = outbox.open_all(db, Kind.PROSPECT, now=now)
    if old is None or old.task != mapping.task:
        opened += outbox.open_changes(db, Kind.TASK, touched_tasks(db, mapping), lane=Lane.BULK, now=now)
    return TakenUp(before, opened, fresh)


def readable(kept: mappings.Kept | None) -> Mapping | None:
    """Return what was in force, None if nothing was or this program no longer understands it."""
    try:
        return _mapping(kept) if kept else None
    except mapping_file.MappingInvalid:
        return None


def _named(mapping: Mapping) -> mappings.Names:
    """Return by stream what a mapping wants read."""
    return {
        Kind.PROSPECT: frozenset(mapping.prospect_attributes()),
        Kind.PERSON: frozenset(mapping.person_columns()),
        Kind.CRM_TASK: frozenset({mapping.task.reference}),
    }


def newly_named(old: Mapping | None, new: Mapping) -> mappings.Names:
    """Return by stream what the new mapping wants read and the old one did not."""
    known = _named(old) if old else {}
    found = {kind: names - known.get(kind, frozenset()) for kind, names in _named(new).items()}
    return {kind: names for kind, names in found.items() if names}


def resourced(old: Mapping | None, new: Mapping) -> frozenset[str]:
    """Return the CRM fields that are fed by another value than before: what was agreed about the old one tells nothing."""
    if old is None:
        return frozenset()
    known = {name: (line.outreach, line.computed) for name, line in old.by_crm.items()}
    return frozenset(name for name, line in new.by_crm.items() if known.get(name) != (line.outreach, line.computed))


def overtaken(db: sa.Connection, mapping: Mapping, prospect_ids: Iterable[int]) -> None:
    """Forget what a batch by an older mapping has just agreed about values that the one in force takes from elsewhere."""
    if mappings.version(db) not in {None, mapping.version}:
        new = readable(mappings.in_force(db))
        links.forget_fields(db, resourced(mapping, new) if new else (), prospect_ids)


def left_alone(mapping: Mapping, unread: mappings.Names) -> frozenset[str]:
    """Return the CRM fields that are not written on either side before everything they need was read."""
    columns, attributes = unread.get(Kind.PERSON, frozenset()), unread.get(Kind.PROSPECT, frozenset())
    return frozenset(
        line.crm
        for line in mapping.fields
        if line.computed not in NEVER_LEFT_ALONE and (line.crm in columns or line.attribute in attributes)
    )


def unread_by(db: sa.Connection, mapping: Mapping) -> mappings.Names:
    """Return by stream what a mapping, in force or not, names and no record was read with yet."""
    pending = mappings.unread(db)
    if mappings.version(db) in {None, mapping.version}:
        return pending
    wanted, fresh = _named(mapping), newly_named(readable(mappings.in_force(db)), mapping)
    found = {kind: fresh.get(kind, frozenset()) | (pending.get(kind, frozenset()) & wanted[kind]) for kind in wanted}
    return {kind: names for kind, names in found.items() if names}


def waiting(db: sa.Connection, mapping: Mapping) -> frozenset[str]:
    """Return the CRM fields that a mapping leaves alone for now."""
    return left_alone(mapping, unread_by(db, mapping))


def note_read(db: sa.Connection, stream: Kind, now: datetime) -> None:
    """Note that a stream was read whole: what was left alone for that is no longer, and everyone is looked at again."""
    unread = mappings.unread(db)
    if stream in unread:
        mappings.set_unread(db, {kind: names for kind, names in unread.items() if kind is not stream})
        outbox.open_all(db, Kind.PROSPECT, now=now)


def touched_tasks(db: sa.Connection, mapping: Mapping) -> set[int]:
    """Return the tasks without a CRM task that count as skipped by this mapping, and those that may travel back."""
    found: set[int] = set()
    anything = states.SequenceView.unseen(0)
    for part in mirror.portions(db, Kind.TASK):
        found.update(
            task.ref.id
            for task in part
            if notice.of_a_sequence(task)
            and tasks.skipped_by(tasks.TaskView(task, sequence=anything, step=None), mapping) is not None
        )
    if mapping.task.back is not None:
        found |= mirror.all_referred(db, Kind.CRM_TASK)
    return found - set(links.load(db, Kind.TASK, found))
