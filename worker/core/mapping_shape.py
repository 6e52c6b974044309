"""The shape of the mapping's file: its sections, their keys, and what each may hold."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, get_args

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

    status: Annotated[str, pydantic.Field(min_length=1)] = pydantic.Field(
        "Cancelled", description="The status it gets, letter for letter as in Workbooks' picklist"
    )
    name: Annotated[str, pydantic.Field(min_length=1)] = pydantic.Field(
        "Skipped {action}: {sequence}, step {step}",
        description="Its name; {action}, {sequence} and {step} are filled in",
    )
    reference: Annotated[str, pydantic.Field(min_length=1)] = pydantic.Field(
        "cf_task_outreach_id", description="The field of a Workbooks task that holds the Outreach task's number"
    )
    since: date | None = pydantic.Field(None, description="Only tasks skipped on or after this day")
    skipped_when: list[mapping.SkipSignal] = pydantic.Field(
        list(mapping.SkipSignal), description="The signs that count as skipped; take out what is wrong for you"
    )
    back_to_outreach: bool = pydantic.Field(False, description="Completing or cancelling it in Workbooks counts there")  # noqa: FBT003 - pydantic's way
    completed_labels: Statuses = pydantic.Field(
        ["Complete", "Completed"], description="Statuses in Workbooks that mean: complete it in Outreach"
    )
    cancelled_labels: Statuses = pydantic.Field(
        ["Cancelled"], description="Statuses in Workbooks that mean: let the sequence go on without it"
    )


class Words(Section):
    """What each sequence action is called in the picklist of Workbooks."""

    add: Text = pydantic.Field("Add to sequence", description="Puts the person into the sequence")
    pause: Text = pydantic.Field("Pause", description="Stops the sequence for the person until it is resumed")
    resume: Text = pydantic.Field("Resume", description="Lets a paused sequence go on")
    finish: Text = pydantic.Field("Finish", description="Ends the sequence for the person and keeps its history")
    remove: Text = pydantic.Field("Remove", description="Takes the person out, as if never in it")

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
    words: Words = pydantic.Field(Words(), description="Left ours, right the entry of the picklist in Workbooks")


NO_PERSON = "no person"


class TestState(Section):
    """One sequence that the prospect of a test is or was in."""

    __test__ = False

    sequence: Text = pydantic.Field(description="The sequence's name")
    state: Text = pydantic.Field(description="The word Outreach uses, such as active, paused or finished")
    step: int | None = pydantic.Field(None, description="The number of the current step")
    changed: str | None = pydantic.Field(None, description="When the state was reached: 2026-03-02 10:15")
    was_active: bool = pydantic.Field(True, description="false = the prospect was never active in it")  # noqa: FBT003 - pydantic's way
    enabled: bool = pydantic.Field(True, description="false = the sequence is switched off")  # noqa: FBT003 - pydantic's way
    transactional: bool = pydantic.Field(False, description="true = it may be sent to people who opted out")  # noqa: FBT003 - pydantic's way


class Example(Section):
    """One test: given this prospect and these states, Workbooks is expected to show these fields."""

    name: Text = pydantic.Field(description="What is tested, in a sentence")
    prospect: dict[str, Any] = pydantic.Field(
        default_factory=dict, description="What Outreach holds, by Outreach's names; what is left out is blank"
    )
    states: list[TestState] = pydantic.Field(
        default_factory=list, description="The sequences that the prospect is or was in"
    )
    person: dict[str, Any] | None = pydantic.Field(
        None, description="What stands in Workbooks, by its field names; leave it out if there is no person yet"
    )
    expect: Any = pydantic.Field(
        description="The fields that Workbooks has to show afterwards, or: no person",
        json_schema_extra={
            "anyOf": [{"type": "object", "minProperties": 1}, {"const": NO_PERSON}],
        },
    )
    expect_in_outreach: dict[str, Any] = pydantic.Field(
        default_factory=dict, description="What Outreach has to hold afterwards, by Outreach's names"
    )


RolledUp = Literal["active", "paused", "pending", "failed", "bounced", "disabled", "finished"]
DEFAULT_WORDS: dict[str, Label] = {label.value: label for label in Label if label is not Label.NOT_ACTIVE}


class Document(Section):
    """How Outreach and Workbooks agree."""

    version: Literal[1] = pydantic.Field(description="The layout of this file")
    timezone: str = pydantic.Field("UTC", description="Used for dates without a time")
    create_people: mapping.CreatePeople = pydantic.Field(
        mapping.CreatePeople.IN_SEQUENCE, description="Which prospects without a person in Workbooks get one"
    )
    on_crm_delete: mapping.OnCrmDelete = pydantic.Field(
        mapping.OnCrmDelete.RECREATE, description="A person was deleted in Workbooks: recreate, unlink or ask"
    )
    on_outreach_delete: mapping.OnOutreachDelete = pydantic.Field(
        mapping.OnOutreachDelete.UNLINK, description="A prospect was deleted in Outreach: unlink or ask"
    )
    on_conflict: Winner = pydantic.Field(Winner.CRM, description="Both sides changed the same field: who wins")
    first_sight: mapping.FirstSight = pydantic.Field(
        mapping.FirstSight.FILL_BLANKS, description="Both sides differ the first time they are seen"
    )
    brakes: Brakes = pydantic.Field(Brakes(), description="More than this within a day waits for somebody")
    fields: dict[str, FieldLine] = pydantic.Field(
        min_length=1, description="Left Workbooks' API name, right where the value comes from"
    )
    labels: dict[Label, Annotated[str, pydantic.Field(min_length=1)]] = pydantic.Field(
        description="Left our state, right the label in Workbooks' picklist, letter for letter"
    )
    states: dict[str, Label] = pydantic.Field(
        DEFAULT_WORDS, description="The words Outreach uses for a state, and which of ours each one is"
    )
    roll_up: Literal["latest_change"] | list[RolledUp] = pydantic.Field(
        default_factory=lambda: list(get_args(RolledUp)),
        description="Of several sequences the first of these that occurs is shown, or that of the latest_change",
    )
    new_prospects: NewProspects = pydantic.Field(
        NewProspects(), description="Prospects made for people whom somebody in Workbooks wants in Outreach"
    )
    sequence_actions: SequenceActions = pydantic.Field(
        SequenceActions(), description="Sequence actions that people in Workbooks ask for"
    )
    task: TaskSection = pydantic.Field(TaskSection(), description="How a skipped Outreach task is shown in Workbooks")
    tests: list[Example] = pydantic.Field(
        default_factory=list, description="Examples that `outbook mapping check` tries; they change nothing in effect"
    )
