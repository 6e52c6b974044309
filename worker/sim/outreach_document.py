"""Records as JSON:API documents: resource objects, relations, sparse fieldsets, ``include``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from worker.sim import outreach_schema as schema
from worker.sim.outreach_errors import invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.sim.outreach_store import Record, Store, Target

FIELDS = re.compile(r"^fields\[(\w+)\](?:\[\])?$")
NO_DATA = frozenset({"bccEntitiesId", "ccEntitiesId", "toEntitiesId", "prospectsIds"})
BLANK: dict[str, Any] = {"data": None}


class Writer:
    """Writes records as one request wants them.

    ``parameters`` are the request's; ``fields[type]`` names attributes and relations and drops everything else, unknown
    names are passed over. ``without_data`` leaves the ``data`` member out of every relation, as has been seen live.
    """

    def __init__(
        self, store: Store, base_url: str, parameters: Mapping[str, str], *, without_data: bool = False
    ) -> None:
        """Read what is wanted."""
        self._store, self._api, self._without_data = store, base_url + schema.API, without_data
        found = ((FIELDS.match(key), value) for key, value in parameters.items())
        self._fields = {match[1]: frozenset(value.split(",")) for match, value in found if match}
        self._attributes: dict[str, list[tuple[str, Any]]] = {}
        self._relations: dict[str, list[schema.Relation]] = {}
        self._meta = parameters.get("provideAuthorizationMeta") == "true"

    def resource(self, record: Record) -> dict[str, Any]:
        """Return one resource object."""
        if record.type not in self._attributes:
            self._plan(record.type)
        stored = record.attributes
        document = {
            "type": record.type,
            "id": record.id,
            "attributes": {
                name: stored[name] if stored.get(name) is not None else default
                for name, default in self._attributes[record.type]
            },
            "relationships": {
                relation.name: self._related(record, relation) for relation in self._relations[record.type]
            },
            "links": {"self": f"{self._api}/{schema.PLURALS[record.type]}/{record.id}"},
        }
        if self._meta:
            document["meta"] = {"canWrite": True, "canDelete": True}
        return document

    def included(self, records: Iterable[Record], paths: str) -> list[dict[str, Any]]:
        """Return the resources that ``include`` (comma separated, nested with dots) adds to ``records``, each once."""
        primary = list(records)
        seen = {(record.type, record.id) for record in primary}
        found: dict[Target, Record] = {}
        for path in filter(None, (path.strip() for path in paths.split(","))):
            level = primary
            for name in path.split("."):
                level = self._step(level, name)
                found.update({(record.type, record.id): record for record in level})
        shown = {target: one for target, one in found.items() if target[1] not in self._store[target[0]].hidden}
        return [self.resource(record) for target, record in shown.items() if target not in seen]

    def check(self, type_: str, paths: str) -> None:
        """Raise Refusal if ``include`` names what is no relation."""
        for path in filter(None, (path.strip() for path in paths.split(","))):
            at: tuple[str, ...] = (type_,)
            for name in path.split("."):
                known = [schema.resource(one).relations.get(name) for one in at if one in schema.PLURALS]
                relations = [relation for relation in known if relation is not None and relation.many is not None]
                if not relations:
                    raise invalid(f"Include '{path}' is not supported.")
                at = relations[0].types

    def _step(self, records: Iterable[Record], name: str) -> list[Record]:
        found = {}
        for record in records:
            if name in schema.resource(record.type).relations:
                found.update({(other.type, other.id): other for other in self._store.seen_from(record, name)})
        return list(found.values())

    def _plan(self, type_: str) -> None:
        wanted = self._fields.get(type_)
        known = schema.resource(type_)
        self._attributes[type_] = [
            item for item in schema.defaults(type_).items() if wanted is None or item[0] in wanted
        ]
        self._relations[type_] = [
            relation for name, relation in known.relations.items() if wanted is None or name in wanted
        ]

    def _related(self, record: Record, relation: schema.Relation) -> dict[str, Any]:
        if relation.many is False and (record.type, relation.name) not in schema.REVERSE:
            target = record.relations.get(relation.name)
            if self._without_data:
                return {}
            return BLANK if target is None else {"data": {"type": target[0], "id": target[1]}}
        if relation.many is None:
            return {"links": {"related": self._link(record, relation)}}
        others = self._store.seen_from(record, relation.name)
        shown = (other for other in others if other.id not in self._store[other.type].hidden)
        identities = [{"type": other.type, "id": other.id} for other in shown]
        if relation.many is False:
            return {} if self._without_data else {"data": identities[0] if identities else None}
        related: dict[str, Any] = {} if self._without_data else {"data": identities}
        related["links"] = {"related": self._link(record, relation)}
        related["meta"] = {"count": len(identities)}
        return related

    def _link(self, record: Record, relation: schema.Relation) -> str:
        guessed = (relation.types[0] if relation.types else "", record.type)
        type_, back = schema.REVERSE.get((record.type, relation.name), guessed)
        plural = schema.PLURALS.get(type_, relation.name)
        return f"{self._api}/{plural}?filter{quote(f'[{back}][id]')}={record.id}"
