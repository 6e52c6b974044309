from __future__ import annotations

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import ERROR, STATE, TITLE

NAMES = {
    "markup": ("<b>Ada</b>", "<script>alert(1)</script>"),
    "emoji": ("Ada 🦊", "👩‍👩‍👧‍👦 Ashby"),
    "other scripts": ("Ольга", "李小龍"),
    "right to left": ("عائشة", "כהן"),
    "combining": ("Zoe\u0301", "A\u030angstro\u0308m"),
    "quotes": ('D\'Arcy "Ada"', "O’Neill; DROP TABLE--"),
    "form letters": ("A&B=C+D%20", "[x]:y_value"),
    "commas": ("Ada, Countess", "Ashby\\, Jr"),
}


def test_odd_names_arrive_letter_for_letter(stage: Stage) -> None:
    """Markup, emoji, any script, quotes and what means something in a form: as written, and settled."""
    made = {
        what: stage.enrolled(f"p{n}@example.com", first=first, last=last)
        for n, (what, (first, last)) in enumerate(NAMES.items())
    }
    stage.sync()
    told = {
        what: (stage.person_of(one)["person_first_name"], stage.person_of(one)["person_last_name"])
        for what, one in made.items()
    }
    assert told == NAMES
    stage.settled()


def test_odd_names_come_back_letter_for_letter(stage: Stage) -> None:
    """The same typed in in the CRM and sent to Outreach."""
    made = {what: stage.enrolled(f"p{n}@example.com") for n, what in enumerate(NAMES)}
    stage.sync()
    for what, one in made.items():
        first, last = NAMES[what]
        stage.set_person(stage.person_of(one)["id"], first=first, last=last)
    stage.sync()
    told = {
        what: (stage.of_prospect(one)["firstName"], stage.of_prospect(one)["lastName"]) for what, one in made.items()
    }
    assert told == NAMES
    stage.settled()


def test_control_characters_and_line_ends_settle(stage: Stage) -> None:
    """NUL, bells and odd line ends are left out on the way; nothing flips, nothing fails."""
    prospect = stage.enrolled("ada@example.com", first="A\x00da", last="Ash\x07by", title="Head\r\nof\tSales\x1b[0m")
    stage.sync()
    person = stage.person_of(prospect)
    assert (person["person_first_name"], person["person_last_name"]) == ("Ada", "Ashby")
    assert person[TITLE].startswith("Head\nof")
    assert "\x1b" not in person[TITLE]
    stage.settled()


def test_blank_names_are_no_names(stage: Stage) -> None:
    """Names of blanks and invisible signs count as none: the address is the name."""
    prospect = stage.enrolled("ada@example.com", first="  ", last="\t")
    stage.sync()
    assert stage.person_of(prospect)["name"] == "ada@example.com"
    stage.settled()


def test_texts_that_look_like_the_wires_own_words(stage: Stage) -> None:
    """A title `:no_value:` or `:null_value:` empties nothing and is refused for that record alone, or arrives."""
    people = [stage.enrolled(f"p{n}@example.com", first=f"P{n}", title="Buyer") for n in range(3)]
    stage.sync()
    stage.set_prospect(people[0], title=":null_value:", lastName="Ashcombe")
    stage.set_prospect(people[1], title=":no_value:")
    stage.set_prospect(people[2], title="Planner")
    stage.sync(code=None)
    assert stage.person_of(people[0])[TITLE] in {"Buyer", ":null_value:"}
    assert stage.person_of(people[0])["person_last_name"] == "Ashcombe"
    assert stage.person_of(people[1])[TITLE] in {"Buyer", ":no_value:"}
    assert stage.person_of(people[2])[TITLE] == "Planner"


def test_a_very_long_name_is_that_records_fault(stage: Stage) -> None:
    """A name longer than the CRM takes fails its record with words; the neighbours are whole."""
    long = stage.enrolled("long@example.com", last="y" * 5_000)
    well = stage.enrolled("well@example.com", first="Wil")
    told = stage.sync(code=3)
    assert told.report["failed"] == 1
    assert stage.person_of(well)[STATE] == worlds.RUNNING
    assert "too long" in stage.person_of(long)[ERROR]
    assert "yyyy" not in told.err + told.out


def test_many_sequences_make_a_long_text(stage: Stage) -> None:
    """Sixty sequences with long names: every line is there."""
    prospect = stage.prospect("ada@example.com")
    for n in range(60):
        made = stage.sequence(f"{n:02d} " + "long name " * 12, steps=1)
        stage.state(prospect, made, "finished" if n else "active")
    stage.sync()
    lines = stage.person_of(prospect)[worlds.ALL].split("\n")
    assert len(lines) == 60
    assert lines[0].endswith(": Active – Running (step 1)")
    stage.settled()


def test_sequence_names_with_line_ends_stay_one_line(stage: Stage) -> None:
    """A sequence's name over two lines does not make two lines of the list."""
    prospect = stage.prospect("ada@example.com")
    stage.state(prospect, stage.sequence("Spring\nfair", steps=1), "active")
    stage.sync()
    assert len(stage.person_of(prospect)[worlds.ALL].split("\n")) == 1
    stage.settled()


def test_addresses_with_odd_letters_find_their_people(stage: Stage) -> None:
    """Plus signs, apostrophes, commas in quotes, letters beyond ASCII: found, not created twice."""
    addresses = [
        "ada+fair@example.com",
        "o'neill@example.com",
        '"a,b"@example.com',
        "zoë@example.com",
        "a..b@example.com",
    ]
    people = [stage.person(first="P", last=f"No {n}", email=email) for n, email in enumerate(addresses)]
    made = [stage.enrolled(email.upper() if n % 2 else email) for n, email in enumerate(addresses)]
    stage.sync()
    assert [stage.person_of(one)["id"] for one in made] == people
    assert len(stage.people()) == len(addresses)
    stage.settled()


def test_a_note_with_markup_is_written_as_it_is(stage: Stage) -> None:
    """The note of a skipped task keeps its letters."""
    prospect = stage.prospect("ada@example.com")
    stage.task(stage.state(prospect), state="skipped", note="Say <b>hello</b> & 🦊\nline two")
    stage.sync()
    assert stage.cancelled()[0]["description"] == "Say <b>hello</b> & 🦊\nline two"
    stage.settled()
