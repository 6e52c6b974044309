"""Workbooks' API by key, without a session: lists read as form posts, batches written, metadata and picklists read."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import httpx
import msgspec

from worker.core import errors, pace, records
from worker.remote import base, quoting, waits, workbooks_reply, workbooks_rows
from worker.remote.workbooks_rows import FieldInfo, Tenant
from worker.remote.workbooks_wire import (
    Applied,
    Form,
    Outcome,
    Refused,
    Stale,
    Uncertain,
    Write,
    api_time,
    one_of,
    parse_time,
    squared,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Applied",
    "FieldInfo",
    "Outcome",
    "Refused",
    "Stale",
    "Tenant",
    "Uncertain",
    "Workbooks",
    "Write",
    "api_time",
    "one_of",
    "parse_time",
]

OBJECTS_A_CALL = pace.MOST
HOPS = 5
PICKLIST_PAGES = 200

_PATHS = {records.Kind.PERSON: "/crm/people.api", records.Kind.CRM_TASK: "/activity/tasks.api"}
_CLASSES = {records.Kind.PERSON: "Private::Crm::Person", records.Kind.CRM_TASK: "Private::Activity::Task"}
_LOGIN = re.compile(r"(^|/)(login|log_in|signin|sign_in|sessions?/new)(\.\w+)?(/|$)", re.IGNORECASE)
_MOMENTARY = {
    "requested_database_not_available",
    "no_available_database",
    "database_being_migrated",
    "database_archived",
}
"""Failure reasons that pass by themselves, though their status is 403 (manual, Login)."""
_NOT_THERE = {404, 405, 406, 410, 501}
_ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


class _Listing(msgspec.Struct):
    """The reply to a list; it holds nothing unless ``success`` is true and ``data`` a list of rows."""

    data: list[dict[str, Any]]
    success: bool


_LISTING = msgspec.json.Decoder(_Listing)


class Workbooks:
    """One Workbooks database, reached with an API key on every request and no session that could die."""

    def __init__(self, client: base.Client, api_key: str) -> None:
        """Use ``client`` for the calls and ``api_key`` for all of them.

        ``at_once`` is how many objects a write had better carry just now, by how long the last ones took.
        """
        self.client = client
        self.at_once = OBJECTS_A_CALL
        self._api_key = api_key

    def login(self) -> Tenant:
        """Return whose database the key opens; a Tenant of Nones where the vendor has no such door.

        Raises AuthRevoked with the vendor's reason and the likely causes.
        """

        def once() -> Tenant:
            form = Form([("_method", "POST"), ("client", "api"), ("_application_name", "outbook")])
            form.pairs.extend([("api_version", "1"), ("_fast_login", "1"), ("api_key", self._api_key)])
            reply = self._post("/login.api", form)
            if reply.status == httpx.codes.NOT_FOUND:
                return Tenant()
            with reply.blamed():
                self._refuse_read(reply)
                return self._tenant(reply)

        return self.client.patiently(once, repeatable=True)

    def page(
        self,
        kind: records.Kind,
        *,
        columns: Sequence[str],
        filters: Sequence[tuple[str, str, str]],
        match: str = "and",
        sort: Sequence[str] = (),
        start: int = 0,
        limit: int = OBJECTS_A_CALL,
    ) -> base.Page:
        """Return the rows ``start`` to ``start + limit`` of a list. ``next`` is always None: page on with ``start``.

        ``filters`` are (field, type, value); ``match`` is and, or, or an expression over their numbers from 1. A sort
        column with a minus before it descends. Deleted rows show only where ``is_deleted`` is filtered by (facts, 3).
        """
        form = self._form("GET")
        workbooks_rows.window(form, start, limit, sort)
        workbooks_rows.narrowed(form, filters, match)
        for column in dict.fromkeys((*columns, *workbooks_rows.OWN_COLUMNS)):
            form.add("_select_columns[]", column)
        wanted = frozenset(columns)
        hide = tuple(text for name, _, value in filters for text in quoting.personal({name: value.split(",")}))

        def once() -> base.Page:
            reply = self._post(_PATHS[kind], form, hide)
            with reply.blamed():
                self._refuse_read(reply)
                snapshots = [workbooks_rows.snapshot(row, kind, wanted) for row in self._listed(reply)]
            return base.Page(snapshots, None, reply.server_time)

        return self.client.patiently(once, repeatable=True)

    def write(self, kind: records.Kind, writes: Sequence[Write], *, reference_field: str) -> list[Outcome]:
        """Return what became of each of at most 100 writes, sent as one batch of separate transactions.

        Raises RemoteDown when the batch surely never arrived, Throttled and AuthRevoked when it surely was not carried
        out; any doubt is an Uncertain outcome. A value that the wire cannot carry is that write's Refused.
        """
        if len(writes) > OBJECTS_A_CALL:
            raise ValueError(f"at most {OBJECTS_A_CALL} objects a request")
        ready = [workbooks_rows.with_reference(write, reference_field) for write in writes]
        workbooks_rows.must_be_distinct(ready)
        faults = [workbooks_rows.unsendable(write) for write in ready]
        batch = [write for write, fault in zip(ready, faults, strict=True) if fault is None]
        answers = iter(self.save(_PATHS[kind], batch, reference_field=reference_field) if batch else [])
        return [fault if fault is not None else next(answers) for fault in faults]

    def metadata(self, kinds: Sequence[records.Kind]) -> dict[records.Kind, dict[str, FieldInfo]] | None:
        """Return every field of these kinds by name, or None where the metadata cannot be read or is not understood."""
        form = self._form("GET")
        for kind in kinds:
            form.add("class_names[]", _CLASSES[kind])
        for column in ("class_name", "fields"):
            form.add("_select_columns[]", column)
        document = self._optional("/metadata/types.api", form)
        found = {kind: workbooks_rows.fields_of(document, _CLASSES[kind]) for kind in kinds}
        return found if any(found.values()) else None

    def picklist(self, picklist_id: int) -> tuple[str, ...] | None:
        """Return all values of a picklist in the order of their ids, or None where they cannot be read.

        None also for a list that answers empty, for then nobody can tell a list without values from a hidden one.
        """
        found: dict[int, str] = {}
        for _ in range(PICKLIST_PAGES):
            form = self._form("GET")
            workbooks_rows.window(form, len(found), OBJECTS_A_CALL, ("id",), counted=True)
            workbooks_rows.narrowed(form, [("picklist_id", "eq", str(picklist_id))], "and")
            document = self._optional("/admin/picklist_entries.api", form)
            entries = workbooks_rows.entries(document, picklist_id)
            if entries is None:
                return None
            news = entries.keys() - found.keys()
            found |= entries
            # A short page alone proves no end: some of its rows may not be seen, or the vendor sends fewer than asked.
            if not news or (len(entries) < OBJECTS_A_CALL and workbooks_rows.is_whole(document, len(found))):
                return tuple(dict.fromkeys(found.values())) or None
        raise errors.ContractBroken("a picklist has no end", system=self.client.system)

    def rows(
        self, path: str, *, columns: Sequence[str], filters: Sequence[tuple[str, str, str]]
    ) -> list[dict[str, Any]] | None:
        """Return the first 100 rows of any list as they are told, or None where it may not be read."""
        form = self._form("GET")
        workbooks_rows.window(form, 0, OBJECTS_A_CALL, ("id",))
        workbooks_rows.narrowed(form, filters, "and")
        for column in columns:
            form.add("_select_columns[]", column)
        document = self._optional(path, form)
        told = document.get("data") if isinstance(document, dict) else None
        return told if isinstance(told, list) and all(isinstance(row, dict) for row in told) else None

    def _form(self, method: str) -> Form:
        """Return a form as the vendor's PHP client begins it: the verb, the client's kind, the key."""
        return Form([("_method", method), ("client", "api"), ("api_key", self._api_key), ("_api_version", "1")])

    def _listed(self, reply: base.Reply) -> list[dict[str, Any]]:
        """Return the rows of a list's reply; anything but ``success`` with a list raises, in the vendor's words."""
        try:
            listing = _LISTING.decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            listing = None
        if listing is not None and listing.success:
            return listing.data
        document = base.decoded(reply, _ANYTHING)
        self._refuse_session(reply, document)
        words = workbooks_reply.words(document) or "not a list of rows"
        raise base.Unanswered(f"a list was answered with: {reply.say(words)}", system=self.client.system)

    def _optional(self, path: str, form: Form) -> object:
        """Return the JSON of a reading that not every database or key allows; None where it is not there."""

        def once() -> object:
            reply = self._post(path, form)
            if reply.status in _NOT_THERE:
                return None
            with reply.blamed():
                self._refuse_read(reply)
                document = base.decoded(reply, _ANYTHING)
                failed = isinstance(document, dict) and document.get("success") is not True
                if failed:
                    self._refuse_session(reply, document)
            return None if failed else document

        return self.client.patiently(once, repeatable=True)

    def save(self, path: str, batch: Sequence[Write], *, reference_field: str) -> list[Outcome]:
        """Return the outcomes of a batch that can be sent, to whatever kind of record stands at ``path``."""
        form = self._form("PUT")
        form.add("_per_object_transactions", "true")
        form.add("_strict_attribute_checking", "true")
        squared(form, batch)
        hide = tuple(text for write in batch for text in (*quoting.personal(write.fields), *write.hide))
        try:
            reply = self.client.patiently(lambda: self._written(path, form, hide, len(batch)), repeatable=False)
            carried_out = httpx.codes.is_success(reply.status)
            document = base.decoded(reply, _ANYTHING) if carried_out else _document(reply)
        except base.Unanswered as error:
            return [Uncertain(error.words)] * len(batch)
        if carried_out:
            with reply.blamed():
                self._refuse_session(reply, document)
        found = workbooks_reply.outcomes(document, batch, reference_field=reference_field, hide=reply.hidden)
        return found if carried_out else [_under_status(reply.status, one, alone=len(batch) == 1) for one in found]

    def _written(self, path: str, form: Form, hide: tuple[str, ...], objects: int) -> base.Reply:
        """Return the reply to a write, unless its status says that nothing was done or that nobody knows."""
        began, carried_out = self.client.now(), 0
        try:
            reply = self._post(path, form, hide)
            carried_out = objects if httpx.codes.is_success(reply.status) else 0
        finally:
            took_s = (self.client.now() - began).total_seconds()
            self.at_once = pace.objects(self.at_once, carried_out, took_s)
        with reply.blamed():
            self._refuse_write(reply)
        return reply

    def _refuse_write(self, reply: base.Reply) -> None:
        """Return only if the body of a write's answer tells what was done; otherwise raise what the status means."""
        if reply.status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise base.Unanswered(f"answered a write with {reply.status}", system=self.client.system)
        self.client.refuse_trouble(reply)
        if reply.status in {401, 403}:
            self._refuse_credentials(reply)
        if not httpx.codes.is_success(reply.status) and reply.status < httpx.codes.BAD_REQUEST:
            raise base.Unanswered(f"answered a write with {reply.status}", system=self.client.system)

    def _post(self, path: str, form: Form, hide: tuple[str, ...] = ()) -> base.Reply:
        """Return the reply to a form, having followed the redirects with which Workbooks slows its clients down.

        The vendor's own clients lose the body on the way (trace, section E); here method and body stay, the host too,
        and there is a wait before each hop. A redirect to the login page means that the key is no longer accepted.
        """
        milliseconds = int(self.client.now().timestamp() * 1000)
        url = self.client.url(path, [("_dc", str(milliseconds))])
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        ask = base.Ask("POST", url, headers, form.body(), (self._api_key, *hide))
        for hop in range(HOPS + 1):
            reply = self.client.exchange(ask)
            location = reply.headers.get("location")
            if not 300 <= reply.status < httpx.codes.BAD_REQUEST or not location:  # noqa: PLR2004 a class of status
                return reply
            ask = replace(ask, url=self.client.same_host(location, seen_from=ask.url))
            if _LOGIN.search(ask.url.path):
                self._revoked("it redirects to its login page: session or key no longer accepted")
            wait_s = waits.told(reply.headers, reply.server_time)
            if wait_s is not None and wait_s > base.SLEPT_THROUGH_S:
                raise errors.Throttled("redirected, with a time", retry_after_s=wait_s, system=self.client.system)
            if hop < HOPS:
                self.client.sleep(wait_s or (0.5 + self.client.jitter() / 2) * min(4.0, 0.5 * 2.0**hop))
        raise errors.Throttled(
            f"redirected {HOPS + 1} times without an answer", retry_after_s=30.0, system=self.client.system
        )

    def _refuse_read(self, reply: base.Reply) -> None:
        """Return only if a read was answered with 200; otherwise raise what the status means."""
        if reply.status == httpx.codes.OK:
            return
        self.client.refuse_trouble(reply)
        if reply.status in {401, 403}:
            self._refuse_credentials(reply)
        words = reply.say(workbooks_reply.words(_document(reply)) or "without a word about why")
        if reply.status >= httpx.codes.BAD_REQUEST:
            raise errors.ContractBroken(f"Workbooks refuses a read, {reply.status}: {words}", system=self.client.system)
        raise base.Unanswered(f"answered a read with {reply.status}", system=self.client.system)

    def _refuse_credentials(self, reply: base.Reply) -> NoReturn:
        """Raise AuthRevoked for a 401 or 403, RemoteDown when it is the database that is away for a while."""
        document = _document(reply)
        self._refuse_session(reply, document)
        self._revoked(f"{reply.status}, {reply.say(workbooks_reply.words(document) or 'no reason given')}")

    def _refuse_session(self, reply: base.Reply, document: object) -> None:
        """Raise what a ``failure_reason`` means, if the reply holds one."""
        told = document if isinstance(document, dict) and document.get("success") is not True else {}
        reason = told.get("failure_reason")
        if not isinstance(reason, str) or not reason:
            return
        if reason in _MOMENTARY:
            raise errors.RemoteDown(f"Workbooks says {reason}", system=self.client.system)
        self._revoked(reply.say(reason))

    def _revoked(self, words: str) -> NoReturn:
        """Raise AuthRevoked with the vendor's reason and what usually lies behind it."""
        causes = "the key is wrong or expired, its user disabled or without API access, or this address not permitted"
        told = f"Workbooks refuses the API key ({words[:120]}); likely: {causes}"
        raise errors.AuthRevoked(told, system=self.client.system)

    def _tenant(self, reply: base.Reply) -> Tenant:
        """Return the tenant a login told; raises for a reply that is no login."""
        document = base.decoded(reply, _ANYTHING)
        self._refuse_session(reply, document)
        tenant = workbooks_rows.tenant(document)
        if tenant is None:
            raise base.Unanswered("a login was answered without an identity", system=self.client.system)
        return tenant


def _under_status(status: int, outcome: Outcome, *, alone: bool) -> Outcome:
    """Return an outcome as a reply of status 4xx leaves it: a lone write was refused, a success is doubtful."""
    if isinstance(outcome, Applied):
        return Uncertain(f"saved, says an answer of status {status}")
    if alone and isinstance(outcome, Uncertain):
        return Refused({"": quoting.say(f"answered {status}: {outcome.words}")}, status)
    return replace(outcome, status=status) if isinstance(outcome, Refused) else outcome


def _document(reply: base.Reply) -> object:
    """Return the body as JSON, None if it is none."""
    try:
        return _ANYTHING.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
