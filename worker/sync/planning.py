"""`outbook plan`: what would be written now, or by another mapping, for everybody in the mirror, without one write.

The deciding is that of the workers, record by record; here it is only added up. Prospects are taken a portion at a time and the
sums of portions add up in any order, so that memory does not grow with the mirror and a second process can take its share.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from worker.core import effects, plan, tasks, wishes
from worker.core.effects import CRM, OUTREACH, Effect, Sum
from worker.core.plan import Action
from worker.core.records import Kind, Shadow, System
from worker.store import backlog, database, mappings, mirror, outbox
from worker.store.database import chunks
from worker.sync import breakers, fields, gather, in_force, skips

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from worker.core.mapping import Mapping
    from worker.core.plan import PersonView
    from worker.store.database import Store
    from worker.store.links import Names
    from worker.store.selection import Chosen
    from worker.sync.case import Applier, Pilot

EVERYONE, SOME = "everyone", "selection"
ALONE = 20_000
"""Up to so many prospects one process is as quick as two."""
PROCESSES = 2
BATCH = outbox.BATCH
ADDRESSES = 50
PAGES = {Kind.PROSPECT: 1000, Kind.PERSON: 100, Kind.CRM_TASK: 100}
CRM_S, OUTREACH_S = 2.0, 0.4
"""What a request of a full batch, and one of a single record, takes about."""


@dataclass(frozen=True, slots=True)
class Question:
    """By which mapping to decide, and what is left alone by it; ``without`` is the mapping whose writes do not count."""

    mapping: Mapping
    stopped: frozenset[str]
    without: Mapping | None = None
    stopped_without: frozenset[str] = frozenset()
    single: frozenset[tuple[int, str]] = frozenset()
    only: Pilot | None = None
    forgotten: frozenset[str] = frozenset()
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be written. ``looked_at`` counts records; ``unread`` is what has to be read before, by stream."""

    mapping: Mapping
    before: str | None
    scope: str
    total: Sum
    looked_at: int
    unread: mappings.Names = field(default_factory=dict)
    left_alone: frozenset[str] = frozenset()
    sizes: dict[Kind, int] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The plan's hash: the same mapping over the same data has the same."""
        return effects.digest_of(self.total, self.mapping.version, self.scope)

    @property
    def anything(self) -> bool:
        """Tell whether anything would be written, asked for or read again."""
        return self.total.anything or bool(self.unread)

    def counts(self) -> dict[str, int]:
        """Return every number of the plan under a name that says what it counts."""
        total = self.total
        told = {
            f"{side} {what}": n
            for side, all_ in ((CRM, total.crm), (OUTREACH, total.outreach))
            for what, n in all_.items()
        }
        return told | {f"{side} {name}": n for (side, name), n in total.fields.items()}

    def readings(self) -> dict[Kind, int]:
        """Return how many requests reading each unread stream whole once takes."""
        return {kind: -(-self.sizes.get(kind, 0) // PAGES[kind]) + 1 for kind in self.unread}

    def calls(self) -> dict[str, int]:
        """Return about how many requests carrying it out takes, by vendor, what shows our own writes included."""
        crm, outreach = self.total.crm, self.total.outreach
        new, tasks = crm["created"] + crm["recreated"], crm["tasks_cancelled"]
        batches = (
            -(-crm["updated"] // BATCH) + -(-crm["tasks_moved"] // BATCH) + 2 * (-(-new // BATCH) + -(-tasks // BATCH))
        )
        told = {CRM: 2 * batches, OUTREACH: outreach["updated"] + outreach["tasks_finished"]}
        told[OUTREACH] += -(-outreach["updated"] // PAGES[Kind.PROSPECT]) + -(-outreach["looked_up"] // ADDRESSES)
        for kind, requests in self.readings().items():
            told[CRM if kind.system is System.CRM else OUTREACH] += requests
        return told

    def minutes(self, hourly: int) -> float:
        """Return about how many minutes that takes, within so many calls of Outreach an hour."""
        calls = self.calls()
        busy = calls[CRM] * CRM_S + calls[OUTREACH] * OUTREACH_S
        within = calls[OUTREACH] / hourly * 60 if calls[OUTREACH] > hourly else 0.0
        return round(max(busy / 60, within), 1)


def plan_all(
    on: Applier,
    *,
    chosen: Chosen | None = None,
    live: bool = False,
    every: bool = False,
    rows: Callable[[Effect], None] | None = None,
) -> Plan:
    """Return what would be written by ``on.mapping`` for whatever is due; of the ``chosen``, or of ``every``body, due or not.

    By a mapping that is not in force that is for everybody, and what the one in force would write as well does not count.
    With ``live`` Outreach is asked for open tasks. ``rows`` is told each effect.
    """
    question, kept, unread = _question(on)
    question = replace(question, listed=rows is not None)
    whole = every or question.without is not None
    prospects, skipped, wanted = _whom(on, kept, question, chosen, whole=whole)
    total = Sum()
    for part, listed in _sums(on, prospects, question):
        total.join(part)
        for one in listed:
            if rows is not None:
                rows(one)
    skipped = _with_stranded(on, skipped, total, chosen)
    for one in _tasks(on, skipped, question, live=live, expected=total.new):
        total.add(one, on.mapping)
        if rows is not None:
            rows(one)
    total.outreach["looked_up"] += len(wanted)
    with on.store.read() as db:
        sizes = {kind: mirror.extent(db, kind)[0] for kind in (Kind.PROSPECT, Kind.PERSON, Kind.CRM_TASK)}
    return Plan(
        mapping=on.mapping,
        before=kept.version if kept else None,
        scope=SOME if chosen is not None else EVERYONE,
        total=total,
        looked_at=len(prospects) + len(skipped) + len(wanted),
        unread=unread,
        left_alone=in_force.left_alone(on.mapping, unread),
        sizes=sizes,
    )


def _question(on: Applier) -> tuple[Question, mappings.Kept | None, mappings.Names]:
    with on.store.read() as db:
        kept, unread, pending = mappings.in_force(db), in_force.unread_by(db, on.mapping), mappings.unread(db)
        lacks = fields.unwritable(db)
        stops = breakers.standing(db)
    always = stops.everybody.union(lacks)
    other = in_force.readable(kept) if kept and kept.version != on.mapping.version else None
    question = Question(
        mapping=on.mapping,
        stopped=always | in_force.left_alone(on.mapping, unread),
        without=other,
        stopped_without=always | in_force.left_alone(other, pending) if other else frozenset(),
        single=stops.single,
        forgotten=in_force.resourced(other, on.mapping) if other else frozenset(),
        only=on.permit.only,
    )
    return question, kept, unread


def _whom(
    on: Applier, kept: mappings.Kept | None, question: Question, chosen: Chosen | None, *, whole: bool
) -> tuple[list[int], list[int], list[int]]:
    """Return the prospects, tasks and people without a prospect to look at, each ascending."""
    with on.store.read() as db:
        due = {kind: set(backlog.waiting_ids(db, kind)) for kind in (Kind.PROSPECT, Kind.TASK, Kind.PERSON)}
        if chosen is not None:
            return list(chosen.prospects), list(chosen.tasks), sorted(due[Kind.PERSON] & set(chosen.people))
        if question.without is not None and question.without.task != on.mapping.task:
            due[Kind.TASK] |= in_force.touched_tasks(db, on.mapping)
        everybody = set(mirror.living(db, Kind.PROSPECT)) if whole else set()
    wanted = [] if question.without is not None and kept else sorted(due[Kind.PERSON])
    return sorted(due[Kind.PROSPECT] | everybody), sorted(due[Kind.TASK]), wanted


def _with_stranded(on: Applier, skipped: Sequence[int], total: Sum, chosen: Chosen | None) -> list[int]:
    """Return the tasks to look at, with those that wait for somebody as soon as somebody new would be there."""
    if not total.new or chosen is not None:
        return list(skipped)
    with on.store.read() as db:
        return sorted({*skipped, *backlog.stranded_ids(db, Kind.TASK)})


def _sums(on: Applier, ids: Sequence[int], question: Question) -> Iterator[tuple[Sum, list[Effect]]]:
    """Yield the sum and the effects of portion after portion, in the order of the ids."""
    if len(ids) <= ALONE:
        yield from (_portion(part, question, store=on.store, names=on.names) for part in chunks(ids))
        return
    url = on.store.engine.url.render_as_string(hide_password=False)
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, fresh, _begin, (url, on.names, question)) as pool:
        yield from pool.map(_share, [list(part) for part in chunks(ids)])


_here: dict[str, Any] = {}
"""What a process that takes its share was begun with."""


def _begin(url: str, names: Names, question: Question) -> None:
    _here.update(store=database.connect(url), names=names, question=question)


def _share(part: Sequence[int]) -> tuple[Sum, list[Effect]]:
    return _portion(part, _here["question"], store=_here["store"], names=_here["names"])


def _portion(ids: Sequence[int], question: Question, *, store: Store, names: Names) -> tuple[Sum, list[Effect]]:
    batch = gather.known(ids, store=store, names=names, stopped=question.stopped)
    total, listed = Sum(), []
    for pid, view in batch.views.items():
        match = batch.matches.get(pid)
        if (match is not None and match.held) or pid in batch.unreadable:
            total.aside["held"] += 1
            continue
        one = _effect(view, question, total)
        if one is None:
            continue
        if question.only is not None and not question.only.has(pid, view.person, view.prospect):
            total.aside["held_back"] += 1
            continue
        total.add(one, question.mapping)
        if question.listed:
            listed.append(one)
    return total, listed


def _effect(view: PersonView, question: Question, total: Sum) -> Effect | None:
    alone = frozenset(name for pid, name in question.single if pid == view.prospect_id)
    asked = replace(view, stopped=view.stopped | alone) if alone else view
    told = plan.plan_person(_forgetting(asked, question.forgotten), question.mapping)
    if told.action is Action.HOLD:
        total.aside["held"] += 1
    elif told.action is Action.EXCLUDE:
        total.aside["excluded"] += 1
    if question.mapping.actions and wishes.wish_of(view.person, question.mapping.actions):
        total.outreach["actions"] += 1
    if not told.writes_crm and not told.outreach:
        return None
    without = None
    if question.without is not None:
        without = plan.plan_person(replace(view, stopped=question.stopped_without | alone), question.without)
    one = effects.effect_of(view, told, without)
    total.aside["anyway"] += one is None
    return one


def _forgetting(view: PersonView, names: frozenset[str]) -> PersonView:
    """Return the view once the mapping is in force: of fields fed by another value nothing was agreed upon yet."""
    if not names or view.link is None:
        return view
    then = view.link.shadow
    halves = ({name: value for name, value in half.items() if name not in names} for half in (then.outreach, then.crm))
    return replace(view, link=replace(view.link, shadow=Shadow(*halves)))


def _tasks(
    on: Applier, ids: Sequence[int], question: Question, *, live: bool, expected: Collection[int]
) -> Iterable[Effect]:
    for start in range(0, len(ids), outbox.BATCH):
        part = ids[start : start + outbox.BATCH]
        anyway = set()
        if question.without is not None:
            anyway = {
                (one.task, one.action) for one in tasks_of(replace(on, mapping=question.without), part, live=live)
            }
        told = tasks_of(on, part, live=live, expected=expected)
        yield from (one for one in told if (one.task, one.action) not in anyway)


def tasks_of(on: Applier, ids: Sequence[int], *, live: bool = True, expected: Collection[int] = ()) -> list[Effect]:
    """Return what would be written on either side for some Outreach tasks; with ``live`` Outreach is asked for open ones.

    Those of prospects ``expected`` to have a person by then are written as well.
    """
    found, backs = skips.foresee(on, ids, live=live, expected=expected)
    back = [
        Effect(None, back.crm_id, f"{back.verb} task", {}, {"action": (None, back.verb)}, back.task.ref.id)
        for back in backs
    ]
    return back + [
        Effect(
            prospect=None,
            person=person if isinstance(person := one.fields.get(tasks.CONTACT), int) else None,
            action=f"{one.action} task",
            crm={name: (None, value) for name, value in one.fields.items()},
            task=one.task,
        )
        for one in found
    ]
