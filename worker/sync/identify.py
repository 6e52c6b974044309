"""Who is who: the stored link, else the reference, else an e-mail address; not certain → held, all candidates named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core import transforms
from worker.core.mapping import PERSON_ADDRESSES
from worker.core.records import Kind
from worker.store import links, mirror
from worker.sync import notice, streams

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from collections.abc import Mapping as Dict
    from datetime import datetime

    import sqlalchemy as sa

    from worker.core.mapping import Mapping
    from worker.core.records import Snapshot
    from worker.remote.workbooks import Workbooks
    from worker.store.database import Store
    from worker.store.links import Names

CRM_PAGE = 100


@dataclass(frozen=True, slots=True)
class Match:
    """Who a prospect is in the CRM.

    ``held`` says why that is not certain; ``candidates`` are then all who could be it, ``owner`` the prospect that the only
    one is linked to.
    """

    person_id: int | None = None
    candidates: tuple[int, ...] = ()
    held: str | None = None
    owner: int | None = None


def match(db: sa.Connection, prospects: Iterable[Snapshot], *, ignoring: Collection[int] = ()) -> dict[int, Match]:
    """Return who each unlinked prospect is, by what the mirror knows; a few set-based queries for all of them."""
    wanted = {one.ref.id: one for one in prospects}
    addresses = {pid: transforms.addresses(one, ("emails",)) for pid, one in wanted.items()}
    referring = mirror.referring(db, Kind.PERSON, wanted)
    bearing = mirror.holders(db, Kind.PERSON, {text for found in addresses.values() for text in found})
    candidates: dict[int, set[int]] = {}
    for pid in wanted:
        by_reference = referring.get(pid, set()) - set(ignoring)
        by_address = {crm for text in addresses[pid] for crm in bearing.get(text, ())} - set(ignoring)
        candidates[pid] = by_reference or by_address
    everyone = {crm for found in candidates.values() for crm in found}
    owners = {crm: link.outreach_id for crm, link in links.of_crm(db, Kind.PROSPECT, everyone).items() if not link.gone}
    owners = {**mirror.references(db, Kind.PERSON, everyone), **owners}
    gone = {pid for pid, one in mirror.load(db, Kind.PROSPECT, owners.values()).items() if one.deleted}
    owners = {crm: pid for crm, pid in owners.items() if pid not in gone}
    matches: dict[int, Match] = {}
    for pid in sorted(wanted):
        matches[pid] = _decide(pid, candidates[pid], owners)
        taken = matches[pid].person_id
        if taken is not None:
            owners[taken] = pid
    return matches


def _decide(prospect_id: int, candidates: Collection[int], owners: Dict[int, int]) -> Match:
    found = tuple(sorted(candidates))
    if not found:
        return Match()
    named = ", ".join(f"person {crm}" for crm in found)
    if len(found) > 1:
        return Match(candidates=found, held=f"prospect {prospect_id} could be any of {named}")
    owner = owners.get(found[0], prospect_id)
    if owner != prospect_id:
        words = f"prospect {prospect_id} looks like {named}, who is already linked to prospect {owner}"
        return Match(candidates=found, held=words, owner=owner)
    return Match(person_id=found[0])


def look_up(
    prospects: Iterable[Snapshot],
    *,
    store: Store,
    crm: Workbooks,
    mapping: Mapping,
    names: Names,
    lacking: Collection[str],
    now: datetime,
) -> None:
    """Ask the CRM itself for the people of some prospects, by reference and by address, and mirror who is found.

    It is asked once before a create: the mirror is as old as the last poll, and a create whose reply was lost shows here.
    """
    wanted = list(prospects)
    texts = sorted({text for one in wanted for text in _spellings(one)})
    filters: list[tuple[str, str, str]] = []
    if mapping.reference not in lacking:
        filters.append((mapping.reference, "eq", ",".join(str(one.ref.id) for one in wanted)))
    filters += _by_address(texts)
    if not wanted or not filters:
        return
    found = read_all(crm, Kind.PERSON, filters, match="or", columns=streams.columns(Kind.PERSON, mapping, lacking))
    with store.write() as db:
        notice.keep(db, Kind.PERSON, found, mapping=mapping, names=names, now=now)


def _spellings(prospect: Snapshot) -> set[str]:
    """Return an address as written and in lower case: whether the CRM's ``eq`` heeds case is not documented."""
    held = prospect.fields.get("emails")
    written = {transforms.clean(text) for text in held if transforms.address(text)} if isinstance(held, list) else set()
    return written | {text.lower() for text in written}


def _by_address(addresses: Iterable[str]) -> list[tuple[str, str, str]]:
    """Return the filters, to be joined by "or", of those who bear any of the addresses; none where there are none."""
    texts = ",".join(_escaped(text) for text in addresses)
    return [(column, "eq", texts) for column in PERSON_ADDRESSES if texts]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,")


def read_all(
    crm: Workbooks, kind: Kind, filters: list[tuple[str, str, str]], *, match: str, columns: Collection[str]
) -> list[Snapshot]:
    """Return every record of a filter, page by page to its end."""
    found: list[Snapshot] = []
    while True:
        page = crm.page(
            kind, columns=list(columns), filters=filters, match=match, sort=("id",), start=len(found), limit=CRM_PAGE
        )
        found += page.snapshots
        if len(page.snapshots) < CRM_PAGE:
            return found


def bearing(crm: Workbooks, addresses: Iterable[str], columns: Collection[str]) -> list[Snapshot]:
    """Return the living people whom the CRM finds by any of these addresses, the main or the alternate one."""
    filters = _by_address(addresses)
    return read_all(crm, Kind.PERSON, filters, match="or", columns=columns) if filters else []


def read_by_id(crm: Workbooks, kind: Kind, ids: Collection[int], columns: Collection[str]) -> dict[int, Snapshot]:
    """Return CRM records by id, tombstones included; who is missing is neither visible nor deleted."""
    if not ids:
        return {}
    filters = [
        ("id", "eq", ",".join(str(one) for one in sorted(ids))),
        ("is_deleted", "true", ""),
        ("is_deleted", "false", ""),
    ]
    found = read_all(crm, kind, filters, match="1 AND (2 OR 3)", columns=columns)
    return {one.ref.id: one for one in found}
