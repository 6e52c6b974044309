"""The model: what people did by hand on either side, and whether what stands there now follows from it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.model import stage as stages
from tests.model.ledger import LEFT, RIGHT, Ledger, Pair, Value
from tests.model.stage import COLUMN, ERROR, ID, LABEL, NO_EMAIL, TICK, Stage
from worker.core.records import Kind
from worker.sim.control import ControlApp

Fields = dict[str, Any]
Pairs = dict[Pair, dict[str, tuple[Value, Value]]]
PROSPECT, PERSON, TASK = Kind.PROSPECT.value, Kind.PERSON.value, Kind.TASK.value
ORDER = (
    ("active", "Active – Running"),
    ("paused", "Active – Paused"),
    ("pending", "Pending"),
    ("failed", "Failed"),
    ("bounced", "Bounced"),
    ("disabled", "Disabled"),
    ("finished", "Finished"),
)


@dataclass(slots=True)
class Model:
    """Both worlds as people left them.

    ``out`` are records opted out by hand since the last settling, ``sure`` those that are out for good; ``doubles`` the
    prospects of whom somebody brought a second person back; ``skipped`` tasks and how.
    """

    stage: Stage
    ledger: Ledger = field(default_factory=Ledger)
    out: set[tuple[str, int]] = field(default_factory=set)
    sure: set[tuple[str, int]] = field(default_factory=set)
    sure_addresses: set[str] = field(default_factory=set)
    doubles: set[int] = field(default_factory=set)
    skipped: dict[int, str] = field(default_factory=dict)
    tasks_seen: set[int] = field(default_factory=set)
    formers: dict[int, set[int]] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=lambda: {LEFT: 0, RIGHT: 0})

    # --- by hand

    def new_prospect(self, id: int, address: str, sequence: int | None) -> None:
        """Put somebody into Outreach."""
        attributes = {"firstName": f"First{id}", "lastName": f"Last{id}", "emails": [address]}
        self.stage.edit_outreach(op="create", type="prospect", id=id, attributes=attributes)
        for name in COLUMN:
            self.ledger.said[LEFT, id, name] = stages.held_by_outreach(attributes, name)
        if sequence is not None:
            self.stage.edit_outreach(op="enrol", prospect=id, sequence=sequence, state="active")

    def new_person(self, fields: Fields) -> int:
        """Put somebody into the CRM."""
        made = self.stage.person(**fields)
        for name in COLUMN:
            self.ledger.said[RIGHT, made, name] = stages.held_by_crm(fields, name)
        if stages.out_in_crm(fields):
            self.out.add((RIGHT, made))
        return made

    def edit(self, side: str, record: int, name: str, value: Value) -> None:
        """Write a field by hand; a list's first element, the others staying."""
        if side == RIGHT:
            self.stage.edit_crm(op="set", type="person", id=record, fields={COLUMN[name]: value})
        else:
            held = self.stage.prospects()[record]
            told: object = value
            if name in stages.LISTS:
                rest = list(held.get(stages.ATTRIBUTE[name]) or ())[1:]
                told = ([value] if value else []) + [one for one in rest if one != value]
            attributes = {stages.ATTRIBUTE[name]: told}
            self.stage.edit_outreach(op="set", type="prospect", id=record, attributes=attributes)
            value = stages.held_by_outreach(attributes, name)
        self.ledger.edit(side, record, name, stages.plain(name, value))

    def opt_out(self, side: str, record: int, how: str = "manual") -> None:
        """Opt somebody out of e-mail by hand."""
        if side == LEFT:
            self.stage.edit_outreach(op="opt_out", prospect=record, how=how)
        else:
            self.stage.edit_crm(op="set", type="person", id=record, fields={NO_EMAIL: True})
        self.out.add((side, record))

    def take_back(self, side: str, record: int) -> None:
        """Take an opt-out back by hand: that must not stick, unless nobody had noticed it."""
        if side == LEFT:
            self.stage.edit_outreach(op="opt_in", prospect=record, how="manual")
        else:
            self.stage.edit_crm(op="set", type="person", id=record, fields={NO_EMAIL: False})
        self.out.discard((side, record))

    def undelete(self, person: int) -> None:
        """Bring a deleted person back; the one that replaced it stays."""
        bears = self.stage.everybody()[person].get(ID)
        if bears:
            self.doubles.add(int(bears))
        self.stage.edit_crm(op="undelete", type="person", id=person)

    # --- looked at after every step

    def glance(self) -> None:
        """Look at what holds at any moment: nobody doubled, no opt-out taken back by us."""
        for pid, cid in self.stage.links().items():
            self.formers.setdefault(pid, set()).add(cid)
        self._doubled()
        for side, app in ((LEFT, self.stage.outreach), (RIGHT, self.stage.crm)):
            for effect in self._news(side, app):
                self._heed(side, effect)

    def _doubled(self) -> None:
        living = self.stage.living().items()
        for reference, several in _grouped((str(one.get(ID) or ""), number) for number, one in living).items():
            assert int(reference) in self.doubles, f"people {several} are all of prospect {reference}"
        told = self.stage.prospects().items()
        ours = ((str(one["externalId"]), pid) for pid, one in told if one.get("externalSource") == "workbooks")
        assert not (doubled := _grouped(ours)), f"created several times in Outreach: {doubled}"
        tasks = (
            (str(one.get("cf_task_outreach_id") or ""), one["id"])
            for one in self.stage.tasks()
            if not one["is_deleted"]
        )
        assert not (doubled := _grouped(tasks)), f"written several times: {doubled}"

    def _news(self, side: str, app: ControlApp) -> list[Fields]:
        """Return what our own writes did since we last looked."""
        entries = app.journal.entries(self.read[side])
        self.read[side] = entries[-1]["n"] if entries else self.read[side]
        return [effect for entry in entries for effect in entry["effect"]]

    def _heed(self, side: str, effect: Fields) -> None:
        changes = effect.get("changes") or {}
        for name in ("optedOut", "emailOptedOut", NO_EMAIL):
            before, after = changes.get(name, (None, None))
            assert not (before and not after), f"we took an opt-out back: {effect}"
        if effect["op"] == "create" and effect["type"] == "person":
            pid = int(changes[ID][1])
            if (LEFT, pid) in self.sure:
                assert changes[NO_EMAIL][1] is True, f"made without the opt-out: {effect}"

    # --- looked at when all is settled

    def settle(self) -> None:
        """Look at everything, and take what is there now as agreed."""
        stage, links = self.stage, self.stage.links()
        prospects, people, waiting = stage.prospects(), stage.living(), stage.waiting()
        assert len(set(links.values())) == len(links), f"a person has two prospects: {links}"
        pairs: Pairs = {}
        for pid, attributes in prospects.items():
            if (LEFT, pid) in self.out | self.sure:
                assert stages.out_in_outreach(attributes), f"prospect {pid} is not opted out any more"
            if (PROSPECT, pid) in waiting:
                continue
            if pid not in links:
                self._alone(pid, attributes, {n: one for n, one in people.items() if n not in links.values()})
                continue
            cid = links[pid]
            assert cid in people, f"prospect {pid} is linked to person {cid}, who is deleted, and nothing is to be done"
            self._linked(pid, cid, attributes, people[cid])
            values = {
                name: (stages.held_by_outreach(attributes, name), stages.held_by_crm(people[cid], name))
                for name in COLUMN
            }
            formers = self.formers.get(pid, set()) - {cid}
            for name, now in values.items():
                fault = self.ledger.fault_of((pid, cid), name, now, formers)
                assert fault is None, fault
            pairs[pid, cid] = values
        self._ticks(people, links, waiting)
        self._tasks(links, waiting)
        self._begin_anew(pairs, prospects, people)

    def _alone(self, pid: int, attributes: Fields, people: dict[int, Fields]) -> None:
        """Look at a prospect that is linked to nobody, and at the people who are not linked either."""
        addresses = stages.addresses_of(attributes)
        could_be = [
            n for n, one in people.items() if stages.addresses_of(one) & addresses or str(one.get(ID)) == str(pid)
        ]
        assert not could_be, f"prospect {pid} could be any of people {could_be}, and nothing says why it is not"
        in_sequence = any(state["prospect"] == pid for state in self.stage.states().values())
        assert not (addresses and in_sequence), f"prospect {pid} is in a sequence and has no person"

    def _linked(self, pid: int, cid: int, attributes: Fields, person: Fields) -> None:
        assert str(person.get(ID)) == str(pid), f"person {cid} does not bear the id of prospect {pid}: {person.get(ID)}"
        left, right = stages.out_in_outreach(attributes), stages.out_in_crm(person)
        known = {(LEFT, pid), (RIGHT, cid)} & (self.out | self.sure)
        known_address = (pid, cid) not in self.ledger.agreed and self.sure_addresses & (
            stages.addresses_of(attributes) | stages.addresses_of(person)
        )
        wanted = bool(left or right or known or known_address)
        assert (left, right) == (wanted, wanted), f"opted out: prospect {pid} {left}, person {cid} {right}, {known}"
        assert person.get(LABEL) == self.label(pid, out=wanted), f"{pid}: {person.get(LABEL)}"
        assert not person.get(ERROR), f"person {cid} is well but says {person.get(ERROR)}"

    def label(self, pid: int, *, out: bool) -> str:
        """Return the label of a prospect by the contract's rules."""
        latest: dict[int, Fields] = {}
        for state in self.stage.states().values():
            if state["prospect"] == pid:
                held = latest.get(state["sequence"])
                key = (state["stateChangedAt"] or "", state["id"]) if "id" in state else state["stateChangedAt"] or ""
                if held is None or key >= held["key"]:
                    latest[state["sequence"]] = {**state, "key": key}
        if out:
            return "Opted Out"
        sequences = self.stage.outreach.world.dump()["sequence"]
        words = set()
        for number, state in latest.items():
            enabled = sequences[str(number)]["attributes"]["enabled"]
            word = state["state"]
            if word not in {"finished", "bounced", "failed"} and not enabled:
                word = "disabled" if state.get("activeAt") else "pending"
            words.add(word)
        return next((label for word, label in ORDER if word in words), "Not Active")

    def _ticks(self, people: dict[int, Fields], links: dict[int, int], waiting: dict[tuple[str, int], str]) -> None:
        named = " ".join(waiting.values())
        ever = {cid for found in self.formers.values() for cid in found} | set(links.values())
        for cid, one in people.items():
            if one.get(TICK) in stages.TICKED and cid not in ever and (PERSON, cid) not in waiting:
                said = one.get(ERROR) or re.search(rf"\bperson {cid}\b", named)
                assert said, f"person {cid} is wanted in Outreach, and is neither there nor says why"

    def _tasks(self, links: dict[int, int], waiting: dict[tuple[str, int], str]) -> None:
        written: dict[int, list[Fields]] = {}
        for one in self.stage.tasks():
            if one.get("cf_task_outreach_id") and not one["is_deleted"]:
                written.setdefault(int(one["cf_task_outreach_id"]), []).append(one)
        assert set(written) <= set(self.skipped), f"tasks {set(written) - set(self.skipped)} were not skipped"
        for task, how in self.skipped.items():
            pid = int(how.partition(":")[2])
            if pid not in links or (TASK, task) in waiting or (PROSPECT, pid) in waiting:
                continue
            found = written.get(task, [])
            assert len(found) == 1, f"task {task} ({how}) is written {len(found)} times"
            contact = found[0].get("primary_contact_id")
            assert str(contact) == str(links[pid]), f"task {task} is of person {contact}, not of {links[pid]}"

    def _begin_anew(self, pairs: Pairs, prospects: dict[int, Fields], people: dict[int, Fields]) -> None:
        self.ledger.settled(pairs)
        shown = {(LEFT, pid) for pid, one in prospects.items() if stages.out_in_outreach(one)}
        shown |= {
            (RIGHT, cid) for cid in self.stage.links().values() if cid in people and stages.out_in_crm(people[cid])
        }
        self.sure |= shown
        self.out = {one for one in self.out if one not in self.sure}
        for side, number in shown:
            self.sure_addresses |= stages.addresses_of((prospects if side == LEFT else people)[number])
        self.tasks_seen = set(self.stage.outreach_tasks())


def _grouped(told: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    """Return which several records share a reference."""
    found: dict[str, list[int]] = {}
    for reference, number in told:
        found.setdefault(reference, []).append(number)
    return {reference: numbers for reference, numbers in found.items() if reference and len(numbers) > 1}
