"""What a pause holds back: the writes to one side of what was read on the other. Polling and planning go on.

A stream's records are applied on the other side. So a stream of Outreach holds back writes to the CRM, one of the CRM those
to Outreach. A prospect, its sequence states, and the sequences and steps they name all become one person in the CRM: to
pause any of these four is to pause what people are told there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from worker.core.records import Kind
from worker.store import pauses
from worker.store.pauses import ALL, TO_CRM, TO_OUTREACH

if TYPE_CHECKING:
    import sqlalchemy as sa

    from worker.sync.case import Applier

_PAIRS = frozenset({Kind.PROSPECT, Kind.STATE, Kind.SEQUENCE, Kind.STEP})
STOPS_CRM: dict[Kind, frozenset[str]] = {
    Kind.PROSPECT: frozenset({ALL, TO_CRM, *_PAIRS}),
    Kind.PERSON: frozenset({ALL, TO_CRM}),
    Kind.TASK: frozenset({ALL, TO_CRM, Kind.TASK}),
}
STOPS_OUTREACH: dict[Kind, frozenset[str]] = {
    Kind.PROSPECT: frozenset({ALL, TO_OUTREACH, Kind.PERSON}),
    Kind.PERSON: frozenset({ALL, TO_OUTREACH, Kind.PERSON}),
    Kind.TASK: frozenset({ALL, TO_OUTREACH, Kind.CRM_TASK}),
}
"""By the kind of a change, which pauses stop its writes to each side."""


def heeding(db: sa.Connection, on: Applier, kind: Kind) -> Applier:
    """Return what applying changes of a kind touches, less what is paused at this moment."""
    scopes = {one.scope for one in pauses.standing(db)}
    if not scopes:
        return on
    permit = replace(
        on.permit,
        to_crm=on.permit.to_crm and not scopes & STOPS_CRM[kind],
        to_outreach=on.permit.to_outreach and not scopes & STOPS_OUTREACH[kind],
    )
    return replace(on, permit=permit)
