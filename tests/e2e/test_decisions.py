"""What people decide on the command line: who is who, opting in again, and what is held."""

from __future__ import annotations

import json

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Pass, Stage
from tests.e2e.worlds import ID, NO_EMAIL, STATE, TITLE, Fields


def _twins(stage: Stage, email: str) -> tuple[int, list[int]]:
    prospect = stage.enrolled(email)
    return prospect, [stage.person(first="Ada", last=f"Ashby {n}", email=email) for n in (1, 2)]


def _told(ended: Pass, code: int = 0) -> Fields:
    assert ended.code == code, (ended.code, ended.out, ended.err)
    told: Fields = json.loads(ended.out)
    return told


def _opted_out(stage: Stage, email: str = "ada@example.com") -> tuple[int, int]:
    prospect = stage.enrolled(email)
    stage.sync()
    stage.tell({"op": "opt_out", "prospect": prospect})
    stage.sync()
    person = stage.person_of(prospect)
    assert (person[STATE], person[NO_EMAIL]) == (worlds.OPTED_OUT, True)
    return prospect, person["id"]


def test_link_decides_and_the_next_pass_writes(stage: Stage) -> None:
    """A receipt with exit 0; nothing is held any more, the chosen one is the person, and then all is settled."""
    prospect, (chosen, other) = _twins(stage, "ada@example.com")
    stage.sync(code=3)
    told = _told(stage.outbook("link", "--prospect", str(prospect), "--person", str(chosen), "--json"))
    assert told == {"linked": [{"prospect": prospect, "person": chosen, "already": False}]}
    assert stage.sync().report["held"] == 0
    assert (stage.person_of(prospect)["id"], stage.of_person(other).get(ID)) == (chosen, None)
    stage.settled()
    again = stage.outbook("link", "--prospect", str(prospect), "--person", str(chosen))
    assert (again.code, "linked already" in again.out) == (0, True)
    stage.settled()


def test_link_reads_a_file_whole_before_it_acts(stage: Stage) -> None:
    """Every problem with its line and exit 4, nothing done; without them all pairs are linked."""
    pairs = [_twins(stage, f"p{n}@example.com") for n in (1, 2)]
    stage.sync(code=3)
    path = stage.directory / "pairs.csv"
    good = [f"{prospect},{people[0]}" for prospect, people in pairs]
    path.write_text(f"prospect,person\n{good[0]}\nAda,Bo\n99,{pairs[1][1][0]}\n", encoding="utf-8")
    ended = stage.outbook("link", "--from", str(path))
    assert (ended.code, ended.out) == (4, "")
    assert f"{path}:3: neither" in ended.err
    path.write_text(f"prospect,person\n{good[0]}\n99,{pairs[1][1][0]}\n", encoding="utf-8")
    ended = stage.outbook("link", "--from", str(path))
    assert (ended.code, f"{path}:3: prospect 99 does not exist in Outreach" in ended.err) == (4, True)
    assert stage.sync(code=3).report["held"] == 2
    path.write_text("\n".join(good), encoding="utf-8")
    assert stage.outbook("link", "--from", str(path)).code == 0
    stage.sync()
    assert [stage.person_of(prospect)["id"] for prospect, _ in pairs] == [people[0] for _, people in pairs]


@pytest.mark.parametrize(
    "arguments", [[], ["--prospect", "5"], ["--from", "nowhere.csv"], ["--person", "5", "--from", "x"]]
)
def test_link_wants_a_whole_pair(stage: Stage, arguments: list[str]) -> None:
    """Half a pair, none, or a file that is not there: exit 4 and a sentence."""
    ended = stage.outbook("link", *arguments)
    assert (ended.code, ended.out) == (4, "")
    assert ended.err.startswith("outbook: ")


@pytest.mark.parametrize("how", ["--prospect", "--person", "--email", "--ids-from"])
def test_opt_in_lifts_both_sides(stage: Stage, how: str) -> None:
    """Whichever way she is named, both sides allow mail again with the command, and no pass after it takes that back."""
    prospect, person = _opted_out(stage)
    path = stage.directory / "people.txt"
    path.write_text(f"person:{person}  # asked for it\n", encoding="utf-8")
    named = {"--prospect": prospect, "--person": person, "--email": "Ada@Example.com", "--ids-from": path}[how]
    told = _told(stage.outbook("opt-in", how, str(named), "--reason", "asked for it", "--json"))
    (one,) = told["people"]
    assert one == {"prospect": prospect, "person": person, "opted_in": True, "was_opted_out": True, "waits_for": None}
    assert not stage.of_prospect(prospect)["emailOptedOut"]
    assert (stage.of_person(person)[NO_EMAIL], stage.of_person(person)[STATE] == worlds.OPTED_OUT) == (False, False)
    stage.settled()
    stage.sync("--full")
    assert (stage.of_prospect(prospect)["emailOptedOut"], stage.of_person(person)[NO_EMAIL]) == (False, False)
    assert stage.rows("SELECT why FROM history WHERE action = 'opt in'") == [("opted in again by hand: asked for it",)]


def test_opt_in_wants_a_reason_and_somebody(stage: Stage) -> None:
    """Without a reason, without a name, or with a name that nobody has: exit 4, and nobody is opted in."""
    prospect, person = _opted_out(stage)
    for arguments in (
        ["--prospect", str(prospect)],
        ["--prospect", str(prospect), "--reason", " "],
        ["--reason", "x"],
        ["--reason", "x", "--email", "no address"],
        ["--reason", "x", "--prospect", "99"],
        ["--reason", "x", "--prospect", str(prospect), "--person", "99"],
        ["--reason", "x", "--ids-from", "nowhere.txt"],
    ):
        ended = stage.outbook("opt-in", *arguments)
        assert (ended.code, ended.out) == (4, ""), arguments
        assert ended.err.startswith("outbook: ")
    assert (stage.of_prospect(prospect)["emailOptedOut"], stage.of_person(person)[NO_EMAIL]) == (True, True)


def test_opt_in_of_many_asks(stage: Stage) -> None:
    """Twenty-one without a terminal need --yes; then all of them are opted in in a few requests."""
    many = [stage.enrolled(f"p{n}@example.com", emailOptedOut=True) for n in range(21)]
    stage.sync()
    arguments = [text for one in many for text in ("--prospect", str(one))]
    refused = stage.outbook("opt-in", *arguments, "--reason", "x")
    assert (refused.code, "--yes" in refused.err) == (4, True)
    assert stage.of_prospect(many[0])["emailOptedOut"] is True
    stage.forget_calls()
    told = _told(stage.outbook("opt-in", *arguments, "--reason", "x", "--yes", "--json"))
    assert sum(one["opted_in"] for one in told["people"]) == 21
    assert len([entry for entry in stage.crm.journal.entries() if entry["effect"]]) == 1
    assert not any(stage.of_prospect(one)["emailOptedOut"] or stage.person_of(one)[NO_EMAIL] for one in many)
    stage.settled()


def test_opt_in_that_cannot_be_finished_says_so(stage: Stage) -> None:
    """The CRM is down: exit 3 with what it waits for; the next pass finishes it, whoever makes it."""
    prospect, person = _opted_out(stage)
    stage.break_crm("status", times=None, args={"code": 503})
    told = _told(stage.outbook("opt-in", "--prospect", str(prospect), "--reason", "x", "--json"), code=3)
    assert told["people"][0]["opted_in"] is False
    assert told["people"][0]["waits_for"].startswith("the next pass goes on with it")
    stage.mend()
    stage.later(1000)
    stage.sync()
    assert (stage.of_prospect(prospect)["emailOptedOut"], stage.of_person(person)[NO_EMAIL]) == (False, False)
    stage.settled()


def test_a_conflict_is_shown_with_both_values(stage: Stage) -> None:
    """Side by side in the table; neither in the JSON nor on stderr of the pass."""
    stage.mapping(("on_conflict: crm\n", "on_conflict: ask\n"))
    prospect = stage.enrolled("ada@example.com", title="Engineer")
    stage.sync()
    stage.set_prospect(prospect, title="Chairwoman")
    stage.set_person(stage.person_of(prospect)["id"], title="[red]Dean")
    ended = stage.sync(code=3)
    assert not {"Chairwoman", "Dean"} & set(ended.err.split())
    shown = stage.outbook("held", "list")
    assert "Chairwoman" in shown.out
    assert "[red]Dean" in shown.out
    assert "Chairwoman" not in stage.outbook("held", "list", "--json").out


def test_reject_unlinks_what_was_deleted(stage: Stage) -> None:
    """Not created again now or later; an entry of another kind says what to do instead, with exit 4."""
    stage.mapping(("on_crm_delete: recreate\n", "on_crm_delete: ask\n"))
    prospect = stage.enrolled("ada@example.com")
    _twins(stage, "twin@example.com")
    stage.sync(code=3)
    person = stage.person_of(prospect)["id"]
    stage.delete_person(person)
    assert stage.sync(code=3).report["held"] == 2
    refused = stage.outbook("held", "reject", "--kind", "ambiguous")
    assert (refused.code, "outbook link --prospect" in refused.err) == (4, True)
    ended = stage.outbook("held", "reject", "--prospect", str(prospect))
    assert (ended.code, "1 entry rejected, 1 pair unlinked" in ended.out) == (0, True)
    told = stage.sync(code=3)
    assert (told.report["held"], told.crm) == (1, {})
    stage.set_prospect(prospect, title="Engineer")
    assert stage.sync(code=3).crm == {}


def test_a_breaker_is_held_and_approved(stage: Stage) -> None:
    """A field that an automation keeps overwriting is left alone, named in the report, and goes on when approved."""
    prospect = stage.enrolled("ada@example.com", title="Engineer")
    stage.sync()
    for n in range(7):
        stage.set_prospect(prospect, title=("Boss", "Clerk")[n % 2])
        ended = stage.sync(code=None)
    assert (ended.code, ended.report["held"], ended.report["converged"]) == (3, 1, True)
    assert f"prospect {prospect}, person" in ended.err
    assert stage.person_of(prospect)[TITLE] != stage.of_prospect(prospect)["title"]
    assert stage.outbook("held", "reject", "--kind", "breaker").code == 4
    assert stage.outbook("held", "approve", "--kind", "breaker").code == 0
    stage.sync()
    assert stage.person_of(prospect)[TITLE] == stage.of_prospect(prospect)["title"] == "Boss"
