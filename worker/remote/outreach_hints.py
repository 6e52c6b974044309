"""What a webhook of Outreach says: whether it is genuine, and which records it hints at. It is never taken at its word.

Both payload versions have the same outline; version 2 adds ``beforeUpdate`` (facts, outreach-api 7.2), which nobody needs who
fetches the record anyway.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from worker.core import errors
from worker.core.records import Kind, Ref
from worker.remote import base
from worker.remote.outreach import IDS_A_CALL
from worker.remote.outreach_json import TRASHED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.remote.outreach import Outreach

_KINDS = {
    "prospect": Kind.PROSPECT,
    "sequence": Kind.SEQUENCE,
    "sequenceState": Kind.STATE,
    "sequenceStep": Kind.STEP,
    "task": Kind.TASK,
}
ADDRESS = "emailAddress"
_GONE = frozenset({"destroyed", "deleted"})
_ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


class Unintelligible(Exception):
    """The body says nothing that can be understood; the words hold none of it."""


@dataclass(frozen=True, slots=True)
class Hint:
    """What to look at. ``address`` is an e-mail address' id of which it is not told whose it is. Neither: nothing of ours.

    ``destroyed`` says that the record itself is said to be gone, or in the vendor's bin.
    """

    ref: Ref | None = None
    address: int | None = None
    destroyed: bool = False


def is_signed(body: bytes, signature: str, secrets: Sequence[bytes]) -> bool:
    """Tell whether the signature is the body's under one of the secrets, in a time that tells nothing about them.

    HMAC-SHA256 over the raw body, hexadecimal, no prefix (facts, outreach-api 7.2).
    """
    told = signature.strip().lower().encode("utf-8", "replace")
    found = [hmac.compare_digest(hmac.digest(secret, body, hashlib.sha256).hex().encode(), told) for secret in secrets]
    return any(found)


class _Signs(msgspec.Struct):
    """What of a record's attributes may tell of an opt-out (facts, outreach-api 6.1 and 6.4)."""

    opted_out: Any = msgspec.field(default=None, name="optedOut")
    opted_out_at: Any = msgspec.field(default=None, name="optedOutAt")
    email_opted_out: Any = msgspec.field(default=None, name="emailOptedOut")
    emails_opt_status: Any = msgspec.field(default=None, name="emailsOptStatus")
    state: Any = None
    unsubscribed_at: Any = msgspec.field(default=None, name="unsubscribedAt")
    status: Any = None


class _Data(msgspec.Struct):
    attributes: _Signs = msgspec.field(default_factory=_Signs)


class _Document(msgspec.Struct):
    data: _Data


_OPT_OUTS = msgspec.json.Decoder(_Document)


def may_opt_out(body: bytes) -> bool:
    """Tell whether a webhook may be about an opt-out; what cannot be understood is about none.

    It decides only what is looked at first. There is no webhook of an opt-out as such: it comes as an update with the
    attributes that were set (facts, outreach-api 7.1 and 7.2).
    """
    try:
        told = _OPT_OUTS.decode(body).data.attributes
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    if told.opted_out or told.opted_out_at or told.email_opted_out or told.unsubscribed_at:
        return True
    words = f"{told.emails_opt_status} {told.state} {told.status}".lower()
    return "opted_out" in words or "optedout" in words or "unsub" in words


def read(body: bytes) -> Hint:
    """Return what a webhook hints at; raise :class:`Unintelligible`."""
    try:
        document = _ANYTHING.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unintelligible("no JSON") from None
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict):
        raise Unintelligible("no data")
    resource = data.get("type")
    if not isinstance(resource, str) or not resource:
        raise Unintelligible("no type")
    if resource not in _KINDS and resource != ADDRESS:
        return Hint()
    record_id = base.whole(data.get("id"))
    if record_id is None or not 0 < record_id < 2**63:
        raise Unintelligible("no usable id")
    if resource != ADDRESS:
        return Hint(Ref(_KINDS[resource], record_id), destroyed=_action(document) in _GONE or _is_trashed(data))
    owner = _related(data, "prospect")
    return Hint(Ref(Kind.PROSPECT, owner)) if owner is not None else Hint(address=record_id)


def _is_trashed(data: dict[str, Any]) -> bool:
    attributes = data.get("attributes")
    return isinstance(attributes, dict) and bool(attributes.get(TRASHED))


def _action(document: dict[str, Any]) -> str:
    """Return the last part of the event's name, ``<resource>.<action>``."""
    meta = document.get("meta")
    name = meta.get("eventName") if isinstance(meta, dict) else None
    return name.rpartition(".")[2] if isinstance(name, str) else ""


def owners(outreach: Outreach, address_ids: Sequence[int]) -> dict[int, int]:
    """Return the prospect of each e-mail address, by their ids; none where the token may not know. Raise Transient."""
    found: dict[int, int] = {}
    for start in range(0, len(address_ids), IDS_A_CALL):
        ids = ",".join(map(str, address_ids[start : start + IDS_A_CALL]))
        params = [("page[size]", "1000"), ("fields[emailAddress]", "prospect"), ("filter[id]", ids)]
        try:
            rows = outreach.rows("emailAddresses", params)
        except (errors.AuthRevoked, errors.ContractBroken):
            return found
        for row in rows:
            address, owner = base.whole(row.get("id")), _related(row, "prospect")
            if address is not None and owner is not None:
                found[address] = owner
    return found


def _related(data: dict[str, Any], name: str) -> int | None:
    """Return the id of a relation: ``{"type", "id"}`` as seen in deliveries, or in a ``data`` as everywhere else."""
    relations = data.get("relationships")
    told = relations.get(name) if isinstance(relations, dict) else None
    if isinstance(told, dict) and isinstance(told.get("data"), dict):
        told = told["data"]
    number = base.whole(told.get("id")) if isinstance(told, dict) else None
    return number if number is not None and 0 < number < 2**63 else None
