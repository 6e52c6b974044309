"""The mapping as values: which field agrees with which, who wins, what the labels are called. YAML is next door."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from worker.core import states
from worker.core.states import Label
from worker.core.transforms import Compare, split_path

if TYPE_CHECKING:
    from collections.abc import Mapping as Dict
    from collections.abc import Sequence
    from datetime import date
    from zoneinfo import ZoneInfo


class Direction(StrEnum):
    """Which way a field's edits travel."""

    BOTH = "both"
    TO_CRM = "to_crm"
    TO_OUTREACH = "to_outreach"


class Winner(StrEnum):
    """Whose value stands when both sides changed the same field."""

    CRM = "crm"
    OUTREACH = "outreach"
    NEWEST = "newest"
    ASK = "ask"


class CreatePeople(StrEnum):
    """Which prospects without a person get one."""

    IN_SEQUENCE = "in_sequence"
    ALL = "all"
    NEVER = "never"


class OnCrmDelete(StrEnum):
    """What a person's deletion in the CRM leads to."""

    RECREATE = "recreate"
    UNLINK = "unlink"
    ASK = "ask"


class OnOutreachDelete(StrEnum):
    """What a prospect's deletion in Outreach leads to."""

    UNLINK = "unlink"
    ASK = "ask"


class FirstSight(StrEnum):
    """What happens to differing values when a pair is seen for the first time."""

    FILL_BLANKS = "fill_blanks"
    ON_CONFLICT = "on_conflict"


class Computed(StrEnum):
    """A value that Outbook works out, rather than copies."""

    PROSPECT_ID = "prospect_id"
    SEQUENCE_STATE = "sequence_state"
    SEQUENCE_STATE_UPDATED_AT = "sequence_state_updated_at"
    SEQUENCE_NAME = "sequence_name"
    SEQUENCE_STEP = "sequence_step"
    SEQUENCES = "sequences"
    OPTED_OUT = "opted_out"
    SYNC_REQUEST = "sync_request"
    ERROR = "error"


STANDING = (
    Computed.SEQUENCE_STATE,
    Computed.SEQUENCE_STATE_UPDATED_AT,
    Computed.SEQUENCE_NAME,
    Computed.SEQUENCE_STEP,
    Computed.SEQUENCES,
)
"""The five values that stay as they are while a state's word is not mapped."""


class SkipSignal(StrEnum):
    """A sign that an Outreach task was skipped. Outreach knows no skipped state (facts, outreach-api 6.5)."""

    STATE_IS_SKIPPED = "state_is_skipped"
    AUTOSKIPPED = "autoskipped_without_completer"
    GONE = "gone_while_the_step_moved_on"


@dataclass(frozen=True, slots=True)
class Field:
    """One line of the mapping: a CRM field and the Outreach path, or the computed value, that it agrees with."""

    crm: str
    direction: Direction
    compare: Compare
    outreach: str | None = None
    computed: Computed | None = None
    on_conflict: Winner = Winner.CRM

    @property
    def attribute(self) -> str | None:
        """The Outreach attribute behind the path: ``emails`` of ``emails[0]``."""
        return split_path(self.outreach)[0] if self.outreach else None


@dataclass(frozen=True, slots=True)
class Share:
    """A brake's limit: a share of all linked people, and the number below which it never trips."""

    percent: float
    at_least: int

    def allows(self, count: int, whole: int) -> bool:
        """Tell whether ``count`` of ``whole`` may go through."""
        return count <= self.at_least or count * 100 <= self.percent * whole


@dataclass(frozen=True, slots=True)
class Brakes:
    """How much of one kind may happen within 24 hours before somebody is asked; None is no brake."""

    deleted_people: Share | None
    emptied_values: Share | None
    new_prospects: int | None
    new_people: int | None


@dataclass(frozen=True, slots=True)
class TaskBack:
    """Which statuses of a CRM task complete its Outreach task, and which let the sequence go on without it."""

    completed: frozenset[str]
    cancelled: frozenset[str]


@dataclass(frozen=True, slots=True)
class TaskRule:
    """How a skipped Outreach task is shown in the CRM; ``back`` is None while nothing travels the other way."""

    status: str
    name: str
    reference: str
    since: date | None
    skipped_when: frozenset[SkipSignal]
    back: TaskBack | None = None


class Verb(StrEnum):
    """What people in the CRM may ask for about a sequence."""

    ADD = "add"
    PAUSE = "pause"
    RESUME = "resume"
    FINISH = "finish"
    REMOVE = "remove"


OWNER = "owner"
"""Stands for the mailbox of the prospect's owner."""


@dataclass(frozen=True, slots=True)
class SequenceActions:
    """The person's fields in which people ask for a sequence action and are answered.

    ``mailbox`` is what a new state sends from: an address, OWNER, or None to leave it to Outreach. ``words`` are the
    picklist's.
    """

    action: str
    sequence: str
    outcome: str
    mailbox: str | None
    words: Dict[Verb, str]

    @property
    def columns(self) -> tuple[str, str, str]:
        """The three fields."""
        return (self.action, self.sequence, self.outcome)


@dataclass(frozen=True, slots=True)
class Mapping:
    """The whole mapping. ``version`` is the hash of its meaning, not of its text: comments and order do not count.

    ``new_owner`` is the address of the Outreach user who owns a new prospect when the CRM user is none of theirs;
    ``actions`` is None while nobody in the CRM may ask for sequence actions; ``text`` is the file, word for word.
    """

    version: str
    timezone: ZoneInfo
    create_people: CreatePeople
    on_crm_delete: OnCrmDelete
    on_outreach_delete: OnOutreachDelete
    first_sight: FirstSight
    brakes: Brakes
    new_owner: str | None
    fields: tuple[Field, ...]
    labels: Dict[Label, str]
    words: Dict[str, Label]
    roll_up: Sequence[Label] | str
    task: TaskRule
    by_crm: Dict[str, Field] = field(default_factory=dict)
    actions: SequenceActions | None = None
    text: str = field(default="", repr=False, compare=False)

    def field_of(self, computed: Computed) -> Field | None:
        """Return the line that holds a computed value, None if the mapping leaves it out."""
        return next((line for line in self.fields if line.computed is computed), None)

    @property
    def reference(self) -> str:
        """The person's field that holds the prospect's id: the link that survives."""
        line = self.field_of(Computed.PROSPECT_ID)
        if line is None:  # pragma: no cover - a mapping without it is not read
            raise LookupError(Computed.PROSPECT_ID)
        return line.crm

    @property
    def copied(self) -> tuple[Field, ...]:
        """The lines that copy an Outreach attribute."""
        return tuple(line for line in self.fields if line.outreach)

    def prospect_attributes(self) -> tuple[str, ...]:
        """Return every attribute of a prospect that a decision may need, sorted."""
        mapped = {line.attribute for line in self.copied if line.attribute}
        return tuple(sorted(mapped | {"emails", *OPT_OUT_ATTRIBUTES, "updatedAt"}))

    def person_columns(self) -> tuple[str, ...]:
        """Return every column of a person that a decision may need, sorted, without those every record has."""
        asked = self.actions.columns if self.actions else ()
        return tuple(sorted({line.crm for line in self.fields} | set(PERSON_ADDRESSES) | set(asked)))

    def compare_of(self, crm_field: str) -> Compare:
        """Return how values of a CRM field are compared."""
        line = self.by_crm.get(crm_field)
        if line is not None:
            return line.compare
        return Compare.EMAIL if crm_field in PERSON_ADDRESSES else Compare.TEXT


OPT_OUT_ATTRIBUTES = ("emailOptedOut", "emailsOptStatus", "emailsOptedAt", "optedOut", "optedOutAt")
PERSON_ADDRESSES = ("main_location[email]", "main_location[alternate_email]")
"""E-mail is matched against the main and the alternate address (facts, workbooks-api 8)."""

ROLLED_UP = (
    Label.ACTIVE,
    Label.PAUSED,
    Label.PENDING,
    Label.FAILED,
    Label.BOUNCED,
    Label.DISABLED,
    Label.FINISHED,
)
LATEST_CHANGE = states.LATEST_CHANGE
