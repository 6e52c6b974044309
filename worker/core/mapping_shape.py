"""The shape of the mapping's file: its sections, their keys, and what each may hold."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, get_args

import pydantic

from worker.core import mapping
from worker.core.mapping import Computed, Direction, Verb, Winner
from worker.core.states import Label
from worker.core.transforms import Compare


class Section(pydantic.BaseModel):
    """Indented lines of ``key: value``, with no keys but these."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=False)


Portion = Annotated[str, pydantic.Field(pattern=r"^(none|\d+(\.\d+)?%)$")]
Number = Literal["none"] | Annotated[int, pydantic.Field(ge=0)]
Text = Annotated[str, pydantic.Field(min_length=1, pattern=r"\S")]
Statuses = Annotated[list[Text], pydantic.Field(min_length=1)]


class NewProspects(Section):
    """How a prospect is made for a person whom somebody in Workbooks wants in Outreach."""

    owner: Annotated[str, pydantic.Field(pattern=r"^(none|[^@\s]+@[^@\s]+)$")] = pydantic.Field(
        "none", description="The address of the Outreach user who owns it when the person's owner is none of theirs"
    )


class FieldLine(Section):
    """One field: where its value comes from, and which way edits travel."""

    outreach: str | None = pydantic.Field(None, description="Outreach's name of the value, such as title or emails[0]")
    outbook: Computed | None = pydantic.Field(None, description="A value that Outbook works out")
    direction: Direction = pydantic.Field(description="both, to_crm or to_outreach")
    on_conflict: Winner | None = pydantic.Field(None, description="Who wins here; without it, the file's on_conflict")
    compare: Compare | None = pydantic.Field(None, description="When two values count as the same")


class Brakes(Section):
    """How much of one kind may happen within 24 hours before somebody is asked."""

    deleted_people: Portion = pydantic.Field("2%", description="Linked people deleted or unreadable in Workbooks")
    emptied_values: Portion = pydantic.Field("2%", description="Linked people of whom the same field is emptied")
    new_prospects: Number = pydantic.Field(500, description="Prospects created because of a tick in Workbooks")
    new_people: Number = pydantic.Field(500, description="People created, once the first pass is through")


class TaskSection(Section):
    """How a skipped Outreach task is shown in Workbooks, and whether what is done there is done in Outreach."""

    status: Annotated[str, pydantic.Field(min_length=1)] = "Cancelled"
    name: Annotated[str, pydantic.Field(min_length=1)] = "Skipped {action}: {sequence}, step {step}"
    reference: Annotated[str, pydantic.Field(min_length=1)] = "cf_task_outreach_id"
    since: date | None = None
    skipped_when: list[mapping.SkipSignal] = list(mapping.SkipSignal)
    back_to_outreach: bool = pydantic.Field(False, description="Completing or cancelling it in Workbooks counts there")  # noqa: FBT003 - pydantic's way
    completed_labels: Statuses = pydantic.Field(
        ["Complete", "Completed"], description="Statuses in Workbooks that mean: complete it in Outreach"
    )
    cancelled_labels: Statuses = pydantic.Field(
        ["Cancelled"], description="Statuses in Workbooks that mean: let the sequence go on without it"
    )


class Words(Section):
    """What each sequence action is called in the picklist of Workbooks."""

    add: Text = "Add to sequence"
    pause: Text = "Pause"
    resume: Text = "Resume"
    finish: Text = "Finish"
    remove: Text = "Remove"

    def by_verb(self) -> dict[Verb, str]:
        """Return the word of each action."""
        return {verb: getattr(self, verb.value) for verb in Verb}


class SequenceActions(Section):
    """Sequence actions that people in Workbooks ask for."""

    enabled: bool = pydantic.Field(False, description="true = Outbook carries them out")  # noqa: FBT003 - pydantic's way
    action: Text = pydantic.Field("cf_person_outreach_action", description="The field in which people pick the action")
    sequence: Text = pydantic.Field("cf_person_outreach_sequence", description="The sequence's name or number")
    outcome: Text = pydantic.Field("cf_person_outreach_outcome", description="What became of it, in words")
    mailbox: Annotated[str, pydantic.Field(pattern=r"^(none|owner|[^@\s]+@[^@\s]+)$")] = pydantic.Field(
        "none", description="The mailbox that a new enrolment sends from: its address, owner, or none"
    )
    words: Words = Words()


RolledUp = Literal["active", "paused", "pending", "failed", "bounced", "disabled", "finished"]
DEFAULT_WORDS: dict[str, Label] = {label.value: label for label in Label if label is not Label.NOT_ACTIVE}


class Document(Section):
    """How Outreach and Workbooks agree."""

    version: Literal[1] = pydantic.Field(description="The layout of this file")
    timezone: str = pydantic.Field("UTC", description="Used for dates without a time")
    create_people: mapping.CreatePeople = mapping.CreatePeople.IN_SEQUENCE
    on_crm_delete: mapping.OnCrmDelete = mapping.OnCrmDelete.RECREATE
    on_outreach_delete: mapping.OnOutreachDelete = mapping.OnOutreachDelete.UNLINK
    on_conflict: Winner = Winner.CRM
    first_sight: mapping.FirstSight = mapping.FirstSight.FILL_BLANKS
    brakes: Brakes = Brakes()
    fields: dict[str, FieldLine] = pydantic.Field(min_length=1)
    labels: dict[Label, Annotated[str, pydantic.Field(min_length=1)]]
    states: dict[str, Label] = DEFAULT_WORDS
    roll_up: Literal["latest_change"] | list[RolledUp] = pydantic.Field(
        default_factory=lambda: list(get_args(RolledUp))
    )
    new_prospects: NewProspects = NewProspects()
    sequence_actions: SequenceActions = SequenceActions()
    task: TaskSection = TaskSection()
