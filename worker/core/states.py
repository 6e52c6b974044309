"""The nine labels: one prospect in one sequence → its label and the rule that decided; all of them → the person's.

The rules are those of the contract, section 5, and are numbered as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LATEST_CHANGE = "latest_change"
"""The roll-up in which no label goes before another."""

LONGEST_WORD = 60
"""Letters that are told of a state which nobody knows."""
_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


class Label(StrEnum):
    """What a state is called here; the mapping holds the CRM's word for each."""

    ACTIVE = "active"
    PAUSED = "paused"
    OPTED_OUT = "opted_out"
    FINISHED = "finished"
    PENDING = "pending"
    DISABLED = "disabled"
    FAILED = "failed"
    BOUNCED = "bounced"
    NOT_ACTIVE = "not_active"


@dataclass(frozen=True, slots=True)
class SequenceView:
    """What the rules need of a sequence. One that the token may not see is ``SequenceView.unseen``."""

    id: int
    name: str
    enabled: bool = True
    transactional: bool = False

    @classmethod
    def unseen(cls, sequence_id: int) -> SequenceView:
        """Return the stand-in for a sequence that may not be seen: enabled, not transactional."""
        return cls(sequence_id, f"Sequence {sequence_id}")


@dataclass(frozen=True, slots=True)
class StateView:
    """One prospect in one sequence. ``state`` is Outreach's own word; ``step`` the order of the current step.

    ``saved_at`` is when the vendor last saved it: no rule heeds that, freshness is measured from it.
    """

    id: int
    sequence: SequenceView
    state: str
    changed_at: datetime | None = None
    active_at: datetime | None = None
    step: int | None = None
    saved_at: datetime | None = None

    @property
    def recency(self) -> tuple[datetime, int]:
        """Order states by last change, then by id; one that tells no time is the oldest."""
        return (self.changed_at or _LONG_AGO, self.id)


@dataclass(frozen=True, slots=True)
class OptOut:
    """Whether a person is opted out of e-mail, since when, and by what evidence."""

    evidence: str | None = None
    at: datetime | None = None

    def __bool__(self) -> bool:
        """Tell whether there is any evidence."""
        return self.evidence is not None


@dataclass(frozen=True, slots=True)
class Judged:
    """The label of one state, None if its word is not mapped, and the rule that decided."""

    state: StateView
    label: Label | None
    rule: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What a person looks like over all sequences.

    ``label`` is None when a state's word is not mapped (``unmapped``) and the person is not opted out: nothing is
    guessed.
    ``lines`` holds each sequence's verdict, sorted by name regardless of case, then by id.
    """

    label: Label | None
    rule: str
    deciding: StateView | None
    at: datetime | None
    lines: tuple[Judged, ...]
    unmapped: str | None = None


def judge(state: StateView, words: Mapping[str, Label], *, opted_out: bool) -> Judged:
    """Return the label of one prospect in one sequence: the first rule that holds."""
    word = words.get(state.state)
    sequence = state.sequence
    if word is Label.OPTED_OUT:
        return Judged(state, Label.OPTED_OUT, "1: state is opted_out")
    if opted_out and not sequence.transactional:
        return Judged(state, Label.OPTED_OUT, "1: opted out of e-mail, sequence not transactional")
    if word in {Label.FINISHED, Label.BOUNCED, Label.FAILED}:
        return Judged(state, word, f"2: state is {state.state}")
    if word is Label.DISABLED:
        return Judged(state, Label.DISABLED, "3: state is disabled")
    if not sequence.enabled and state.active_at is not None:
        return Judged(state, Label.DISABLED, "3: sequence not enabled, was once active in it")
    if word is Label.PENDING:
        return Judged(state, Label.PENDING, "4: state is pending")
    if not sequence.enabled:
        return Judged(state, Label.PENDING, "4: sequence not enabled, never active in it")
    if word in {Label.PAUSED, Label.ACTIVE}:
        return Judged(state, word, f"5: state is {state.state}")
    return Judged(state, None, f"6: unmapped state '{quoted(state.state)}'")


def quoted(word: str) -> str:
    """Return a state that nobody knows as it may be told: on one line, printable and short."""
    told = " ".join("".join(c if c.isprintable() else " " for c in word).split())
    return told if len(told) <= LONGEST_WORD else f"{told[: LONGEST_WORD - 1]}…"


def latest_per_sequence(states: Iterable[StateView]) -> list[StateView]:
    """Return one state a sequence, the latest, sorted by the sequence's name regardless of case, then by its id."""
    latest = {state.sequence.id: state for state in sorted(states, key=lambda state: state.recency)}
    return sorted(latest.values(), key=lambda state: (state.sequence.name.casefold(), state.sequence.id))


def evidence_in(states: Iterable[StateView], words: Mapping[str, Label]) -> str | None:
    """Return what says in a state, however old, that the person opted out; an opt-out is never outlived."""
    for state in states:
        if words.get(state.state) is Label.OPTED_OUT:
            return f"sequence state {state.id} is {state.state}"
    return None


def roll_up(
    states: Iterable[StateView], words: Mapping[str, Label], order: Sequence[Label] | str, opt_out: OptOut
) -> Standing:
    """Return what the person looks like over all sequences. ``order`` is the mapping's, or ``latest_change``."""
    lines = tuple(judge(state, words, opted_out=bool(opt_out)) for state in latest_per_sequence(states))
    newest = max((line.state for line in lines), key=lambda state: state.recency, default=None)
    unmapped = next((quoted(line.state.state) for line in lines if line.label is None), None)
    if opt_out:
        at = opt_out.at or (newest.changed_at if newest else None)
        return Standing(Label.OPTED_OUT, f"opted out: {opt_out.evidence}", newest, at, lines, unmapped)
    if unmapped is not None:
        return Standing(None, f"6: unmapped state '{unmapped}'", None, None, lines, unmapped)
    # Nobody is opted out here: a state that still says so was lifted, and stands for nothing but itself.
    counting = [line for line in lines if line.label is not Label.OPTED_OUT]
    if not counting:
        return Standing(Label.NOT_ACTIVE, "in no sequence that counts", None, None, lines)
    deciding = _deciding(counting, order)
    rule = f"{deciding.rule}; roll-up: " + (
        "latest change" if order == LATEST_CHANGE else f"{deciding.label} comes first"
    )
    return Standing(deciding.label, rule, deciding.state, deciding.state.changed_at, lines)


def _deciding(lines: Sequence[Judged], order: Sequence[Label] | str) -> Judged:
    """Return the verdict that counts; ties go to the latest change, then to the highest id."""
    if isinstance(order, str):
        return max(lines, key=lambda line: line.state.recency)
    rank = {label: place for place, label in enumerate(order)}
    # A transactional sequence's label may be missing from a shortened order: it then counts last, and is never lost.
    return min(
        lines,
        key=lambda line: (
            rank.get(line.label or Label.NOT_ACTIVE, len(rank)),
            -line.state.recency[0].timestamp(),
            -line.state.id,
        ),
    )


def summary(lines: Iterable[Judged], labels: Mapping[Label, str]) -> str:
    """Return a line for each sequence: ``name: label (step n)``, or ``name: label`` without a step."""
    written = []
    for line in lines:
        word = labels[line.label] if line.label else quoted(line.state.state)
        step = f" (step {line.state.step})" if line.state.step is not None else ""
        name = " ".join(line.state.sequence.name.splitlines())  # a line break in a name would make two lines of one
        written.append(f"{name}: {word}{step}")
    return "\n".join(written)
