"""The simulated Outreach organisation: its records, and the one way in which they are created, changed and deleted.

Every change leaves an effect for the journal and, where the vendor keeps one, an ``event`` record.
"""

from __future__ import annotations

import threading
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from worker.sim import outreach_schema as schema
from worker.sim.outreach_auth import Gate
from worker.sim.outreach_courier import Courier
from worker.sim.outreach_lag import Lag
from worker.sim.outreach_letter import identifier
from worker.sim.outreach_store import Record, Store, stamp, texts
from worker.sim.outreach_webhooks import News, nothing, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.sim.control import Clock, Journal
    from worker.sim.instruments import Json
    from worker.sim.outreach_options import Options
    from worker.sim.outreach_store import Target

EVENT_NAMES = {"sequenceState": "sequence_state", "prospect": "prospect", "task": "task"}
EVENT_RELATIONS = ("prospect", "sequence", "sequenceStep", "task", "account", "user")
CASCADES = {
    "prospect": (("sequenceState", "prospect"), ("task", "prospect"), ("emailAddress", "prospect")),
    "sequenceState": (("task", "sequenceState"),),
    "sequence": (("sequenceState", "sequence"), ("sequenceStep", "sequence")),
    "sequenceStep": (),
}
OPT_OUTS = ("optedOut", "emailOptedOut", "callOptedOut")
ME = ("user", 1)
"""The user whose token is used."""


class World:
    """All records, the clock they are stamped by, and the lock under which they are read and changed."""

    def __init__(
        self,
        *,
        clock: Clock,
        options: Options,
        seed: str,
        records: int,
        fill: Callable[[World, str, int], None],
        tell: Callable[[World, Mapping[str, Any]], list[Record]],
        journal: Journal,
    ) -> None:
        """Start with what ``fill`` puts in; ``tell`` carries out an edit and returns what it changed."""
        self.lock = threading.RLock()
        self.clock, self.options, self._options = clock, options, options
        self._seed, self._records, self._fill, self._tell = seed, records, fill, tell
        self.store, self.gate, self.lag = Store(), Gate(options, clock), Lag()
        self.effect: list[dict[str, Any]] = []
        self.courier = Courier(self, journal)
        self.reset(seed=None, records=None)

    def reset(self, *, seed: str | None, records: int | None) -> None:
        """Start anew, tokens and counted calls too."""
        with self.lock:
            self._seed = self._seed if seed is None else seed
            self._records = self._records if records is None else records
            self.store, self.effect, self.lag, self.options = Store(), [], Lag(), self._options
            self.gate = Gate(self.options, self.clock)
            self.courier.reset()
            self._fill(self, self._seed, self._records)

    @property
    def seed(self) -> str:
        """Return the seed's name."""
        return self._seed

    @property
    def organisation(self) -> str:
        """Return the id of the organisation, which follows from the seed where none was chosen."""
        return self.options.organisation or f"org-{self._seed}"

    def choose(self, name: str, value: Json) -> None:
        """Change one of the options until the next reset. Raises ValueError if there is no such option."""
        if name not in {one.name for one in fields(self.options)}:
            raise ValueError(f"no option {name!r}")
        if isinstance(getattr(self.options, name), frozenset) or (name == "scopes" and value is not None):
            value = frozenset(value)
        self.options = replace(self.options, **{name: value})
        self.gate.options = self.options

    def now(self) -> str:
        """Return the clock's time as a stamp."""
        return stamp(self.clock.now())

    def taken_effect(self) -> list[dict[str, Any]]:
        """Return what changed since the last call, and start a new list."""
        taken, self.effect = self.effect, []
        return taken

    def create(
        self, type_: str, attributes: Mapping[str, Any], relations: Mapping[str, Target | None], **more: int
    ) -> Record:
        """Add a record, stamped now; ``id=`` wants a certain one."""
        table, now = self.store[type_], self.now()
        record = Record(type_, more.get("id") or table.new_id(), {}, dict(relations))
        stamps: dict[str, Any] = {
            name: now for name in ("createdAt", "updatedAt") if name in schema.resource(type_).attributes
        }
        record.attributes = {**stamps, **self._derived(record, attributes), **attributes}
        table.put(record)
        self.lag.note(record, self.clock.now(), created=True)
        changes = {name: [None, value] for name, value in {**attributes, **_plain(relations)}.items()}
        self.effect.append({"op": "create", "type": type_, "id": record.id, "changes": changes})
        if type_ == "prospect":
            self._keep_addresses(record)
        self.courier.hear(whole(record, "created"))
        if type_ in EVENT_NAMES:
            self.event(f"{EVENT_NAMES[type_]}_created", record)
        return record

    def update(
        self,
        record: Record,
        attributes: Mapping[str, Any],
        relations: Mapping[str, Target | None] | None = None,
        *,
        touch: bool = True,
        event: str | None = None,
    ) -> None:
        """Change a record; ``touch`` moves its ``updatedAt``. ``event`` names the event instead of ``…_updated``."""
        self.lag.note(record, self.clock.now())
        related = relations or {}
        wanted = {**attributes, **self._derived(record, attributes)}
        former = {name: record.get(name) for name in wanted}
        pointed = {name: record.relations.get(name) for name in related}
        before, after = former | _plain(pointed), {**wanted, **_plain(related)}
        changes = {name: [before[name], value] for name, value in after.items() if before[name] != value}
        if touch and "updatedAt" not in wanted:
            wanted["updatedAt"], former["updatedAt"] = self.now(), record.get("updatedAt")
        self.store[record.type].change(record, wanted, related)
        self.effect.append({"op": "update", "type": record.type, "id": record.id, "changes": changes})
        if record.type == "prospect" and "emails" in changes:
            self._keep_addresses(record)
        self._herald(record, changes, former, pointed, event)
        if record.type in EVENT_NAMES:
            self.event(event or f"{EVENT_NAMES[record.type]}_updated", record)

    def _herald(
        self,
        record: Record,
        changes: Mapping[str, Any],
        former: Mapping[str, Any],
        pointed: Mapping[str, Target | None],
        event: str | None,
    ) -> None:
        """Tell the webhooks what an update changed, ``updatedAt`` with it."""
        told = {name: record.get(name) for name in former if name in changes or name == "updatedAt"}
        related = {name: record.relations.get(name) for name in pointed if name in changes}
        before = {name: former[name] for name in told}
        news = News(record.type, record.id, "updated", told, related, before, {n: pointed[n] for n in related})
        self.courier.hear(news, event.rpartition("_")[2] if event else None)

    def delete(self, record: Record) -> None:
        """Take a record out with what hangs on it."""
        for type_, relation in CASCADES.get(record.type, ()):
            for id_ in sorted(self.store[type_].pointing(relation, record.id)):
                hanging = self.store[type_].rows.get(id_)
                if hanging is not None:
                    self.delete(hanging)
        self._destroyed(record)
        self.lag.note(record, self.clock.now())
        self.store[record.type].remove(record)
        self.effect.append({"op": "delete", "type": record.type, "id": record.id, "changes": {}})
        if record.type in EVENT_NAMES:
            self.event(f"{EVENT_NAMES[record.type]}_destroyed", record)

    def _destroyed(self, record: Record) -> None:
        if self.courier.settings.empty_updates:
            self.courier.hear(nothing(record))
        self.courier.hear(whole(record, "destroyed"))

    def event(self, name: str, about: Record) -> Record:
        """Record that something happened to ``about``."""
        now = self.now()
        links = {relation: about.relations.get(relation) for relation in EVENT_RELATIONS}
        if about.type in EVENT_RELATIONS:
            links[about.type] = (about.type, about.id)
        table = self.store["event"]
        record = Record("event", table.new_id(), {"name": name, "createdAt": now, "eventAt": now}, links)
        table.put(record)
        self.lag.note(record, self.clock.now(), created=True)
        return record

    def tick(self) -> None:
        """Let pending states become active whose time has come, if the options want that."""
        self.courier.tick()
        wait_s = self.options.activate_after_s
        if wait_s is None:
            return
        pending = [row for row in self.store["sequenceState"].rows.values() if row.get("state") == "pending"]
        due = stamp(self.clock.now().fromtimestamp(self.clock.now().timestamp() - wait_s, self.clock.now().tzinfo))
        for state in pending:
            sequence = self.store.find(state.relations.get("sequence"))
            if state.get("createdAt") <= due and sequence is not None and sequence.get("enabled"):
                now = self.now()
                self.update(state, {"state": "active", "activeAt": now, "stateChangedAt": now})

    def edit(self, document: Json) -> Json:
        """Do one edit or a list of them; see :mod:`worker.sim.outreach_story`."""
        with self.lock:
            self.taken_effect()
            self.lag.seconds = self.options.index_lag
            edits = document if isinstance(document, list) else [document]
            changed = [record for one in edits for record in self._tell(self, one)]
            told = {(record.type, record.id): record for record in changed}
            return {"changed": [plain(record) for record in told.values()], "effect": self.taken_effect()}

    def dump(self) -> Json:
        """Return every record, by type and id."""
        with self.lock:
            return {
                type_: {str(row.id): plain(row) for row in table.rows.values()}
                for type_, table in self.store.tables.items()
                if table.rows
            }

    def _derived(self, record: Record, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that follow from written ones."""
        if record.type == "webhook" and not record.attributes:
            return {"cleanupToken": identifier(self.seed, "cleanup", record.id)}
        names = ("firstName", "lastName")
        if record.type not in {"prospect", "user"} or not any(name in attributes for name in names):
            return {}
        parts = [attributes[name] if name in attributes else record.get(name) for name in names]
        return {"name": " ".join(part for part in parts if part) or None}

    def _keep_addresses(self, prospect: Record) -> None:
        """Make the prospect's emailAddress records follow its ``emails``."""
        table, now = self.store["emailAddress"], self.now()
        kept = {}
        for id_ in sorted(table.pointing("prospect", prospect.id)):
            row = table.rows[id_]
            if row.get("email").lower() in texts(prospect.get("emails")):
                kept[row.get("email").lower()] = row
            else:
                self._destroyed(row)
                table.remove(row)
        for order, email in enumerate(prospect.get("emails") or ()):
            if email.lower() in kept:
                self._reorder(kept[email.lower()], order)
                continue
            told = {"email": email, "order": order, "emailType": "work", "createdAt": now, "updatedAt": now}
            address = Record("emailAddress", table.new_id(), told, {"prospect": ("prospect", prospect.id)})
            table.put(address)
            self.courier.hear(whole(address, "created"))

    def _reorder(self, address: Record, order: int) -> None:
        before = {"order": address.get("order")}
        self.store["emailAddress"].change(address, {"order": order}, {})
        if before["order"] != order:
            self.courier.hear(News("emailAddress", address.id, "updated", {"order": order}, {}, before, {}))


def _plain(relations: Mapping[str, Target | None]) -> dict[str, Any]:
    return {name: target[1] if target is not None else None for name, target in relations.items()}


def plain(record: Record) -> dict[str, Any]:
    """Return a record as the controls show it: stored attributes, relations as ids."""
    relations = _plain(record.relations)
    return {"type": record.type, "id": record.id, "attributes": dict(record.attributes), "relations": relations}
