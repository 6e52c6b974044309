"""Outreach's REST API v2: cursor pages, look-ups by id and address, prospects written, tokens renewed."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import msgspec

from worker.core import errors, records
from worker.remote import base, outreach_json, quoting
from worker.remote.outreach_tokens import TokenPair, Tokens, organisation, refresh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["Outreach", "TokenPair", "Tokens", "refresh"]

IDS_A_CALL = 200
ADDRESSES_A_CALL = 50
PAGES_A_LOOK_UP = 20
"""A look-up that goes on for longer was not filtered at all."""

_MEDIA = "application/vnd.api+json"
_REFUSED = {400, 409, 413, 422}
_LINK_DEAD = {400, 404, 409, 410, 422}
_ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder()

T = TypeVar("T")


class Outreach:
    """One organisation's Outreach. Times are the server's own; every answer is complete or an error."""

    def __init__(self, client: base.Client, tokens: Tokens) -> None:
        """Use ``client`` for the calls and ``tokens`` for their authorisation."""
        self.client = client
        self._tokens = tokens

    @property
    def rate_limit(self) -> base.RateLimit | None:
        """What the vendor last told about its hourly limit."""
        return self.client.rate_limit

    def page(
        self,
        kind: records.Kind,
        *,
        attributes: Sequence[str],
        relations: Sequence[str],
        since: datetime | None = None,
        link: str | None = None,
        size: int = 1000,
        newest_first: bool = False,
    ) -> base.Page:
        """Return one page of the stream in the order of updatedAt, from ``since`` (inclusive) or by following ``link``.

        Raises LinkRefused when the vendor no longer takes ``link``, ContractBroken when the next link leads elsewhere
        or is the one just followed, Throttled, RemoteDown, AuthRevoked.
        """
        asked = outreach_json.shape(kind, attributes, relations)
        if link is None:
            params = [*_sized(asked, size), ("sort", "-updatedAt" if newest_first else "updatedAt")]
            if since is not None:
                params.append(("filter[updatedAt]", f"{_stamp(since)}..inf"))
            url = self.client.url(f"/api/v2/{kind.value}", params)
        else:
            url = self.client.same_host(link)
        return self._page(asked, frozenset(attributes), url, link)

    def by_ids(
        self, kind: records.Kind, ids: Sequence[int], *, attributes: Sequence[str], relations: Sequence[str]
    ) -> list[records.Snapshot]:
        """Return the records with these ids. One that is left out does not exist, or may not be seen by this token."""
        asked = outreach_json.shape(kind, attributes, relations)
        wanted = list(dict.fromkeys(ids))
        found: dict[int, records.Snapshot] = {}
        for chunk in _chunks(wanted, IDS_A_CALL):
            params = [*_sized(asked, 1000), ("filter[id]", ",".join(map(str, chunk)))]
            for snapshot in self._all(asked, frozenset(attributes), params):
                found[snapshot.ref.id] = snapshot
            if found.keys() - set(wanted):
                raise errors.ContractBroken("filter[id] answered with other records", system=self.client.system)
        return list(found.values())

    def after(
        self,
        kind: records.Kind,
        place: int,
        *,
        attributes: Sequence[str],
        relations: Sequence[str],
        states: Sequence[str] = (),
        size: int = 1000,
    ) -> base.Page:
        """Return the first ``size`` records after an id, by id; only those in ``states`` if any are named."""
        asked = outreach_json.shape(kind, attributes, relations)
        params = [*_sized(asked, size), ("sort", "id"), ("filter[id]", f"{place + 1}..inf")]
        if states:
            params.append(("filter[state]", ",".join(states)))
        page = self._page(asked, frozenset(attributes), self.client.url(f"/api/v2/{kind.value}", params), None)
        ids = [place, *(one.ref.id for one in page.snapshots)]
        # That a range of ids may be asked for, in their order, is unproven (facts, outreach-api 5).
        if any(later <= earlier for earlier, later in itertools.pairwise(ids)):
            raise errors.ContractBroken("records sorted by id come out of order", system=self.client.system)
        if page.next is not None and not page.snapshots:
            raise base.Unanswered("an empty page that is not the last one", system=self.client.system)
        return page

    def prospects_by_email(self, addresses: Sequence[str], *, attributes: Sequence[str]) -> list[records.Snapshot]:
        """Return every prospect found by any of these addresses, each as given and in lower case.

        ``emails`` is always among the fields, so that the caller can see which address matched. Addresses with a comma
        or two dots in a row are asked for in the array form of ``newFilterSyntax`` (facts, section 5).
        """
        names = tuple(dict.fromkeys((*attributes, "emails")))
        asked = outreach_json.shape(records.Kind.PROSPECT, names, ())
        plain, awkward = outreach_json.filterable(addresses)
        found: dict[int, records.Snapshot] = {}
        queries = [[("filter[emails]", ",".join(chunk))] for chunk in _chunks(plain, ADDRESSES_A_CALL)]
        queries += [
            [("newFilterSyntax", "true"), *(("filter[emails][]", address) for address in chunk)]
            for chunk in _chunks(awkward, ADDRESSES_A_CALL)
        ]
        for query in queries:
            for snapshot in self._all(asked, frozenset(names), [*_sized(asked, 1000), *query]):
                found[snapshot.ref.id] = snapshot
        return list(found.values())

    def update_prospect(
        self, prospect_id: int, attributes: Mapping[str, records.Value], *, hide: Sequence[str] = ()
    ) -> records.Snapshot:
        """Return the prospect as it stands after these attributes were set; raises InvalidField or Unreadable."""
        ref = records.Ref(records.Kind.PROSPECT, prospect_id)
        data = {"type": "prospect", "id": prospect_id, "attributes": dict(attributes)}
        snapshot = self._write("PATCH", f"/api/v2/prospects/{prospect_id}", data, ref, hide=hide)
        if snapshot.ref != ref:
            raise base.Unanswered("a write was answered with another record", system=self.client.system)
        return snapshot

    def create_prospect(
        self, attributes: Mapping[str, records.Value], owner_id: int | None, *, hide: Sequence[str] = ()
    ) -> records.Snapshot:
        """Return the prospect just created; raises InvalidField. After Unanswered it may exist: look its address up."""
        data: dict[str, Any] = {"type": "prospect", "attributes": dict(attributes)}
        if owner_id is not None:
            data["relationships"] = {"owner": {"data": {"type": "user", "id": owner_id}}}
        return self._write("POST", "/api/v2/prospects", data, None, hide=hide)

    def add_to_sequence(
        self, prospect_id: int, sequence_id: int, mailbox_id: int | None = None, *, hide: Sequence[str] = ()
    ) -> records.Snapshot:
        """Return the new sequence state; raises InvalidField in the vendor's words. After Unanswered it may exist."""
        ends = {"prospect": prospect_id, "sequence": sequence_id} | ({"mailbox": mailbox_id} if mailbox_id else {})
        related = {name: {"data": {"type": name, "id": number}} for name, number in ends.items()}
        data = {"type": "sequenceState", "relationships": related}
        body = base.as_json({"data": data})
        ask = base.Ask("POST", self.client.url("/api/v2/sequenceStates"), body=body, hide=tuple(hide))
        return self._acted(ask, records.Kind.STATE, None)

    def act(self, kind: records.Kind, record_id: int, verb: str, *, hide: Sequence[str] = ()) -> records.Snapshot:
        """Return a sequence state or a task as it stands after a member action such as ``pause`` or ``markComplete``.

        Raises InvalidField in the vendor's words when it is not in the right state, Unreadable when it is gone.
        """
        ref = records.Ref(kind, record_id)
        ask = base.Ask("POST", self.client.url(f"/api/v2/{kind.value}/{record_id}/actions/{verb}"), hide=tuple(hide))
        snapshot = self._acted(ask, kind, ref)
        if snapshot.ref != ref:
            raise base.Unanswered("an action was answered with another record", system=self.client.system)
        return snapshot

    def remove_state(self, state_id: int) -> None:
        """Take a prospect out of a sequence; raises InvalidField, or Unreadable when the state is gone already."""
        ask = base.Ask("DELETE", self.client.url(f"/api/v2/sequenceStates/{state_id}"))

        ref = records.Ref(records.Kind.STATE, state_id)
        self._once(ask, lambda reply: self._refuse_action(reply, ref))

    def states_of(
        self,
        prospect_ids: Sequence[int],
        sequence_id: int | None = None,
        *,
        attributes: Sequence[str],
        relations: Sequence[str],
    ) -> list[records.Snapshot]:
        """Return every state of some prospects, or those in one sequence."""
        asked, found = outreach_json.shape(records.Kind.STATE, attributes, relations), []
        where = [("filter[sequence][id]", str(sequence_id))] if sequence_id is not None else []
        for chunk in _chunks(sorted(set(prospect_ids)), IDS_A_CALL):
            params = [*_sized(asked, 1000), ("filter[prospect][id]", ",".join(map(str, chunk))), *where]
            found += self._all(asked, frozenset(attributes), params)
        return found

    def read(self, url: httpx.URL, link: str | None, understood: Callable[[base.Reply], T]) -> T:
        """Return what is ``understood`` of the answer to a read; ``link`` is ``url`` where that was followed."""

        def heard(reply: base.Reply) -> T:
            self._refuse_read(reply, link)
            return understood(reply)

        return self._once(base.Ask("GET", url), heard, repeatable=True)

    def mailboxes_of(self, user_id: int) -> list[int]:
        """Return the ids of a user's mailboxes that can send, lowest first."""
        wanted = [("page[size]", "1000"), ("fields[mailbox]", "sendDisabled"), ("filter[userId]", str(user_id))]
        able = (
            row
            for row in self.rows("mailboxes", wanted)
            if (row.get("attributes") or {}).get("sendDisabled") is not True
        )
        return sorted(number for row in able if (number := base.whole(row.get("id"))) is not None)

    def ids_by_email(self, plural: str, singular: str, addresses: Sequence[str]) -> dict[str, int]:
        """Return the ids of users or mailboxes by their address in lower case: ``ids_by_email("users", "user", …)``."""
        found: dict[str, int] = {}
        for chunk in _chunks(sorted(set(addresses)), ADDRESSES_A_CALL):
            params = [("page[size]", "1000"), (f"fields[{singular}]", "email"), ("filter[email]", ",".join(chunk))]
            for row in self.rows(plural, params):
                found[str((row.get("attributes") or {}).get("email") or "").casefold()] = int(row["id"])
        return {address: number for address, number in found.items() if address}

    def rows(self, plural: str, params: list[tuple[str, str]]) -> list[dict[str, Any]]:
        """Return the one page of a small collection as it came: users, mailboxes, webhooks."""

        def understood(reply: base.Reply) -> list[dict[str, Any]]:
            document = base.decoded(reply, _ANYTHING)
            rows = document.get("data") if isinstance(document, dict) else None
            if not isinstance(rows, list):
                raise base.Unanswered(f"a list of {plural} has no data", system=self.client.system)
            return rows

        return self.read(self.client.url(f"/api/v2/{plural}", params), None, understood)

    def command(
        self, method: str, path: str, data: Mapping[str, Any] | None = None, *, hide: Sequence[str] = ()
    ) -> None:
        """Send once what is no record of ours; raises InvalidField in the vendor's words, without what is in ``hide``."""
        body = base.as_json({"data": data}) if data is not None else None
        ask = base.Ask(method, self.client.url(f"/api/v2/{path}"), body=body, hide=tuple(hide))
        self._once(ask, lambda reply: self._refuse_action(reply, None))

    def identity(self) -> str | None:
        """Return what the API's root tells of the organisation, or None when it tells nothing of the kind."""

        def understood(reply: base.Reply) -> str | None:
            self.client.refuse_trouble(reply)
            return organisation(base.decoded(reply, _ANYTHING)) if reply.status == httpx.codes.OK else None

        return self._once(base.Ask("GET", self.client.url("/api/v2")), understood, repeatable=True)

    def _all(
        self, asked: outreach_json.Shape, wanted: frozenset[str], params: list[tuple[str, str]]
    ) -> list[records.Snapshot]:
        """Return a filtered collection, paged to its end, without what is in the vendor's bin."""
        page = self._page(asked, wanted, self.client.url(f"/api/v2/{asked.kind.value}", params), None)
        found = page.snapshots
        for _ in range(PAGES_A_LOOK_UP):
            if page.next is None:
                return [one for one in found if not one.deleted]
            page = self._page(asked, wanted, self.client.same_host(page.next), page.next)
            found += page.snapshots
        raise errors.ContractBroken("a look-up has no end: its filter was not honoured", system=self.client.system)

    def _page(self, asked: outreach_json.Shape, wanted: frozenset[str], url: httpx.URL, link: str | None) -> base.Page:
        """Return the page at ``url``; its next link stays on our host and is not ``link`` again."""

        def understood(reply: base.Reply) -> base.Page:
            snapshots, following = outreach_json.page(reply, asked, wanted)
            return base.Page(snapshots, following, reply.server_time)

        page = self.read(url, link, understood)
        if page.next is None:
            return page
        following = self.client.same_host(page.next)
        if following == url or page.next == link:
            raise errors.ContractBroken("cursor did not move", system=self.client.system)
        return page

    def _write(
        self, method: str, path: str, data: dict[str, Any], ref: records.Ref | None, *, hide: Sequence[str] = ()
    ) -> records.Snapshot:
        """Return the record that a write was answered with; the write is sent once."""
        try:
            body = base.as_json({"data": data})
        except ValueError:
            raise self._invalid("a value that JSON cannot hold", ref=ref) from None
        ask = base.Ask(method, self.client.url(path), body=body, hide=(*quoting.personal(data["attributes"]), *hide))

        def understood(reply: base.Reply) -> records.Snapshot:
            self._refuse_write(reply, ref)
            return outreach_json.one(reply, records.Kind.PROSPECT)

        return self._once(ask, understood)

    def _acted(self, ask: base.Ask, kind: records.Kind, ref: records.Ref | None) -> records.Snapshot:
        """Return the record that an action was answered with; it is sent once."""

        def understood(reply: base.Reply) -> records.Snapshot:
            self._refuse_action(reply, ref)
            return outreach_json.one(reply, kind)

        return self._once(ask, understood)

    def _once(self, ask: base.Ask, understood: Callable[[base.Reply], T], *, repeatable: bool = False) -> T:
        """Return what is ``understood`` of the answer; an error that it means bears its status."""

        def once() -> T:
            reply = self._authorised(ask)
            with reply.blamed():
                return understood(reply)

        return self.client.patiently(once, repeatable=repeatable)

    def _refuse_action(self, reply: base.Reply, ref: records.Ref | None) -> None:
        """As ``_refuse_write``, but a missing permission or route only refuses this action: all else goes on without it."""
        gone = reply.status in {404, 410} and ref is not None
        if reply.status in {403, 404, 405, 410} and not gone:
            verb = "forbids it" if reply.status == httpx.codes.FORBIDDEN else "does not know how"
            raise self._invalid(f"Outreach {verb}: {outreach_json.complaint(reply).words}", ref=ref)
        self._refuse_write(reply, ref)

    def _authorised(self, ask: base.Ask) -> base.Reply:
        """Return the answer to ``ask`` with a bearer token, renewed once if refused; refused again is AuthRevoked."""
        bearer = self._tokens.bearer()
        reply = self.client.exchange(_with(ask, bearer))
        if reply.status == httpx.codes.UNAUTHORIZED:
            bearer = self._tokens.renew(bearer)
            reply = self.client.exchange(_with(ask, bearer))
        if reply.status == httpx.codes.UNAUTHORIZED:
            with reply.blamed():
                words = quoting.say(f"Outreach refuses a fresh token: {outreach_json.complaint(reply).words}")
                raise errors.AuthRevoked(words, system=self.client.system)
        return reply

    def _refuse_read(self, reply: base.Reply, link: str | None) -> None:
        """Return only if a read was answered with 200; otherwise raise what the status means."""
        if reply.status == httpx.codes.OK:
            return
        words = self._common_refusal(reply)
        if link is not None and reply.status in _LINK_DEAD:
            raise base.LinkRefused(f"{reply.status}: {words}", system=self.client.system)
        if reply.status >= httpx.codes.BAD_REQUEST:
            raise errors.ContractBroken(f"Outreach refuses a read, {reply.status}: {words}", system=self.client.system)
        raise base.Unanswered(f"answered a read with {reply.status}", system=self.client.system)

    def _refuse_write(self, reply: base.Reply, ref: records.Ref | None) -> None:
        """Return only if a write was answered with 2xx; otherwise raise what the status means."""
        if httpx.codes.is_success(reply.status):
            return
        words = self._common_refusal(reply)
        if reply.status in _REFUSED:
            told = outreach_json.complaint(reply)
            raise self._invalid(told.words, name=told.field, ref=ref)
        if reply.status in {404, 410} and ref is not None:
            raise errors.Unreadable(words, system=self.client.system, ref=ref)
        if reply.status >= httpx.codes.BAD_REQUEST:
            raise errors.ContractBroken(f"Outreach refuses a write, {reply.status}: {words}", system=self.client.system)
        raise base.Unanswered(f"answered a write with {reply.status}", system=self.client.system)

    def _common_refusal(self, reply: base.Reply) -> str:
        """Return the vendor's words, after raising for throttling, 5xx and a missing permission."""
        words = outreach_json.complaint(reply).words
        self.client.refuse_trouble(reply, words)
        if reply.status == httpx.codes.FORBIDDEN:
            raise errors.Forbidden(quoting.say(f"Outreach forbids it: {words}"), system=self.client.system)
        return words

    def _invalid(self, words: str, *, name: str = "", ref: records.Ref | None) -> errors.InvalidField:
        """Return the error for a refused value."""
        return errors.InvalidField(words, field=name, system=self.client.system, ref=ref)


def _with(ask: base.Ask, bearer: str) -> base.Ask:
    """Return ``ask`` with its media type and authorisation."""
    return replace(ask, headers={"Content-Type": _MEDIA, "Accept": _MEDIA, "Authorization": f"Bearer {bearer}"})


def _sized(asked: outreach_json.Shape, size: int) -> list[tuple[str, str]]:
    """Return the parameters that every collection is asked with: cursor paging, no count, only the wanted columns."""
    columns = ",".join((*asked.attributes, *asked.relations))
    return [
        ("page[size]", str(size)),
        ("count", "false"),
        (f"fields[{outreach_json.TYPES[asked.kind]}]", columns),
    ]


def _stamp(at: datetime) -> str:
    """Return ``at`` in UTC, whole seconds rounded down, for updatedAt is stored to the second (facts, section 0)."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Return ``items`` in runs of at most ``size``."""
    return (items[start : start + size] for start in range(0, len(items), size))
