"""What ought to be: every edit by hand that nobody has seen settled yet, and what follows from it for both sides.

The ledger knows the policy of the default mapping (the CRM wins, blanks are filled at first sight) and nothing of how the
product works.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Value = str | None
Pair = tuple[int, int]
"""A prospect's id and its person's."""
LEFT, RIGHT = "outreach", "crm"


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit by hand. ``turn`` counts what the product has been let do until then; ``n`` orders them all."""

    n: int
    turn: int
    value: Value


@dataclass(slots=True)
class Ledger:
    """Edits by (side, id, field) since the last time that all was settled.

    ``agreed`` is what both halves of a pair then held, by (pair, field); ``said`` the last value that stood in a record by
    somebody's hand or was seen settled there.
    """

    turn: int = 0
    n: int = 0
    edits: dict[tuple[str, int, str], list[Edit]] = field(default_factory=dict)
    agreed: dict[Pair, dict[str, tuple[Value, Value]]] = field(default_factory=dict)
    said: dict[tuple[str, int, str], Value] = field(default_factory=dict)

    def edit(self, side: str, record: int, name: str, value: Value) -> None:
        """Note that somebody put this value there."""
        self.n += 1
        self.edits.setdefault((side, record, name), []).append(Edit(self.n, self.turn, value))
        self.said[side, record, name] = value

    def settled(self, pairs: dict[Pair, dict[str, tuple[Value, Value]]]) -> None:
        """Begin anew: this is what every pair holds now."""
        self.agreed, self.edits, self.turn = pairs, {}, 0
        for (left, right), values in pairs.items():
            for name, (outreach, crm) in values.items():
                self.said[LEFT, left, name], self.said[RIGHT, right, name] = outreach, crm

    def fault_of(self, pair: Pair, name: str, now: tuple[Value, Value], formers: set[int]) -> str | None:
        """Return what is wrong with a field of a linked pair, None if nothing is.

        ``formers`` are the people whom the prospect was linked to before.
        """
        if pair in self.agreed:
            wanted = self._wanted(pair, name)
        else:
            wanted = self._first_seen(pair, name, formers)
            # One that replaces another goes on where that one stood.
            for former in formers:
                if (pair[0], former) in self.agreed:
                    wanted |= self._wanted((pair[0], former), name)
                else:
                    wanted |= self._first_seen((pair[0], former), name, formers - {former})
        if now in wanted:
            return None
        told = [(side, [e.value for e in self._of(side, pair, name)]) for side in (LEFT, RIGHT)]
        before = self.agreed.get(pair, {}).get(name)
        return f"{name} of {pair} is {now}, not {sorted(wanted, key=str)}; before {before}, edits {told}"

    def _of(self, side: str, pair: Pair, name: str) -> list[Edit]:
        return self.edits.get((side, pair[0] if side == LEFT else pair[1], name), [])

    def _wanted(self, pair: Pair, name: str) -> set[tuple[Value, Value]]:
        """Return what the field may be on both sides, by the three-way rule."""
        left_then, right_then = then = self.agreed[pair][name]
        left, right = self._of(LEFT, pair, name), self._of(RIGHT, pair, name)
        left_now = left[-1].value if left else left_then
        right_now = right[-1].value if right else right_then
        turns = {one.turn for one in (*left, *right)}
        if left_now == right_now:
            once = (left_now, right_now)
        elif right_now != right_then:
            once = (right_now, right_now)
        elif left_now != left_then:
            once = (left_now, left_now)
        else:
            once = then
        if len(turns) <= 1:
            return {once}
        # Between two edits the product had a turn, and any of them may have been carried over by then.
        wanted = {once}
        if left:
            wanted.add((left_now, left_now))
        if right:
            wanted.add((right_now, right_now))
        if right and right_now != right_then and (not left or right[-1].n > left[-1].n):
            return {(right_now, right_now)}
        return wanted

    def _first_seen(self, pair: Pair, name: str, formers: set[int]) -> set[tuple[Value, Value]]:
        """Return what the field of a new pair may be: blanks filled, values that differ left alone."""
        left = self.said.get((LEFT, pair[0], name))
        right = self.said.get((RIGHT, pair[1], name))
        earlier = {self.said.get((RIGHT, one, name)) for one in formers}
        lefts = {left, *earlier}
        if right is None:
            wanted = {(one, one) for one in lefts}
        elif left is None:
            wanted = {(right, right), *((one, one) for one in earlier), *((one, right) for one in earlier if one)}
        else:
            wanted = {(one, one if one == right else right) for one in lefts if one}
        # They may have been linked for some turns by now, and whatever somebody then wrote on either side has travelled.
        turned = any(one.turn for side in (LEFT, RIGHT) for one in self._of(side, pair, name))
        if turned or formers:
            wanted |= {(one, one) for one in {left, right, *earlier}}
        return wanted
