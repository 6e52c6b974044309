"""Outreach's JSON:API documents turned into snapshots, quickly: only what was asked for becomes Python objects."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, UnsetType

from worker.core import records
from worker.remote import base, quoting, waits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

TYPES = {
    records.Kind.SEQUENCE: "sequence",
    records.Kind.STEP: "sequenceStep",
    records.Kind.PROSPECT: "prospect",
    records.Kind.STATE: "sequenceState",
    records.Kind.TASK: "task",
}
"""The ``type`` of each kind's resource object; its collection is the kind's value (facts, section 6)."""

TRASHED = "trashedAt"
"""When a prospect was put into the bin. Whether it is shown or listed there is unknown (facts, outreach-api 6.4 and 8):
if it is, that is a deletion all the same."""
_ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


class _Identifier(msgspec.Struct, gc=False):
    """The other end of a to-one relation."""

    id: int | str | None = None


class _Relation(msgspec.Struct, gc=False):
    """A relation; without ``data`` the answer does not tell what it holds (facts, section 2)."""

    data: _Identifier | list[Any] | UnsetType | None = UNSET


class Resource(msgspec.Struct, gc=False):
    """One resource object; ``attributes`` and ``relationships`` are made for what was asked."""

    id: int | str
    type: str = ""
    attributes: Any = None
    relationships: Any = None


class Links(msgspec.Struct, gc=False):
    """The links of a page; ``next`` is absent on the last one, a string or an object with ``href``."""

    next: str | dict[str, Any] | None = None


class PageDocument(msgspec.Struct):
    """A collection; ``data`` must be there."""

    data: list[Resource]
    links: Links | list[Any] | None = None
    errors: Any = None


@dataclass(frozen=True, slots=True)
class Shape:
    """What is asked of one kind: the names of its attributes and relations, in the order of the decoded structs.

    ``updated`` and ``trashed`` are the places of those two times among the attributes.
    """

    kind: records.Kind
    attributes: tuple[str, ...]
    relations: tuple[str, ...]
    decoder: msgspec.json.Decoder[Any]
    updated: int
    trashed: int | None


def shape(kind: records.Kind, attributes: Iterable[str], relations: Iterable[str]) -> Shape:
    """Return the decoder for pages of ``kind`` that keeps these attributes (and what every one is asked) and relations only."""
    always = ("updatedAt", TRASHED) if kind is records.Kind.PROSPECT else ("updatedAt",)
    return _shape(kind, tuple(dict.fromkeys((*attributes, *always))), tuple(dict.fromkeys(relations)))


@lru_cache(maxsize=64)
def _shape(kind: records.Kind, attributes: tuple[str, ...], relations: tuple[str, ...]) -> Shape:
    """Build the structs once for each set of names; fields are numbered, for an attribute need be no identifier."""
    held = msgspec.defstruct(
        "Attributes",
        [(f"a{n}", Any, UNSET) for n in range(len(attributes))],
        rename={f"a{n}": name for n, name in enumerate(attributes)},
        gc=False,
    )
    related = msgspec.defstruct(
        "Relations",
        [(f"r{n}", _Relation | UnsetType | None, UNSET) for n in range(len(relations))],
        rename={f"r{n}": name for n, name in enumerate(relations)},
        gc=False,
    )
    resource = msgspec.defstruct(
        "Asked",
        [("attributes", held | UnsetType | None, UNSET), ("relationships", related | UnsetType | None, UNSET)],
        bases=(Resource,),
        gc=False,
    )
    document = msgspec.defstruct("Document", [("data", list[resource])], bases=(PageDocument,))  # type: ignore[valid-type]
    trashed = attributes.index(TRASHED) if TRASHED in attributes else None
    return Shape(kind, attributes, relations, msgspec.json.Decoder(document), attributes.index("updatedAt"), trashed)


def page(reply: base.Reply, asked: Shape, wanted: frozenset[str]) -> tuple[list[records.Snapshot], str | None]:
    """Return the snapshots and the next link of a page; raises Unanswered when it is no page of that kind.

    Attributes outside ``wanted`` are left out. One odd record does not spoil the page: what it tells legibly is kept.
    """
    try:
        document = asked.decoder.decode(reply.body)
    except (msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        return _tolerant_page(reply, asked, wanted)
    except msgspec.DecodeError:
        document = base.decoded(reply, _ANYTHING)  # fails likewise, in words
    _must_be_of(asked.kind, {resource.type for resource in document.data}, document.errors)
    unwanted = tuple(name for name in asked.attributes if name not in wanted)
    snapshots = [_snapshot(resource, asked, unwanted) for resource in document.data]
    return snapshots, _next(document.links.next if isinstance(document.links, Links) else None)


def one(reply: base.Reply, kind: records.Kind) -> records.Snapshot:
    """Return the single record of a reply with all attributes and to-one relations it tells; else raise Unanswered."""
    document = base.decoded(reply, _ANYTHING)
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict):
        raise _no_data(reply, document, "a record")
    _must_be_of(kind, {str(data.get("type", ""))}, document.get("errors"))
    return _loose_snapshot(data, kind)


def _tolerant_page(
    reply: base.Reply, asked: Shape, wanted: frozenset[str]
) -> tuple[list[records.Snapshot], str | None]:
    """Return a page of which some record has an unexpected shape, read the slow way."""
    document = base.decoded(reply, _ANYTHING)
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list):
        raise _no_data(reply, document, "a list of records")
    if not all(isinstance(item, dict) for item in data):
        raise base.Unanswered(f"answered {reply.status} with a list of something other than records")
    _must_be_of(asked.kind, {str(item.get("type", "")) for item in data}, document.get("errors"))
    found = [_loose_snapshot(item, asked.kind, wanted, asked.relations) for item in data]
    links = document.get("links")
    return found, _next(links.get("next") if isinstance(links, dict) else None)


def _no_data(reply: base.Reply, document: object, what: str) -> base.Unanswered:
    """Return the error for a document that lacks its data, with the vendor's own errors if it holds those instead."""
    if isinstance(document, dict) and document.get("errors"):
        return base.Unanswered(f"answered {reply.status} with an error: {complaint(reply).words}"[: quoting.WORDS_CAP])
    return base.Unanswered(f"answered {reply.status} with JSON that is not {what}")


def _must_be_of(kind: records.Kind, types: set[str], complaints: object) -> None:
    """Raise Unanswered when an answer holds errors beside its data, or records of another type."""
    if complaints:
        raise base.Unanswered("the answer holds errors beside its data")
    if types - {TYPES[kind], ""}:
        raise base.Unanswered(f"the answer holds records that are no {TYPES[kind]}")


def _snapshot(resource: Resource, asked: Shape, unwanted: Sequence[str]) -> records.Snapshot:
    """Return one typed resource as a snapshot."""
    fields: dict[str, records.Value] = {}
    updated_at, trashed = None, False
    if isinstance(resource.attributes, msgspec.Struct):
        values = msgspec.structs.astuple(resource.attributes)
        told: Iterable[tuple[str, Any]] = zip(asked.attributes, values, strict=True)
        fields = dict(told if UNSET not in values else ((name, value) for name, value in told if value is not UNSET))
        for name in unwanted:
            fields.pop(name, None)
        updated_at = _moment(values[asked.updated])
        trashed = asked.trashed is not None and _is_told(values[asked.trashed])
    relations: dict[str, int | None] = {}
    if isinstance(resource.relationships, msgspec.Struct):
        for name, relation in zip(asked.relations, msgspec.structs.astuple(resource.relationships), strict=True):
            data = relation.data if type(relation) is _Relation else UNSET
            if type(data) is _Identifier and type(data.id) is int:
                relations[name] = data.id
            elif data is not UNSET:
                _relate(relations, name, data)
    number = resource.id
    ref = records.Ref(asked.kind, number if type(number) is int and number > 0 else _id(number))
    return records.Snapshot(ref, fields, updated_at, deleted=trashed, relations=relations)


def _is_told(value: object) -> bool:
    return value is not UNSET and bool(value)


def _relate(relations: dict[str, int | None], name: str, data: object) -> None:
    """Add what a to-one relation holds; a to-many, an untold or an illegible one adds nothing."""
    if data is None:
        relations[name] = None
    elif isinstance(data, _Identifier):
        other = data.id if type(data.id) is int else base.whole(data.id)
        if other is not None:
            relations[name] = other


def _loose_snapshot(
    item: Mapping[str, Any],
    kind: records.Kind,
    wanted: frozenset[str] | None = None,
    relations: Sequence[str] | None = None,
) -> records.Snapshot:
    """Return one plain JSON object as a snapshot; ``None`` for the names means all that it tells."""
    attributes = item.get("attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    relationships = item.get("relationships")
    relationships = relationships if isinstance(relationships, dict) else {}
    held: dict[str, int | None] = {}
    for name, relation in relationships.items():
        if isinstance(relation, dict) and "data" in relation and (relations is None or name in relations):
            data = relation["data"]
            _relate(held, name, _Identifier(data.get("id")) if isinstance(data, dict) else data)
    return records.Snapshot(
        ref=records.Ref(kind, _id(item.get("id"))),
        fields={name: value for name, value in attributes.items() if wanted is None or name in wanted},
        updated_at=_moment(attributes.get("updatedAt")),
        deleted=wanted is not None and kind is records.Kind.PROSPECT and bool(attributes.get(TRASHED)),
        relations=held,
    )


def _id(value: object) -> int:
    """Return a record's id, a positive integer or digits; else raise Unanswered, for a record may not be skipped."""
    number = base.whole(value)
    if number is None or number <= 0:
        raise base.Unanswered("a record of the answer has no usable id")
    return number


def _moment(value: object) -> datetime | None:
    """Return an ISO 8601 time as aware UTC, or None."""
    return waits.iso_date(value) if isinstance(value, str) else None


def _next(link: object) -> str | None:
    """Return the next link as text, from either form that JSON:API knows; None on the last page."""
    if isinstance(link, dict):
        link = link.get("href")
    return link if isinstance(link, str) and link else None


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an error document says, and the attribute it points at ("" when it names none)."""

    words: str
    field: str = ""


def complaint(reply: base.Reply) -> Complaint:
    """Return the vendor's own words of an error: JSON:API errors, the gateway's shape, or just the status.

    An error's ``id`` stands before its text. 415 writes ``details`` for ``detail`` (facts, section 2).
    """
    try:
        document = _ANYTHING.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = None
    found = document.get("errors") if isinstance(document, dict) else None
    if isinstance(found, dict):
        found = [found]
    if not isinstance(found, list) or not found:
        found = [document] if isinstance(document, dict) else []
    texts = list(dict.fromkeys(text for text in map(_text, found) if text))
    pointers = [name for name in map(_pointed_at, found) if name]
    words = "; ".join(texts) or f"answered {reply.status} without a word about why"
    return Complaint(reply.say(words), pointers[0] if pointers else "")


def _text(error: object) -> str:
    """Return one error's id and text."""
    if not isinstance(error, dict):
        return error if isinstance(error, str) else ""
    name = next((error[key] for key in ("id", "error", "code") if isinstance(error.get(key), str)), "")
    keys = ("detail", "details", "error_description", "description", "message", "title")
    detail = next((error[key] for key in keys if isinstance(error.get(key), str) and error[key]), "")
    return ": ".join(part for part in (name, detail) if part)


def _pointed_at(error: object) -> str:
    """Return the attribute that ``source.pointer`` names, such as ``emails`` for ``/data/attributes/emails/0``."""
    source = error.get("source") if isinstance(error, dict) else None
    pointer = source.get("pointer") if isinstance(source, dict) else None
    parts = pointer.split("/") if isinstance(pointer, str) else []
    return parts[3] if parts[:3] == ["", "data", "attributes"] and parts[3:] else ""


def filterable(addresses: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the plain addresses and those that the comma syntax cannot carry; blanks are left out."""
    both = (form for address in addresses if (text := address.strip()) for form in (text, text.lower()))
    given = list(dict.fromkeys(both))
    awkward = [address for address in given if "," in address or ".." in address or address.startswith("__")]
    return [address for address in given if address not in set(awkward)], awkward
