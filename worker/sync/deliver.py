"""Carry writes out in the CRM in batches, and find out what became of each: applied, refused, overtaken, gone or uncertain.

One bad record never takes its neighbours with it. A refused field is left out and the rest written; a batch that fails as a
whole is split; an object without a reply is looked up before anything else is done with it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from worker.core import errors, transforms
from worker.core.intents import LOOK_AGAIN_S
from worker.core.records import System
from worker.core.transforms import Compare
from worker.remote.workbooks import Applied, Refused, Stale, Write
from worker.sync import identify, streams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Mapping as Dict

    from worker.core.records import Kind, Snapshot, Value
    from worker.remote.workbooks import Outcome, Workbooks

ROUNDS = 6


@dataclass(frozen=True, slots=True)
class Job:
    """One write. ``key`` is whose change it is; ``vital`` are fields that must get through whatever else is refused.

    ``suspected`` are fields of a new record that were left out on a guess, for its refusal named none; ``bare`` is the
    least that makes one, for when even its vital fields are refused so. ``status`` is that of its last refusal. ``before``
    is the record that an update was planned for.
    """

    key: int
    write: Write
    error_field: str | None = None
    vital: frozenset[str] = frozenset()
    suspected: Dict[str, Value] = field(default_factory=dict)
    bare: Dict[str, Value] = field(default_factory=dict)
    status: int | None = None
    before: Snapshot | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a job.

    ``fields`` is what was sent, or made of it on save, ``refused`` the vendor's words by field (``""``: the record as a
    whole). ``trouble`` says what to do when it was not applied; ``fresh`` is a newer copy that was read on the way.
    ``in_doubt``: there may be a new record all the same.
    """

    key: int
    crm_id: int | None = None
    version: int | None = None
    fields: Dict[str, Value] = field(default_factory=dict)
    refused: Dict[str, str] = field(default_factory=dict)
    trouble: errors.OutbookError | None = None
    fresh: Snapshot | None = None
    in_doubt: bool = False

    @property
    def applied(self) -> bool:
        """Tell whether the CRM holds the write, perhaps less some refused fields."""
        return self.crm_id is not None


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the writes of one kind go. ``lacks`` is asked at a refusal whether the CRM lacks that field or label.

    ``turn`` is held while a write is on its way.
    """

    crm: Workbooks
    kind: Kind
    reference: str
    columns: tuple[str, ...]
    lacks: Callable[[str], bool] = lambda _: False
    turn: AbstractContextManager[object] = field(default_factory=nullcontext)


def carry_out(jobs: Sequence[Job], desk: Desk) -> dict[int, Receipt]:
    """Carry jobs out, at most a hundred, and return a receipt for each. Raise only if nothing at all was sent.

    While the CRM is slow they go in several requests, each as large as it answers in good time.
    """
    receipts: dict[int, Receipt] = {}
    left = list(jobs)
    while left:
        size = desk.crm.at_once
        some, left = left[:size], left[size:]
        try:
            receipts |= _carried_out(some, desk)
        except errors.OutbookError as error:
            if not receipts:
                raise
            return receipts | {job.key: Receipt(job.key, trouble=error) for job in (*some, *left)}
    return receipts


def _carried_out(jobs: Sequence[Job], desk: Desk) -> dict[int, Receipt]:
    """Carry jobs out that go in one request, as :func:`carry_out` does."""
    receipts: dict[int, Receipt] = {}
    refused: dict[int, dict[str, str]] = {}
    pending = list(jobs)
    for number in range(ROUNDS):
        if not pending:
            break
        try:
            outcomes = _send(pending, desk)
        except errors.OutbookError as error:
            if number == 0:
                raise
            return receipts | {job.key: Receipt(job.key, trouble=error) for job in pending}
        settled, again = _taken(pending, outcomes, refused, desk)
        receipts |= settled
        if len(again) == len(pending) > 1 and not _progress(again, pending):
            return receipts | _split(again, desk, refused)
        pending = again
    for job in pending:
        receipts[job.key] = _given_up(job, refused.get(job.key, {}))
    return receipts


def _taken(
    jobs: Sequence[Job], outcomes: Sequence[Outcome], refused: dict[int, dict[str, str]], desk: Desk
) -> tuple[dict[int, Receipt], list[Job]]:
    """Return the receipts of one request and what of it is to be sent again."""
    receipts: dict[int, Receipt] = {}
    doubtful: list[tuple[Job, Outcome]] = []
    for job, outcome in zip(jobs, outcomes, strict=True):
        if isinstance(outcome, Applied):
            made = _applied(job, outcome, refused.get(job.key, {}))
            receipts[job.key] = _acquitted(job, made, desk) if job.suspected else made
        else:
            doubtful.append((job, outcome))
    try:
        checked = _look_again([job for job, _ in doubtful], desk) if doubtful else {}
    except errors.OutbookError as error:
        return receipts | {job.key: _unknown(job, outcome, error) for job, outcome in doubtful}, []
    again: list[Job] = []
    for job, outcome in doubtful:
        receipt = _settled(job, outcome, checked.get(job.key), refused.get(job.key, {}))
        if receipt is None and _is_unnamed(job, outcome):
            receipt = _field_by_field(job, desk, refused.get(job.key, {}))
        left = job if receipt is not None else _without_refused(job, outcome, refused, desk)
        if receipt is None and left.write.id and not left.write.fields:
            # Sent all the same, and overtaken by somebody's save, it would find nothing missing there and take that for ours.
            receipt = Receipt(job.key, job.write.id, job.write.version, refused=_words(refused.get(job.key, {})))
        if receipt is not None:
            receipts[job.key] = receipt
        else:
            again.append(left)
    return receipts, again


def _unknown(job: Job, outcome: Outcome, error: errors.OutbookError) -> Receipt:
    """Return the receipt of an object that could not be looked up; one that may have been made is left for a while."""
    if job.write.id or isinstance(outcome, Refused):
        return Receipt(job.key, trouble=error)
    return in_doubt(job.key, error if isinstance(error, errors.Halt) else None, words=error.words)


UNCONFIRMED = "the CRM did not confirm a new record, and it is not to be found"


def in_doubt(
    key: int, trouble: errors.OutbookError | None = None, *, words: str = UNCONFIRMED, wait_s: float = LOOK_AGAIN_S
) -> Receipt:
    """Return the receipt of a new record that may be there or not: it is looked for again before it is made."""
    later = errors.Throttled(words, retry_after_s=wait_s, system=System.CRM)
    return Receipt(key, trouble=trouble or later, in_doubt=True)


def _send(jobs: Sequence[Job], desk: Desk) -> list[Outcome]:
    with desk.turn:
        return desk.crm.write(desk.kind, [job.write for job in jobs], reference_field=desk.reference)


def _applied(job: Job, outcome: Applied, refused: Dict[str, str]) -> Receipt:
    made_of_it = {name: value for name, value in outcome.fields.items() if name in job.write.fields}
    return Receipt(job.key, outcome.id, outcome.version, {**job.write.fields, **made_of_it}, _words(refused))


def _acquitted(job: Job, made: Receipt, desk: Desk) -> Receipt:
    """Send what a new record was made without on a guess, now that it can be updated: what is refused shows by trying."""
    blank = {job.error_field: None} if job.error_field else {}
    write = Write(made.crm_id or 0, made.version or 0, {**blank, **job.suspected}, hide=job.write.hide)
    earlier = {name: words for name, words in made.refused.items() if name not in job.suspected}
    try:
        tried = _field_by_field(replace(job, write=write), desk, earlier)
    except errors.OutbookError:
        return made
    return replace(tried, fields={**made.fields, **tried.fields}) if tried.applied else made


def _words(refused: Dict[str, str]) -> dict[str, str]:
    return {name: words for name, words in refused.items() if words}


def _look_again(jobs: Sequence[Job], desk: Desk) -> dict[int, Snapshot]:
    """Read back what was not confirmed: updates by id, tombstones included; creates by their reference."""
    updates = {job.write.id: job.key for job in jobs if job.write.id}
    found = identify.read_by_id(desk.crm, desk.kind, updates, desk.columns)
    checked = {updates[crm_id]: one for crm_id, one in found.items()}
    creates = {job.write.reference: job.key for job in jobs if not job.write.id and job.write.reference}
    if creates and desk.reference in desk.columns:
        filters = [(desk.reference, "eq", ",".join(sorted(creates)))]
        for one in identify.read_all(desk.crm, desk.kind, filters, match="and", columns=desk.columns):
            key = creates.get(str(one.fields.get(desk.reference) or ""))
            if key is not None:
                checked.setdefault(key, one)
    return checked


def _settled(job: Job, outcome: Outcome, seen: Snapshot | None, refused: Dict[str, str]) -> Receipt | None:
    """Return the receipt of an object that was not confirmed, or None if it is to be sent again."""
    if job.write.id == 0:
        return _settled_create(job, outcome, seen, refused)
    if seen is None:
        words = f"{job.write.id} is neither visible nor deleted in the CRM"
        return Receipt(job.key, trouble=errors.Unreadable(words, system=System.CRM))
    if seen.deleted:
        return Receipt(job.key, trouble=errors.StaleVersion("deleted in the CRM", system=System.CRM), fresh=seen)
    if seen.version != job.write.version:
        if not isinstance(outcome, Refused) and _holds(seen, job.write.fields) and not _is_anothers(job, seen):
            return _found(job, seen, refused, ours=job.write.version + 1)
        return Receipt(job.key, trouble=errors.StaleVersion("saved by somebody else", system=System.CRM), fresh=seen)
    if isinstance(outcome, Stale):
        return Receipt(job.key, trouble=errors.StaleVersion(outcome.words, system=System.CRM), fresh=seen)
    return None


def _settled_create(job: Job, outcome: Outcome, seen: Snapshot | None, refused: Dict[str, str]) -> Receipt | None:
    if seen is not None:
        return _found(job, seen, refused, ours=0)
    if isinstance(outcome, Refused):
        return None
    return in_doubt(job.key)


def _found(job: Job, seen: Snapshot, refused: Dict[str, str], *, ours: int) -> Receipt:
    """Return the receipt of a write that was found done. ``ours`` is the version it made (facts, workbooks-api 4).

    At a later one somebody has saved since: what is there now is theirs, and the next poll brings it.
    """
    if seen.version != ours:
        return Receipt(job.key, seen.ref.id, None, dict(job.write.fields), _words(refused))
    return Receipt(job.key, seen.ref.id, seen.version, {**job.write.fields, **_kept(seen, job)}, _words(refused))


def _kept(seen: Snapshot, job: Job) -> dict[str, Value]:
    return {name: seen.fields[name] for name in job.write.fields if name in seen.fields}


def _is_anothers(job: Job, seen: Snapshot) -> bool:
    """Tell whether the one save there was since changed more than ours would: somebody has typed the same, and more."""
    if job.before is None or seen.version != job.write.version + 1:
        return False
    others = {name: value for name, value in job.before.fields.items() if name in seen.fields}
    kept = {name: value for name, value in others.items() if name not in {*job.write.fields, *streams.ALWAYS}}
    return not _holds(seen, kept)


def _holds(seen: Snapshot, wanted: Dict[str, Value]) -> bool:
    return all(_alike(seen.fields.get(name), value) for name, value in wanted.items())


def _alike(held: Value, sent: Value) -> bool:
    if isinstance(sent, bool):
        return transforms.flag(held) == sent
    kinds = (Compare.TEXT, Compare.DATETIME, Compare.INTEGER)
    return any(transforms.same(kind, held, sent) for kind in kinds)


def _without_refused(job: Job, outcome: Outcome, refused: dict[int, dict[str, str]], desk: Desk) -> Job:
    """Return the job less what the CRM refused, with the vendor's words for the person's own error field."""
    if not isinstance(outcome, Refused):
        return job
    job = replace(job, status=outcome.status)
    named = {name: words for name, words in outcome.errors.items() if name in job.write.fields}
    known = refused.setdefault(job.key, {})
    suspected = dict(job.suspected)
    if not named:
        spoken = " ".join(outcome.errors.values())
        named = _suspects(job, spoken, known)
        if not named and job.bare:
            return _stripped(job, {**known, "": spoken})
        suspected |= {name: job.write.fields[name] for name in named if name.lower() not in spoken.lower()}
    for name, words in named.items():
        known[name] = "" if desk.lacks(name) else words
    fields = {name: value for name, value in job.write.fields.items() if name not in known}
    told = "; ".join(f"{name}: {words}" for name, words in known.items() if words)
    if told and job.error_field and job.error_field not in known:
        fields[job.error_field] = told
    reference = None if desk.reference in known else job.write.reference
    return replace(job, write=replace(job.write, fields=fields, reference=reference), suspected=suspected)


def _stripped(job: Job, known: Dict[str, str]) -> Job:
    """Return the job of a new record with the least that makes one; what this leaves out is tried afterwards."""
    told = "; ".join(f"{name}: {words}" if name else words for name, words in known.items() if words)
    words = {job.error_field: told} if job.error_field else {}
    left_out = {n: v for n, v in job.write.fields.items() if n != job.error_field and job.bare.get(n) != v}
    write = replace(job.write, fields={**job.bare, **words})
    return replace(job, write=write, suspected={**job.suspected, **left_out}, bare={})


def _is_unnamed(job: Job, outcome: Outcome) -> bool:
    """Tell whether an update was refused for a reason that names none of its fields."""
    if not isinstance(outcome, Refused) or job.write.id == 0:
        return False
    spoken = " ".join(outcome.errors.values()).lower()
    return not any(name in outcome.errors or name.lower() in spoken for name in job.write.fields)


def _field_by_field(job: Job, desk: Desk, earlier: Dict[str, str]) -> Receipt:
    """Send one field at a time, the vital ones first: what the vendor would not name is found by trying.

    ``earlier`` are the words about fields that were refused by name before.
    """
    version = job.write.version
    written: dict[str, Value] = {}
    refused = dict(earlier)
    waiting = sorted(job.write.fields, key=lambda name: (name == job.error_field, name not in job.vital))
    if job.error_field and job.error_field not in waiting:
        waiting.append(job.error_field)
    for name in waiting:
        value = job.write.fields.get(name)
        if name == job.error_field and _words(refused):
            value = "; ".join(f"{each}: {words}" for each, words in _words(refused).items())
        elif name not in job.write.fields:
            continue
        outcome = _send([replace(job, write=replace(job.write, version=version, fields={name: value}))], desk)[0]
        if isinstance(outcome, Applied):
            version = outcome.version if outcome.version is not None else version
            written[name] = outcome.fields.get(name, value)
        elif isinstance(outcome, Refused):
            refused[name] = "" if desk.lacks(name) else "; ".join(outcome.errors.values())
        else:
            trouble = errors.StaleVersion("saved by somebody else meanwhile", system=System.CRM)
            return Receipt(job.key, trouble=trouble)
    return Receipt(job.key, job.write.id, version, written, _words(refused))


def _suspects(job: Job, words: str, known: Dict[str, str]) -> dict[str, str]:
    """Name the fields behind the refusal of a new record that names none: those it mentions, else all but the vital ones.

    The vital ones and the words then still get through, and the rest waits for somebody to mend the record.
    """
    spoken = words.lower()
    open_fields = [name for name in job.write.fields if name not in known and name != job.error_field]
    mentioned = [name for name in open_fields if name.lower() in spoken]
    chosen = mentioned or [name for name in open_fields if name not in job.vital]
    return dict.fromkeys(chosen, words or "refused without a reason")


def _progress(again: Sequence[Job], pending: Sequence[Job]) -> bool:
    return any(new.write.fields.keys() != old.write.fields.keys() for new, old in zip(again, pending, strict=True))


def _split(jobs: Sequence[Job], desk: Desk, refused: dict[int, dict[str, str]]) -> dict[int, Receipt]:
    """Send a batch that failed as a whole in two halves, so that what spoils it ends up alone."""
    middle = len(jobs) // 2
    receipts: dict[int, Receipt] = {}
    for half in (jobs[:middle], jobs[middle:]):
        for key, receipt in carry_out(half, desk).items():
            earlier = _words(refused.get(key, {}))
            receipts[key] = replace(receipt, refused={**earlier, **receipt.refused})
    return receipts


def _given_up(job: Job, refused: Dict[str, str]) -> Receipt:
    told = "; ".join(f"{name}: {words}" if name else words for name, words in refused.items() if words)
    if told:
        trouble = errors.InvalidField(told, field="", system=System.CRM, status=job.status)
        return Receipt(job.key, refused=_words(refused), trouble=trouble)
    return Receipt(job.key, trouble=errors.RemoteDown("the CRM confirmed nothing", system=System.CRM))
