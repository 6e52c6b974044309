"""What Outreach tells beside its records: the append-only ``events``, and addresses by when they were unsubscribed.

Both need a scope of their own, and not every token may have it: :class:`errors.Forbidden`. Which names events have is known
only in part (facts, outreach-api 6.6 and 13): whoever asks for some by name is not told of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from worker.core import errors
from worker.core.records import Feed
from worker.remote import base, waits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from worker.remote.outreach import Outreach

SIZE = 1000
_ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class _Form:
    """How a feed is asked for: its resource, the attribute that orders it, and what is wanted of each entry."""

    resource: str
    order: str
    wanted: str


_FORMS = {
    Feed.EVENTS: _Form("event", "createdAt", "name,createdAt,eventAt,prospect,task"),
    Feed.ADDRESSES: _Form("emailAddress", "unsubscribedAt", "email,unsubscribedAt,prospect"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: when it was ``entered`` (which orders the feed) and when it ``happened``, what it is about, as ids.

    ``name`` is an event's, ``address`` an unsubscribed one as given; "" for none.
    """

    id: int
    entered: datetime
    happened: datetime
    name: str = ""
    address: str = ""
    prospect: int | None = None
    task: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a feed, oldest first; ``next`` is None on the last one."""

    entries: list[Entry]
    next: str | None
    server_time: datetime


def page(outreach: Outreach, feed: Feed, *, since: datetime, link: str | None, names: Sequence[str] = ()) -> Page:
    """Return one page of a feed from ``since`` (inclusive), or by following ``link``; of events with ``names``, if any.

    Raises as ``Outreach.page`` does, and Forbidden when the token may not read it.
    """
    form, client = _FORMS[feed], outreach.client
    if link is None:
        begin = since.strftime("%Y-%m-%dT%H:%M:%SZ")
        params = [("page[size]", str(SIZE)), ("count", "false"), (f"fields[{form.resource}]", form.wanted)]
        params += [("sort", form.order), (f"filter[{form.order}]", f"{begin}..inf")]
        params += [("filter[name]", ",".join(names))] if names else []
        url = client.url(f"/api/v2/{feed.value}", params)
    else:
        url = client.same_host(link)
    told = outreach.read(url, link, lambda reply: _page(reply, form))
    if told.next is not None and (told.next == link or client.same_host(told.next) == url):
        raise errors.ContractBroken("cursor did not move", system=client.system)
    return told


def _page(reply: base.Reply, form: _Form) -> Page:
    document = base.decoded(reply, _ANYTHING)
    rows = document.get("data") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise base.Unanswered(f"answered {reply.status} with JSON that is no list of {form.resource}s")
    links = document.get("links")
    following = links.get("next") if isinstance(links, dict) else None
    if isinstance(following, dict):
        following = following.get("href")
    entries = [entry for row in rows if isinstance(row, dict) and (entry := _entry(row, form)) is not None]
    return Page(entries, following if isinstance(following, str) and following else None, reply.server_time)


def _entry(row: Mapping[str, Any], form: _Form) -> Entry | None:
    """Return one entry, None for one that tells no time or no id: it could neither be placed nor be found again."""
    told = row.get("attributes")
    told = told if isinstance(told, dict) else {}
    number, entered = base.whole(row.get("id")), _moment(told.get(form.order))
    if number is None or entered is None:
        return None
    return Entry(
        id=number,
        entered=entered,
        happened=_moment(told.get("eventAt")) or entered,
        name=str(told.get("name") or ""),
        address=str(told.get("email") or ""),
        prospect=_related(row, "prospect"),
        task=_related(row, "task"),
    )


def _moment(value: object) -> datetime | None:
    return waits.iso_date(value) if isinstance(value, str) else None


def _related(row: Mapping[str, Any], name: str) -> int | None:
    relations = row.get("relationships")
    relation = relations.get(name) if isinstance(relations, dict) else None
    data = relation.get("data") if isinstance(relation, dict) else None
    return base.whole(data.get("id")) if isinstance(data, dict) else None
