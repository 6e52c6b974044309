"""A column loses its values on everybody, by a bad import or because the user may no longer see it: nobody else loses them."""

from __future__ import annotations

from typing import Any

from tests.e2e.rig import Call, Stage
from tests.e2e.worlds import NO_EMAIL, TITLE

MANY = 25
"""More than 20, and more than 2 % of everybody here."""


def people(stage: Stage) -> list[int]:
    """Return the prospects of so many linked people, each with a job title, both sides agreed."""
    found = [stage.enrolled(f"p{n}@example.com", first=f"P{n}", title=f"Title {n}") for n in range(MANY)]
    stage.sync()
    return found


def titles(stage: Stage, prospects: list[int]) -> list[str | None]:
    """Return the job titles that Outreach has."""
    return [stage.of_prospect(one)["title"] for one in prospects]


def brakes(stage: Stage) -> list[str]:
    """Return the entries of brakes that wait for a person."""
    return [one["words"] for one in stage.outbook("held", "list", "--json").report["held"] if one["kind"] == "brake"]


def test_a_bad_import_empties_nobody_on_the_other_side(stage: Stage) -> None:
    """Held as one entry; other fields and an opt-out travel; once it is mended both agree and nothing was lost."""
    found = people(stage)
    for one in found:
        stage.set_person(stage.person_of(one)["id"], title="")
    stage.set_person(stage.person_of(found[0])["id"], last="Ashcombe")
    stage.set_person(stage.person_of(found[1])["id"], no_email=True)
    stage.sync(code=3)
    assert titles(stage, found) == [f"Title {n}" for n in range(MANY)]
    assert brakes(stage) == [
        "person_job_title would be emptied on 25 of 25 linked people within a day; approve to let that happen"
    ]
    assert stage.of_prospect(found[0])["lastName"] == "Ashcombe"
    assert stage.of_prospect(found[1])["emailOptedOut"] is True
    for n, one in enumerate(found):
        stage.set_person(stage.person_of(one)["id"], title=f"Title {n}")
    stage.sync(code=None)
    assert titles(stage, found) == [f"Title {n}" for n in range(MANY)]
    assert [stage.person_of(one)[TITLE] for one in found] == [f"Title {n}" for n in range(MANY)]


def test_who_means_it_approves(stage: Stage) -> None:
    """Approved, the emptied values travel, every one."""
    found = people(stage)
    for one in found:
        stage.set_person(stage.person_of(one)["id"], title="")
    stage.sync(code=3)
    approved = stage.outbook("held", "approve", "--all", "--yes")
    assert approved.code == 0, approved.err
    stage.sync()
    assert [title or None for title in titles(stage, found)] == [None] * MANY
    stage.settled()


def test_a_column_that_may_no_longer_be_seen_empties_nobody(stage: Stage) -> None:
    """The CRM shows the column blank to our user, for everybody, and everything is read again: Outreach keeps all titles."""
    found = people(stage)
    for n, one in enumerate(
        found
    ):  # a person with the version of our own last write holds what we wrote, whatever is shown
        stage.set_person(stage.person_of(one)["id"], last=f"Ashby {n}")
    stage.sync()

    def unseen(call: Call, document: Any) -> Any:  # noqa: ANN401 - whatever the CRM answers
        if call.path.endswith("people.api") and isinstance(document, dict):
            for row in document.get("data") or []:
                row.update({TITLE: ""} if TITLE in row else {})
        return document

    stage.servers.crm.reshape = unseen
    stage.sync("--full", code=3)
    assert titles(stage, found) == [f"Title {n}" for n in range(MANY)]
    stage.set_person(stage.person_of(found[2])["id"], no_email=True)
    stage.later(60)
    stage.sync(code=None)
    assert stage.of_prospect(found[2])["emailOptedOut"] is True
    stage.servers.crm.reshape = None
    stage.sync("--full", code=None)
    assert titles(stage, found) == [f"Title {n}" for n in range(MANY)]
    held = [stage.person_of(one) for one in found]
    assert [one[TITLE] for one in held] == [f"Title {n}" for n in range(MANY)]
    assert [one.get(NO_EMAIL) for one in held].count(True) == 1
