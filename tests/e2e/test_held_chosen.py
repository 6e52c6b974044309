"""`outbook held` for some records only: what is decided about one person is decided about nobody else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.rig import Stage


def ambiguous(stage: Stage, name: str) -> int:
    """A prospect who could be either of two people."""
    prospect = stage.enrolled(f"{name}@example.com", first=name.title())
    for number in (1, 2):
        stage.person(first=name.title(), last=f"Ashby {number}", email=f"{name}@example.com")
    return prospect


def keys(stage: Stage, *words: str) -> list[str]:
    """The entries that are listed."""
    told: dict[str, Any] = json.loads(stage.outbook("held", "list", "--json", *words).out)
    return [one["key"] for one in told["held"]]


def test_entries_are_listed_for_some(stage: Stage) -> None:
    """By prospect, address, person of the CRM, kind; without words all."""
    ada, bo = ambiguous(stage, "ada"), ambiguous(stage, "bo")
    stage.sync(code=3)
    both = [f"ambiguous:prospects:{one}" for one in (ada, bo)]
    assert keys(stage) == keys(stage, "--all") == keys(stage, "--kind", "ambiguous") == both
    assert keys(stage, "--prospect", str(bo)) == keys(stage, "--email", "BO@example.com") == both[1:]
    assert keys(stage, "--kind", "brake") == []
    assert keys(stage, "--all", "--limit", "1") == both[:1]


def test_only_the_chosen_are_approved(stage: Stage) -> None:
    """One of two is looked at again, and held again, for approval never decides who is who."""
    ada, bo = ambiguous(stage, "ada"), ambiguous(stage, "bo")
    stage.sync(code=3)
    told = json.loads(stage.outbook("held", "approve", "--email", "ada@example.com", "--json").out)
    assert ([one["key"] for one in told["approved"]], told["due"]) == ([f"ambiguous:prospects:{ada}"], 1)
    assert stage.rows("SELECT record_id, state FROM change ORDER BY 1") == [(ada, "due"), (bo, "held")]


def test_one_person_does_not_let_a_brake_go(stage: Stage) -> None:
    """Of 21 people deleted at once the entry is one: named for one of them it is left as it is, and said so."""
    everybody = [stage.enrolled(f"p{number}@example.com", first=f"P{number}") for number in range(22)]
    stage.sync()
    for prospect in everybody:
        stage.delete_person(stage.person_of(prospect)["id"])
    stage.sync(code=3)
    left = stage.outbook("held", "approve", "--prospect", str(everybody[0]))
    assert "is left as it is: 22 records hang on it" in left.err
    assert stage.rows("SELECT count(*) FROM change WHERE state = 'held'") == [(22,)]
    assert stage.outbook("held", "approve", "--kind", "brake", "--yes").code == 0


@pytest.mark.parametrize(
    "words, told",
    [
        ((), "say which: --kind, --prospect"),
        (("--kind", "odd"), "--kind: odd is none; it is one of brake"),
        (("--prospect", "4711"), "prospect:4711: not known here"),
    ],
)
def test_what_chooses_nothing_is_refused(stage: Stage, words: tuple[str, ...], told: str) -> None:
    """Exit 4, with what to say."""
    for verb in ("approve", "reject"):
        left = stage.outbook("held", verb, *words)
        assert (left.code, told in left.err) == (4, True)
