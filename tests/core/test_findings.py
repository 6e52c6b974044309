"""What a plan over fresh copies says about who disagrees, and who is right."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.core.makers import link, person
from tests.core.pairs import SHOWN, crm_edit, edit, made, pair, unlinked
from worker.core import findings
from worker.core.findings import Finding, Sort
from worker.core.plan import PersonView


def found(view: PersonView, *edits: tuple[str, str]) -> Finding | None:
    """What is found about a pair, under the default mapping, edited."""
    return findings.of_plan(view, made(view, *edits))


def test_a_pair_in_step_is_no_finding() -> None:
    """Both sides hold what they should: nothing is found."""
    assert found(pair()) is None


@pytest.mark.parametrize(
    "view, right",
    [
        (crm_edit({"person_job_title": "Countess"}), "workbooks"),
        (pair(prospect=edit(pair().prospect, title="Countess")), "outreach"),  # type: ignore[arg-type]
    ],
)
def test_who_was_edited_last_is_right(view: PersonView, right: str) -> None:
    """The side whose value would be written to the other is right; the value itself is not told."""
    told = found(view)
    assert told is not None
    assert (told.sort, told.prospect, told.people) == (Sort.FIELDS, 7, (55,))
    assert [(one.field, one.right) for one in told.fields] == [("person_job_title", right)]
    assert "Countess" not in json.dumps(told.as_json())


@pytest.mark.parametrize(
    "view, sort",
    [
        (unlinked(), Sort.NO_PERSON),
        (replace(pair(), link=None), Sort.NOT_LINKED),
        (pair(person=person(SHOWN, deleted=True)), Sort.PERSON_DELETED),
        (pair(prospect=None, states=()), Sort.PROSPECT_GONE),
        (pair(person=None), Sort.ASKED),
    ],
)
def test_what_kind_of_disagreement_it_is(view: PersonView, sort: Sort) -> None:
    """Nobody there, not linked, deleted on either side, or to be decided by a person."""
    told = found(view)
    assert told is not None
    assert told.sort is sort
    assert told.why


def test_of_a_deletion_that_unlinks_nothing_is_written() -> None:
    """Where the mapping unlinks, the deleted person still is a disagreement."""
    told = found(pair(person=person(SHOWN, deleted=True)), ("on_crm_delete: recreate", "on_crm_delete: unlink"))
    assert told is not None
    assert told.sort is Sort.PERSON_DELETED


def test_a_pair_cut_on_purpose_is_no_finding() -> None:
    """What somebody has unlinked stays so, whatever the two hold."""
    assert found(pair(link=link({}, {}, gone=True))) is None


def test_shares_are_told_to_two_places_and_never_beyond_all() -> None:
    """Of nothing all is covered; links that went meanwhile do not make more than all."""
    assert [findings.covered(*one) for one in ((0, 0), (1, 3), (3, 3), (4, 3))] == [100.0, 33.33, 100.0, 100.0]


def test_people_who_share_an_address_do_not_disagree() -> None:
    """Every kind counts but that one."""
    assert findings.disagreements({"fields": 2, "same_address": 5, "orphan": 1}) == 3
