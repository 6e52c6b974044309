"""Reconcile: both sides read again, slice by slice, and compared by the very plan that everything is written by.

A round first walks through all people of the CRM, a page at a time, each with the prospects it is linked to or bears the id
of, then through the prospects in a sequence that no person belongs to. What a slice reads is kept as a poll's page is: what
differs from the mirror was missed by everything else. Only what the plan would then write counts as a disagreement.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from worker.core import cursor, errors, findings, lanes, plan, transforms
from worker.core.findings import MENDED, Finding, Sort
from worker.core.mapping import PERSON_ADDRESSES
from worker.core.records import Kind
from worker.store import backlog, cursors, links, mirror, outbox, pairs, rounds, sights
from worker.store.sights import Channel
from worker.sync import breakers, fields, gather, identify, in_force, notice, streams, sweep
from worker.sync.case import kept_alive

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from worker.core.records import Snapshot
    from worker.store.database import Store
    from worker.store.rounds import Round
    from worker.sync.case import Applier

NAME = LANE = lanes.RECONCILE
"""The round's name, and the lane of the budget that its calls are counted under."""
TURN = timedelta(days=7)
"""How long a round takes in the background: its slices are spread over it."""
AGAIN = timedelta(minutes=10)
"""After so long a slice that failed is tried again."""
SHOWN, KEPT = 200, 5000
"""So many findings are kept word for word, and so many by their ids, for the repair."""
PEOPLE, ALONE = "people", "alone"
"""The two halves of a round: everybody in the CRM, then the prospects whom nobody there belongs to."""
OTHERS = "another process is comparing just now"
UNPRIMED = "waits until every stream has been read once: run `outbook sync` first"

log = structlog.get_logger("outbook")


@dataclass(frozen=True, slots=True)
class Sliced:
    """What one slice brought. ``busy``: somebody else is at it, or it is not due. ``ended``: the round came to its end."""

    read: int = 0
    compared: int = 0
    found: int = 0
    missed: int = 0
    busy: bool = False
    ended: bool = False


@dataclass(slots=True)
class _Slice:
    """One slice on its way: where the round stands after it, and what it found."""

    place: int
    last: bool
    half: str
    compared: int = 0
    read: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    found: list[Finding] = field(default_factory=list)


def begin_anew(on: Applier) -> None:
    """Let a round begin at once and not dawdle; who is taking a slice of the old one loses it."""
    with on.store.write() as db:
        rounds.restart(db, NAME, told={sweep.HURRIED: True})


def take(on: Applier, *, early: bool = False, rate: float = 1.0) -> Sliced:
    """Take the next slice if it is due, or ``early``. Raise :class:`errors.Transient` or a Halt; the next try goes on."""
    with on.store.write() as db:
        if cursors.unprimed(db):
            raise errors.Throttled(UNPRIMED, retry_after_s=0)
        this = rounds.lease(db, NAME, on.now(), early=early)
    if this is None:
        return Sliced(busy=True)
    try:
        with kept_alive(on.store, lambda db: rounds.renew(db, this, on.now())):
            return _take(on, _begun(on, this), rate)
    except errors.OutbookError as error:
        _leave(on, this, error.words)
        raise
    except BaseException:
        _leave(on, this, "interrupted")
        raise


def take_due(on: Applier, *, rate: float = 1.0) -> Sliced:
    """Take the next slice if it is due and there is anything to compare yet; none at a ``rate`` of 0."""
    with on.store.read() as db:
        if rate <= 0 or cursors.unprimed(db):
            return Sliced(busy=True)
    return take(on, rate=rate)


def walk(on: Applier, *, sleep: Callable[[float], None], patience_s: float = 600.0) -> Iterator[Sliced]:
    """Take slice after slice to the round's end; who else is at it is waited for, and a vendor that asks for a while.

    Before each wait comes a slice that is ``busy``, so that whoever walks may stop there.
    """
    while _is_under_way(on):
        try:
            told, wait = take(on, early=True), errors.Throttled(OTHERS, retry_after_s=1.0)
        except errors.Throttled as asked:
            if asked.retry_after_s <= 0:
                raise
            told, wait = Sliced(busy=True), asked
            log.warning("put_off", stream=NAME, reason=wait.words, wait_s=round(wait.retry_after_s, 1))
        yield told
        if told.busy:
            patience_s -= wait.retry_after_s
            if patience_s < 0:
                raise wait
            sleep(wait.retry_after_s)


def go_on(on: Applier) -> None:
    """Let the round under way go on where it is; if there is none, one begins."""
    if not _is_under_way(on):
        begin_anew(on)


def _is_under_way(on: Applier) -> bool:
    row = standing(on.store)
    return row is not None and (row.began_at is not None or bool(row.told.get(sweep.HURRIED)))


def standing(store: Store) -> rounds.Standing | None:
    """Return how the comparison stands, None before the first."""
    with store.read() as db:
        return next((row for row in rounds.standings(db) if row.name == NAME), None)


def _leave(on: Applier, this: Round, words: str) -> None:
    with on.store.write() as db:
        rounds.leave(db, this, next_at=on.now() + AGAIN, trouble=words)


def _begun(on: Applier, this: Round) -> Round:
    if this.began_at is not None:
        return replace(this, told={name: value for name, value in this.told.items() if name != "trouble"})
    with on.store.read() as db:
        people = mirror.extent(db, Kind.PERSON)[0]
    told = {
        sweep.HURRIED: this.told.get(sweep.HURRIED, False),
        "half": PEOPLE,
        "slices": people // identify.CRM_PAGE + 3,
        "done": 0,
        "compared": 0,
        **{name: {} for name in ("read", "missed", "found", "fields")},
        **{name: [] for name in ("findings", "differing", "undecided")},
    }
    return replace(this, began_at=on.now(), told=told)


def _take(on: Applier, this: Round, rate: float) -> Sliced:
    one = _of_people(on, this.place) if this.told["half"] == PEOPLE else _alone(on, this.place)
    with on.store.write() as db:
        told = _counted(this.told, one)
        now, began = on.now(), this.began_at or on.now()
        if one.last and one.half == ALONE:
            all_pairs = links.count(db, Kind.PROSPECT)
            told |= {"pairs": all_pairs, "coverage": findings.covered(told["compared"], all_pairs)}
            told["differences"] = findings.disagreements(told["found"])
            mine = rounds.finish(db, replace(this, told=told), now, next_at=max(now, began + TURN))
        else:
            spread = lanes.next_slice(began, now, TURN, done=told["done"], slices=told["slices"], rate=rate)
            next_at = now if told[sweep.HURRIED] else spread
            mine = rounds.step(db, replace(this, place=one.place, told=told), now, next_at=next_at)
        if not mine:
            raise errors.RemoteDown("lost the comparison to another process")
    ended = one.last and one.half == ALONE
    return Sliced(one.read.total(), one.compared, len(one.found), one.missed.total(), ended=ended)


def _counted(before: Any, one: _Slice) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return what the round has counted with this slice; where a half ends, the next one is named."""
    told = dict(before) | {"done": before["done"] + 1, "compared": before["compared"] + one.compared}
    told["half"] = ALONE if one.last else one.half
    fields_ = Counter(f"{v.field} {v.right}" for f in one.found for v in f.fields)
    for name, more in (
        ("read", one.read),
        ("missed", one.missed),
        ("found", Counter(f.sort.value for f in one.found)),
        ("fields", fields_),
    ):
        told[name] = dict(Counter(before[name]) + more)
    mended = [f.prospect for f in one.found if f.sort in MENDED]
    undecided = [f.as_json() for f in one.found if f.sort not in MENDED]
    for name, fresh, most in (
        ("findings", [f.as_json() for f in one.found], SHOWN),
        ("differing", mended, KEPT),
        ("undecided", undecided, KEPT),
    ):
        told[name] = [*before[name], *fresh][:most]
    return told


def _of_people(on: Applier, place: int) -> _Slice:
    """Read a page of people with the prospects they are linked to, or bear the id of, and compare them."""
    columns = _columns(on)
    either = (("is_deleted", "true", ""), ("is_deleted", "false", ""))
    page = on.remotes.crm.page(
        Kind.PERSON,
        columns=columns,
        filters=[("id", "gt", str(place)), *either],
        match="1 AND (2 OR 3)",
        sort=("id",),
        limit=identify.CRM_PAGE,
    )
    ids = [person.ref.id for person in page.snapshots]
    if any(later <= earlier for earlier, later in zip([place, *ids], ids, strict=False)):
        raise errors.ContractBroken("people sorted by id come out of order", system=Kind.PERSON.system)
    # A short page may just be one of which some rows may not be seen: only an empty one is the last.
    one = _Slice(ids[-1] if ids else 0, last=not ids, half=PEOPLE)
    with on.store.read() as db:
        linked = pairs.between(db, place, ids[-1] if ids else None)
    absent = sorted(set(linked) - set(ids))
    found: dict[int, Snapshot] = {}
    for start in range(0, len(absent), identify.CRM_PAGE):
        part = absent[start : start + identify.CRM_PAGE]
        found |= identify.read_by_id(on.remotes.crm, Kind.PERSON, part, columns)
    people = [*page.snapshots, *found.values()]
    _keep(on, Kind.PERSON, people, one)
    unseen = [crm for crm in absent if crm not in found]
    one.found += [_unreadable(crm, linked[crm]) for crm in unseen]
    with on.store.read() as db:
        borne = mirror.references(db, Kind.PERSON, [person.ref.id for person in people if not person.deleted])
        cut = {pid for pid, link in links.load(db, Kind.PROSPECT, borne.values()).items() if link.gone}
    strays = {crm: pid for crm, pid in borne.items() if crm not in linked and pid not in cut}
    _read_outreach(on, {*linked.values(), *strays.values()}, one)
    both = [pid for crm, pid in linked.items() if crm not in unseen]
    with on.store.read() as db:
        taken = {pid for pid, link in links.load(db, Kind.PROSPECT, strays.values()).items() if not link.gone}
        one.found += _orphans(db, strays, taken) + _doubles(db, people)
        later = set(mirror.related(db, Kind.STATE, "prospect", strays.values()))
    # Whoever is in a sequence and has no link comes by in the other half.
    _compare(on, [*both, *sorted(set(strays.values()) - taken - later)], one)
    one.compared = len(both)
    return one


def _alone(on: Applier, place: int) -> _Slice:
    """Read prospects in a sequence whom no person belongs to, and ask the plan why."""
    with on.store.read() as db:
        ids = list(pairs.without(db, place, outbox.BATCH))
    one = _Slice(ids[-1] if ids else 0, last=not ids, half=ALONE)
    _read_outreach(on, ids, one)
    _compare(on, ids, one)
    return one


def _columns(on: Applier) -> tuple[str, ...]:
    with on.store.read() as db:
        lacking = fields.lacking(db)
    return streams.columns(Kind.PERSON, on.mapping, lacking)


def _keep(on: Applier, kind: Kind, found: Sequence[Snapshot], one: _Slice) -> None:
    """Store what was read; what differs though every poll has come by was missed by everything else."""
    with on.store.write() as db:
        in_force.guard(db, on.mapping)
        row = cursors.row_of(db, kind)
        watermark = row.watermark if row else None
        for late in (True, False):
            some = [snapshot for snapshot in found if _is_settled(snapshot, watermark) is late]
            moved = notice.keep(db, kind, some, mapping=on.mapping, names=on.names, now=on.now()).moved
            if late:
                sights.count(db, kind, Channel.RECONCILE, moved, on.now())
                one.missed += Counter({kind.value: moved} if moved else {})
    one.read[kind.value] += len(found)


def _is_settled(snapshot: Snapshot, watermark: datetime | None) -> bool:
    at = snapshot.updated_at
    return at is None or (watermark is not None and at < watermark - cursor.LONG_OVERLAP)


def _read_outreach(on: Applier, prospect_ids: Collection[int], one: _Slice) -> None:
    """Read prospects and all their states by id; what the mirror has and a look-up by id has not is gone."""
    if not prospect_ids:
        return
    there = _by_ids(on, Kind.PROSPECT, prospect_ids)
    _keep(on, Kind.PROSPECT, there, one)
    _take_away(on, Kind.PROSPECT, set(prospect_ids) - {prospect.ref.id for prospect in there})
    listed = on.remotes.outreach.states_of(
        sorted(prospect_ids),
        attributes=streams.attributes(Kind.STATE, on.mapping),
        relations=streams.relations(Kind.STATE),
    )
    # A relation without data has been seen (facts, outreach-api 2); such a state says nothing about anybody.
    states = [state for state in listed if state.relations.get("prospect") is not None]
    with on.store.read() as db:
        held = mirror.related(db, Kind.STATE, "prospect", prospect_ids)
    missing = {state.ref.id for group in held.values() for state in group} - {state.ref.id for state in listed}
    again = _by_ids(on, Kind.STATE, missing)
    _keep(on, Kind.STATE, [*states, *again], one)
    _take_away(on, Kind.STATE, missing - {state.ref.id for state in again})


def _by_ids(on: Applier, kind: Kind, ids: Collection[int]) -> list[Snapshot]:
    if not ids:
        return []
    return on.remotes.outreach.by_ids(
        kind, sorted(ids), attributes=streams.attributes(kind, on.mapping), relations=streams.relations(kind)
    )


def _take_away(on: Applier, kind: Kind, gone: Iterable[int]) -> None:
    """Bury what is gone, under the sweep's brake: a lost permission looks just the same."""
    with on.store.write() as db:
        known = mirror.load(db, kind, gone)
        lost = sorted(one for one, copy in known.items() if not copy.deleted)
        most = max(sweep.LEAST, mirror.extent(db, kind)[0] * sweep.SHARE // 100)
        if lost:
            sights.count(db, kind, Channel.RECONCILE, sweep.take_away(db, kind, on, lost, most), on.now())


def _unreadable(crm_id: int, prospect_id: int) -> Finding:
    why = f"person {crm_id} is neither visible nor deleted in the CRM"
    return Finding(Sort.UNREADABLE, prospect_id, (crm_id,), why)


def _orphans(db: sa.Connection, strays: dict[int, int], taken: Collection[int]) -> list[Finding]:
    """Return the people who bear the id of a prospect that does not exist, or is somebody else's."""
    known = mirror.load(db, Kind.PROSPECT, strays.values())
    found = []
    for crm, pid in sorted(strays.items()):
        prospect = known.get(pid)
        if prospect is None or prospect.deleted:
            why = f"bears the id of prospect {pid}, which Outreach does not have"
        elif pid in taken:
            why = f"bears the id of prospect {pid}, which is linked to another person"
        else:
            continue
        found.append(Finding(Sort.ORPHAN, pid, (crm,), why))
    return found


def _doubles(db: sa.Connection, people: Sequence[Snapshot]) -> list[Finding]:
    """Return who bears the same id or address; each such group once, with the last of them, when all have been read."""
    living = {person.ref.id: person for person in people if not person.deleted}
    borne = mirror.references(db, Kind.PERSON, living)
    by_reference = mirror.referring(db, Kind.PERSON, borne.values())
    addresses = {text for person in living.values() for text in transforms.addresses(person, PERSON_ADDRESSES)}
    groups = {tuple(sorted(group)) for group in mirror.holders(db, Kind.PERSON, addresses).values()}
    told = [
        Finding(Sort.SAME_REFERENCE, pid, tuple(sorted(group)), f"{len(group)} people bear the id of prospect {pid}")
        for pid, group in sorted(by_reference.items())
        if len(group) > 1 and max(group) in living
    ]
    return told + [
        Finding(Sort.SAME_ADDRESS, None, group, f"{len(group)} people bear one e-mail address")
        for group in sorted(groups)
        if len(group) > 1 and group[-1] in living
    ]


def _compare(on: Applier, prospect_ids: Sequence[int], one: _Slice) -> None:
    """Ask the ordinary plan what it would write about each of the prospects and its person."""
    with on.store.read() as db:
        held = fields.unwritable(db)
        stops, unread = breakers.standing(db), in_force.waiting(db, on.mapping)
        standing = backlog.told(db, Kind.PROSPECT, prospect_ids)
    stopped = stops.everybody | unread | held
    for start in range(0, len(prospect_ids), outbox.BATCH):
        batch = gather.known(
            prospect_ids[start : start + outbox.BATCH], store=on.store, names=on.names, stopped=frozenset(stopped)
        )
        for pid, view in batch.views.items():
            match = batch.matches.get(pid)
            if match is not None and match.held:
                one.found.append(Finding(Sort.AMBIGUOUS, pid, match.candidates, match.held))
                continue
            told = plan.plan_person(replace(view, stopped=view.stopped | stops.of(pid)), on.mapping)
            if finding := findings.of_plan(view, told):
                one.found.append(_with_standing(finding, standing.get(pid)))


def _with_standing(finding: Finding, standing: tuple[outbox.Standing, str | None] | None) -> Finding:
    """Return a finding that says so if what would mend it failed or waits for somebody."""
    if standing is None or standing[0] in {outbox.Standing.DUE, outbox.Standing.WAITING}:
        return finding
    return replace(finding, why=f"{finding.why}; {standing[0].value}: {standing[1] or 'no reason told'}")
