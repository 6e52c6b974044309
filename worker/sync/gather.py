"""All that a decision needs, for a batch at a time: from the mirror, and what the mirror lacks by id in one request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.core import states, transforms
from worker.core.consent import Source
from worker.core.mapping import PERSON_ADDRESSES
from worker.core.plan import PersonView
from worker.core.records import Kind
from worker.store import liftings, links, mirror
from worker.sync import identify, notice, streams

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    import sqlalchemy as sa

    from worker.core.mapping import Mapping
    from worker.core.records import Link, Snapshot
    from worker.core.states import SequenceView, StateView
    from worker.store.database import Store
    from worker.store.links import Name, Names
    from worker.sync.identify import Match
    from worker.sync.streams import Remotes


@dataclass(frozen=True, slots=True)
class Batch:
    """The views of a batch, and for those without a certain person, who it could be."""

    views: dict[int, PersonView] = field(default_factory=dict)
    matches: dict[int, Match] = field(default_factory=dict)
    candidates: dict[int, Snapshot] = field(default_factory=dict)
    unreadable: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class _Loaded:
    prospects: dict[int, Snapshot]
    states: dict[int, list[Snapshot]]
    sequences: dict[int, Snapshot]
    steps: dict[int, Snapshot]
    links: dict[int, Link]
    people: dict[int, Snapshot]


def people(
    prospect_ids: Collection[int],
    *,
    store: Store,
    remotes: Remotes,
    mapping: Mapping,
    names: Names,
    stopped: frozenset[str],
    lacking: frozenset[str],
    now: datetime,
) -> Batch:
    """Return the views of some prospects; what the mirror lacks of them is asked for by id."""
    with store.read() as db:
        loaded = _load(db, prospect_ids)
    if _fetch_outreach(loaded, prospect_ids, store=store, remotes=remotes, mapping=mapping, names=names, now=now):
        with store.read() as db:
            loaded = _load(db, prospect_ids)
    unseen = {link.crm_id for link in loaded.links.values() if not link.gone} - set(loaded.people)
    if unseen:
        columns = streams.columns(Kind.PERSON, mapping, lacking)
        found = identify.read_by_id(remotes.crm, Kind.PERSON, unseen, columns)
        with store.write() as db:
            notice.keep(db, Kind.PERSON, list(found.values()), mapping=mapping, names=names, now=now)
        loaded.people.update(found)
    return _views(loaded, prospect_ids, _unreadable(loaded), store=store, names=names, stopped=stopped)


def known(prospect_ids: Collection[int], *, store: Store, names: Names, stopped: frozenset[str]) -> Batch:
    """Return the views of some prospects as the mirror has them."""
    with store.read() as db:
        loaded = _load(db, prospect_ids)
    return _views(loaded, prospect_ids, _unreadable(loaded), store=store, names=names, stopped=stopped)


def _unreadable(loaded: _Loaded) -> frozenset[int]:
    return frozenset(pid for pid, link in loaded.links.items() if not link.gone and link.crm_id not in loaded.people)


def _load(db: sa.Connection, prospect_ids: Collection[int]) -> _Loaded:
    found = mirror.related(db, Kind.STATE, "prospect", prospect_ids)
    every = [state for group in found.values() for state in group]
    known = links.load(db, Kind.PROSPECT, prospect_ids)
    return _Loaded(
        prospects=mirror.load(db, Kind.PROSPECT, prospect_ids),
        states=found,
        sequences=mirror.load(db, Kind.SEQUENCE, _related(every, "sequence")),
        steps=mirror.load(db, Kind.STEP, _related(every, "sequenceStep")),
        links=known,
        people=mirror.load(db, Kind.PERSON, [link.crm_id for link in known.values()]),
    )


def _related(snapshots: Iterable[Snapshot], relation: str) -> set[int]:
    ids = {one.relations.get(relation) for one in snapshots}
    return {one for one in ids if one is not None}


def _fetch_outreach(
    loaded: _Loaded,
    prospect_ids: Collection[int],
    *,
    store: Store,
    remotes: Remotes,
    mapping: Mapping,
    names: Names,
    now: datetime,
) -> bool:
    """Fetch by id what is referred to and was never seen; what a complete answer leaves out becomes a tombstone."""
    every = [state for group in loaded.states.values() for state in group]
    wanted = {
        Kind.PROSPECT: set(prospect_ids) - set(loaded.prospects),
        Kind.SEQUENCE: _related(every, "sequence") - set(loaded.sequences),
        Kind.STEP: _related(every, "sequenceStep") - set(loaded.steps),
    }
    for kind, ids in wanted.items():
        if ids:
            fetch(kind, ids, store=store, remotes=remotes, mapping=mapping, names=names, now=now)
    return any(wanted.values())


def fetch(
    kind: Kind, ids: Collection[int], *, store: Store, remotes: Remotes, mapping: Mapping, names: Names, now: datetime
) -> set[int]:
    """Bring some Outreach records into the mirror by id; return those that a complete answer left out."""
    found = remotes.outreach.by_ids(
        kind, sorted(ids), attributes=streams.attributes(kind, mapping), relations=streams.relations(kind)
    )
    gone = set(ids) - {one.ref.id for one in found}
    with store.write() as db:
        notice.keep(db, kind, found, mapping=mapping, names=names, now=now)
        mirror.bury(db, kind, gone)
    return gone


def _views(
    loaded: _Loaded,
    prospect_ids: Collection[int],
    unreadable: frozenset[int],
    *,
    store: Store,
    names: Names,
    stopped: frozenset[str],
) -> Batch:
    alive = {pid: one for pid, one in loaded.prospects.items() if not one.deleted}
    linked = {pid: link for pid, link in loaded.links.items() if not link.gone}
    homeless = [
        one
        for pid, one in alive.items()
        if pid not in loaded.links or (pid in linked and (p := loaded.people.get(linked[pid].crm_id)) and p.deleted)
    ]
    with store.read() as db:
        matches = identify.match(db, homeless)
        named = {
            crm for one in matches.values() for crm in (*one.candidates, *([one.person_id] if one.person_id else []))
        }
        candidates = mirror.load(db, Kind.PERSON, named)
        drafts = {
            pid: _view(
                pid, loaded, prospect=alive.get(pid), match=matches.get(pid), candidates=candidates, stopped=stopped
            )
            for pid in prospect_ids
        }
        known = {pid: _names(view, names) for pid, view in drafts.items()}
        remembered = links.latched(db, [name for told in known.values() for name in told])
        bodies = {pid: {one.ref.id for one in (view.person, view.former) if one} for pid, view in drafts.items()}
        lifted = liftings.load(db, prospects=drafts, people={crm for found in bodies.values() for crm in found})
    views = {}
    for pid, view in drafts.items():
        latched = any(name in remembered for name in known[pid])
        views[pid] = PersonView(
            prospect_id=pid,
            prospect=view.prospect,
            states=_states(loaded, pid) if view.prospect else (),
            person=view.person,
            link=view.link,
            former=view.former,
            latched=latched,
            stopped=stopped,
            lifted={
                key: one
                for key, one in lifted.items()
                if one.prospect == pid or (key[0] == Source.PERSON and key[1] in bodies[pid])
            },
        )
    return Batch(views, matches, candidates, unreadable)


def _view(
    pid: int,
    loaded: _Loaded,
    *,
    prospect: Snapshot | None,
    match: Match | None,
    candidates: dict[int, Snapshot],
    stopped: frozenset[str],
) -> PersonView:
    link = loaded.links.get(pid)
    person = loaded.people.get(link.crm_id) if link and not link.gone else None
    if match is not None and match.person_id is not None:
        # A living person takes over: nothing was ever agreed with it, and the deleted one's opt-out is united with its own.
        return PersonView(pid, prospect, person=candidates[match.person_id], former=person, stopped=stopped)
    return PersonView(pid, prospect, person=person, link=link, stopped=stopped)


def _names(view: PersonView, names: Names) -> list[Name]:
    addresses: set[str] = set()
    if view.prospect:
        addresses |= transforms.addresses(view.prospect, ("emails",))
    told: list[Name] = []
    for person in (view.person, view.former):
        if person is not None:
            addresses |= transforms.addresses(person, PERSON_ADDRESSES)
            told += names.of(prospect=None, person=person.ref.id, addresses=())
    return [*told, *names.of(prospect=view.prospect_id, person=None, addresses=addresses)]


def _states(loaded: _Loaded, pid: int) -> tuple[StateView, ...]:
    return tuple(state_view(one, loaded.sequences, loaded.steps) for one in loaded.states.get(pid, ()))


def state_view(state: Snapshot, sequences: dict[int, Snapshot], steps: dict[int, Snapshot]) -> StateView:
    """Return one sequence state as the rules see it."""
    step = steps.get(state.relations.get("sequenceStep") or 0)
    order = step.fields.get("order") if step and not step.deleted else None
    return states.StateView(
        id=state.ref.id,
        sequence=sequence_view(state.relations.get("sequence") or 0, sequences),
        state=str(state.fields.get("state") or ""),
        changed_at=transforms.parse_time(state.fields.get("stateChangedAt")),
        active_at=transforms.parse_time(state.fields.get("activeAt")),
        step=order if isinstance(order, int) else None,
        saved_at=state.updated_at,
    )


def sequence_view(sequence_id: int, sequences: dict[int, Snapshot]) -> SequenceView:
    """Return a sequence as the rules see it; one that may not be seen counts as enabled and not transactional."""
    sequence = sequences.get(sequence_id)
    if sequence is None or sequence.deleted:
        return states.SequenceView.unseen(sequence_id)
    name = sequence.fields.get("name")
    return states.SequenceView(
        id=sequence_id,
        name=str(name) if name else f"Sequence {sequence_id}",
        enabled=sequence.fields.get("enabled", True) is not False,
        transactional=sequence.fields.get("transactional") is True,
    )
