"""A field that the CRM takes of nobody: one entry, and no record's fault. Most likely our user lost the right to change it.

It is told from values that are bad by one more request: for one of those refused, what the CRM holds there already is sent.
Whoever refuses that refuses the field. An hour later it is tried again, with a look at the CRM's fields.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from worker.core import errors
from worker.core.mapping import Computed
from worker.core.plan import Action
from worker.remote.workbooks import Refused, Write
from worker.store import backlog
from worker.sync import fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.sync.case import Applier, Case
    from worker.sync.deliver import Desk

MANY = 20
"""So many records may be refused the same field in the same words, and each fails by itself."""


def heed(on: Applier, cases: Sequence[Case], desk: Desk) -> None:
    """Stop the writing of each field that the CRM takes of nobody, and let none of the cases fail for it."""
    for name, words, theirs in _suspected(on, cases):
        if _refuses_what_it_holds(on, theirs[0], name, desk):
            told = (
                f"the CRM takes no value for '{name}', not even the one it has: {words}; may the key's user change it?"
            )
            fields.post(on.store, fields.Lack(name, fields.DENIED, told), on.now())
            for case in theirs:
                _forgive(case, name)


def _suspected(on: Applier, cases: Sequence[Case]) -> Iterator[tuple[str, str, list[Case]]]:
    """Yield each field that was refused of many in the same words and taken of nobody, with those who can be asked about.

    What shows an opt-out, links a record or tells its faults is never stopped: such a record rather fails.
    """
    told = [case for case in cases if case.receipt is not None and case.plan.action is Action.UPDATE]
    refused = {name: words for case in told if case.receipt for name, words in case.receipt.refused.items()}
    if not refused:
        return
    vital = {line.crm for what in (Computed.OPTED_OUT, Computed.ERROR) if (line := on.mapping.field_of(what))}
    with on.store.read() as db:
        dead = dict(backlog.dead_letters(db))
    for name in sorted(set(refused) - vital - {"", on.mapping.reference}):
        theirs = [case for case in told if case.receipt and name in case.receipt.refused]
        words = {case.receipt.refused[name] for case in theirs if case.receipt}
        taken = any(name in case.plan.crm and case not in theirs and _took(case, name) for case in told)
        many = len(theirs) + dead.get(f"{name}: {refused[name]}", 0) > MANY
        if many and len(words) == 1 and not taken:
            yield name, refused[name], theirs


def _took(case: Case, name: str) -> bool:
    return case.receipt is not None and case.receipt.applied and name in case.receipt.fields


def _forgive(case: Case, name: str) -> None:
    """Let the field count as left out: it travels once the CRM takes it again."""
    if case.receipt is None:
        return
    left = {each: words for each, words in case.receipt.refused.items() if each != name}
    alone = not left and isinstance(case.receipt.trouble, errors.InvalidField)
    case.receipt = replace(case.receipt, refused=left, trouble=None if alone else case.receipt.trouble)


def _refuses_what_it_holds(on: Applier, case: Case, name: str, desk: Desk) -> bool:
    """Tell whether the CRM refuses the very value that it has; what cannot be found out is not so."""
    person, receipt = case.view.person, case.receipt
    if person is None or receipt is None:
        return False
    version = receipt.version if receipt.applied else person.version
    write = Write(person.ref.id, version or 0, {name: person.fields.get(name)}, hide=case.hidden(on.mapping))
    try:
        with desk.turn:
            outcome = desk.crm.write(desk.kind, [write], reference_field=desk.reference)[0]
    except errors.OutbookError:
        return False
    return isinstance(outcome, Refused)
