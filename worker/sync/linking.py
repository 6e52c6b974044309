"""Who is who, decided by somebody: a prospect and a person are linked because a human says so (`outbook link`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from worker.core import errors
from worker.core.records import Kind, Link, System
from worker.store import backlog, links, mirror, outbox
from worker.store.links import Written
from worker.store.outbox import Lane
from worker.sync import gather, identify, notice, receipts, streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import sqlalchemy as sa

    from worker.sync.case import Applier

T = TypeVar("T")
PATIENCE_S = 30.0
"""How long a decision waits for what another process has in hand; a dead one's leases run out within seconds."""
BUSY_S = 0.25
_LINE = re.compile(r"(?:prospect:)?(?P<prospect>\d{1,18})\s*[,;\s]\s*(?:person:)?(?P<person>\d{1,18})")
_HEADING = re.compile(r"prospect[\w ]*[,;\s]\s*person[\w ]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pair:
    """A prospect and a person who are the same. ``line`` is where a file says so, 0 if none does."""

    prospect: int
    person: int
    line: int = 0

    def __str__(self) -> str:
        """Return it as a receipt names it."""
        return f"prospect {self.prospect} and person {self.person}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a pair cannot be linked."""

    line: int
    words: str


class Unlinkable(ValueError):
    """Nothing was done: every problem there is."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep the problems in the order of their lines."""
        self.problems = sorted(problems, key=lambda one: (one.line, one.words))
        super().__init__("; ".join(one.words for one in self.problems))


@dataclass(frozen=True, slots=True)
class Linked:
    """A pair that is linked now; ``already`` if it was before."""

    pair: Pair
    already: bool = False


def parse(text: str) -> list[Pair]:
    """Return the pairs of a file: ``ID,ID`` or ``prospect:ID person:ID`` a line. Raise Unlinkable with every problem."""
    pairs: list[Pair] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
        told = line.partition("#")[0].replace('"', "").strip()
        found = _LINE.fullmatch(told)
        if found:
            pairs.append(Pair(int(found["prospect"]), int(found["person"]), number))
        elif told and not (_HEADING.fullmatch(told) and not pairs):
            problems.append(Problem(number, "neither ID,ID (prospect, person) nor prospect:ID person:ID"))
    problems += _contradictions(pairs)
    if not pairs and not problems:
        problems.append(Problem(1, "names nobody"))
    if problems:
        raise Unlinkable(problems)
    return pairs


def _contradictions(pairs: Iterable[Pair]) -> list[Problem]:
    """Return the pairs that name somebody whom an earlier one gives to another."""
    people: dict[int, Pair] = {}
    prospects: dict[int, Pair] = {}
    problems = []
    for pair in pairs:
        for who, earlier in (
            (f"prospect {pair.prospect}", prospects.setdefault(pair.prospect, pair)),
            (f"person {pair.person}", people.setdefault(pair.person, pair)),
        ):
            if (earlier.prospect, earlier.person) != (pair.prospect, pair.person):
                problems.append(Problem(pair.line, f"{who} is already in line {earlier.line}, with somebody else"))
    return problems


def when_free(
    on: Applier, prospect_ids: Sequence[int], act: Callable[[sa.Connection], T], *, sleep: Callable[[float], None]
) -> T:
    """Act in one transaction in which nobody works on these prospects: a plan made before it would undo it afterwards.

    Raise :class:`errors.StaleVersion` if somebody goes on doing so.
    """
    waited = 0.0
    while True:
        with on.store.write() as db:
            busy = backlog.leased(db, Kind.PROSPECT, prospect_ids, on.now())
            if not busy:
                return act(db)
        if waited >= PATIENCE_S:
            raise errors.StaleVersion(f"another process is working on prospect {min(busy)}; try again")
        sleep(BUSY_S)
        waited += BUSY_S


def link(on: Applier, pairs: Sequence[Pair], *, sleep: Callable[[float], None]) -> list[Linked]:
    """Link pairs, all or none; raise Unlinkable with every reason against it, with nothing done.

    What either side lacks is filled when the pair is next looked at, as at any first sight.
    """
    wanted = list({(pair.prospect, pair.person): pair for pair in pairs}.values())
    _fetch(on, wanted)
    return when_free(on, [pair.prospect for pair in wanted], lambda db: _decide(db, on, wanted), sleep=sleep)


def _decide(db: sa.Connection, on: Applier, pairs: Sequence[Pair]) -> list[Linked]:
    problems = _missing(db, pairs) + _taken(db, pairs) + _contradictions(pairs)
    if problems:
        raise Unlinkable(problems)
    known = links.load(db, Kind.PROSPECT, [pair.prospect for pair in pairs])
    told = [Linked(pair, already=_joins(known.get(pair.prospect), pair)) for pair in pairs]
    _join(db, on, [one.pair for one in told if not one.already])
    _let_go(db, on, pairs)
    return told


def _joins(known: Link | None, pair: Pair) -> bool:
    return known is not None and not known.gone and known.crm_id == pair.person


def _fetch(on: Applier, pairs: Iterable[Pair]) -> None:
    """Look up by id whom the mirror does not hold."""
    prospects, people = {pair.prospect for pair in pairs}, {pair.person for pair in pairs}
    with on.store.read() as db:
        prospects -= set(mirror.load(db, Kind.PROSPECT, prospects))
        people -= set(mirror.load(db, Kind.PERSON, people))
    if prospects:
        fetch_prospects(on, prospects)
    if people:
        fetch_people(on, people)


def fetch_prospects(on: Applier, ids: Iterable[int]) -> None:
    """Bring prospects into the mirror by id; who is gone becomes a tombstone."""
    gather.fetch(
        Kind.PROSPECT,
        sorted(ids),
        store=on.store,
        remotes=on.remotes,
        mapping=on.mapping,
        names=on.names,
        now=on.now(),
    )


def fetch_people(on: Applier, ids: Iterable[int]) -> None:
    """Bring people of the CRM into the mirror by id, tombstones included."""
    wanted = sorted(set(ids))
    with on.store.read() as db:
        lacking = {row.key.partition(":")[2] for row in outbox.holds(db, "field")}
    columns = streams.columns(Kind.PERSON, on.mapping, lacking)
    parts = [wanted[start : start + identify.CRM_PAGE] for start in range(0, len(wanted), identify.CRM_PAGE)]
    for part in parts:
        found = identify.read_by_id(on.remotes.crm, Kind.PERSON, part, columns)
        with on.store.write() as db:
            notice.keep(db, Kind.PERSON, list(found.values()), mapping=on.mapping, names=on.names, now=on.now())


def _missing(db: sa.Connection, pairs: Sequence[Pair]) -> list[Problem]:
    prospects = mirror.load(db, Kind.PROSPECT, [pair.prospect for pair in pairs])
    people = mirror.load(db, Kind.PERSON, [pair.person for pair in pairs])
    problems = []
    for pair in pairs:
        prospect, person = prospects.get(pair.prospect), people.get(pair.person)
        if prospect is None or prospect.deleted:
            problems.append(Problem(pair.line, f"prospect {pair.prospect} does not exist in Outreach"))
        if person is None or person.deleted:
            state = "was deleted" if person else "does not exist"
            problems.append(Problem(pair.line, f"person {pair.person} {state} in the CRM"))
    return problems


def _taken(db: sa.Connection, pairs: Sequence[Pair]) -> list[Problem]:
    """Return the pairs of which one is linked to a living other."""
    mine = {pid: one for pid, one in links.load(db, Kind.PROSPECT, [p.prospect for p in pairs]).items() if not one.gone}
    theirs = {
        crm: one for crm, one in links.of_crm(db, Kind.PROSPECT, [p.person for p in pairs]).items() if not one.gone
    }
    people = mirror.load(db, Kind.PERSON, [one.crm_id for one in mine.values()])
    prospects = mirror.load(db, Kind.PROSPECT, [one.outreach_id for one in theirs.values()])
    problems = []
    for pair in pairs:
        own, other = mine.get(pair.prospect), theirs.get(pair.person)
        if own and own.crm_id != pair.person and not ((body := people.get(own.crm_id)) and body.deleted):
            words = f"prospect {pair.prospect} is already linked to person {own.crm_id}"
            problems.append(Problem(pair.line, words))
        if (
            other
            and other.outreach_id != pair.prospect
            and not ((soul := prospects.get(other.outreach_id)) and soul.deleted)
        ):
            words = f"person {pair.person} is already linked to prospect {other.outreach_id}"
            problems.append(Problem(pair.line, words))
    return problems


def _join(db: sa.Connection, on: Applier, pairs: Sequence[Pair]) -> None:
    """Write the links, in place of those to somebody who is gone."""
    now = on.now()
    former = links.of_crm(db, Kind.PROSPECT, [pair.person for pair in pairs])
    links.part(db, Kind.PROSPECT, [one.outreach_id for one in former.values()])
    gone = links.load(db, Kind.PROSPECT, [pair.prospect for pair in pairs])
    links.restored(db, [one.crm_id for one in gone.values()])
    links.save(db, Kind.PROSPECT, [Link(pair.prospect, pair.person) for pair in pairs], now)
    written = [
        Written(Kind.PROSPECT, pair.prospect, pair.person, System.CRM, "link", {}, {}, "linked by hand")
        for pair in pairs
    ]
    links.remember(db, written, now=now, mapping_version=on.mapping.version)
    outbox.open_changes(db, Kind.PROSPECT, [pair.prospect for pair in pairs], lane=Lane.EDIT, now=now)
    receipts.bring_tasks_along(db, [pair.prospect for pair in pairs], now)


def _let_go(db: sa.Connection, on: Applier, pairs: Sequence[Pair]) -> None:
    """Take away the entries that asked who these are; what hung on them is due again."""
    now = on.now()
    asked = {f"{receipts.AMBIGUOUS}:{Kind.PROSPECT.value}:{pair.prospect}" for pair in pairs}
    asked |= {f"{receipts.AMBIGUOUS}:{Kind.PERSON.value}:{pair.person}" for pair in pairs}
    asked |= {
        f"{kind}:{Kind.PROSPECT.value}:{pair.prospect}"
        for pair in pairs
        for kind in (receipts.ASK, receipts.UNREADABLE)
    }
    outbox.lift(db, asked, now)
