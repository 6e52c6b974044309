"""Every verb's `--json` has a shape that is written down; ``rig`` holds whatever any test prints against it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import typer

from tests.e2e import documents, worlds
from tests.e2e.rig import Stage
from worker.cli import app as front_door

SERVING = {"beat", "demo", "sim outreach", "sim workbooks", "up", "web", "worker"}
"""What runs until it is told to stop, and has nothing to print."""


def verbs() -> dict[str, list[str]]:
    """Every verb as it is typed, with its options, as `outbook --help` knows them."""
    return dict(_walk(typer.main.get_command(front_door.app), ()))


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:  # noqa: ANN401 - typer's
    if not hasattr(command, "get_command"):
        yield " ".join(path), [name for one in command.params for name in one.opts]
        return
    for name in command.list_commands(None):
        yield from _walk(command.get_command(None, name), (*path, name))


def test_every_verb_has_a_document_and_a_shape() -> None:
    """A new verb takes --json and is written down in ``documents``; one that is gone is taken out there."""
    found = verbs()
    assert set(found) - SERVING == set(documents.DOCUMENTS)
    assert [verb for verb in documents.DOCUMENTS if "--json" not in found[verb]] == []
    assert set(found) >= SERVING


def test_a_key_more_or_less_is_noticed() -> None:
    """What the hook of every test rests on."""
    told: dict[str, object] = {"held": []}
    documents.held_against(["held", "list", "--json"], told)
    for wrong in ({"held": [], "more": 1}, {}, {"held": [{"key": "ask:1"}]}):
        with pytest.raises(jsonschema.ValidationError):
            documents.held_against(["held", "list", "--json"], wrong)


READING = (
    "sync --dry-run",
    "failures list",
    "failures show prospect:{failed}",
    "held list",
    "resync --all --dry-run",
    "reconcile",
    "mapping schema --live",
    "webhooks status",
)
ACTING = (
    "pause",
    "resume",
    "db upgrade",
    "db rebind --yes",
    "failures retry --all",
    "sync",
    "failures drop prospect:{failed}",
    "held approve --kind ambiguous",
    "held reject --prospect {gone}",
    "link --prospect {twin} --person {person}",
    "opt-in --prospect {out} --reason mistake",
    "reconcile --repair",
    "resync --all",
    "mapping init mine.yaml",
    "webhooks setup --url https://outbook.example",
    "webhooks status",
    "webhooks remove",
    "forget --prospect {out}",
)


def _troubled(stage: Stage) -> dict[str, int]:
    """A world with something of everything to tell."""
    stage.mapping(("on_crm_delete: recreate", "on_crm_delete: ask"))
    stage.environ["OUTBOOK_OUTREACH__WEBHOOK_SECRET"] = "a secret of the tests"
    out = stage.enrolled("out@example.com", emailOptedOut=True)
    gone = stage.enrolled("gone@example.com", first="Gus")
    stage.sync()
    people = [stage.person(first="Hal", email="hal@example.com") for _ in range(2)]
    failed = stage.prospect("odd@example.com", first="Odd")
    stage.state(failed, word="snoozed")
    stage.delete_person(stage.person_of(gone)["id"])
    stage.task(stage.state(stage.enrolled("new@example.com", first="Neo"), worlds.INBOUND), state="skipped")
    return {
        "out": out,
        "gone": gone,
        "failed": failed,
        "twin": stage.enrolled("hal@example.com", first="Hal"),
        "person": people[0],
    }


def test_the_documents_of_a_troubled_world(stage: Stage) -> None:
    """One document on one line of each verb, of its shape, where there is something to tell."""
    who = _troubled(stage)
    stage.sync(code=3)
    ends = {}
    for words in (*READING, *ACTING):
        told = stage.outbook(*words.format_map(who).split(), "--json")
        ends[words] = told.code if told.out.count("\n") == 1 or "schema" in words else told.out
    wrong = {words: end for words, end in ends.items() if end not in {0, 2, 3}}
    assert wrong == {}
