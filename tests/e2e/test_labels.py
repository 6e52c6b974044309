from __future__ import annotations

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import ARCHIVE, COLD, ERROR, INBOUND, NO_EMAIL, NOTICES, STATE

JAN_5 = "Mon Jan 05 10:00:00 UTC 2026"

SINGLE = [
    ("active", COLD, True, worlds.RUNNING),
    ("paused", COLD, True, worlds.PAUSED),
    ("finished", COLD, True, worlds.FINISHED),
    ("pending", COLD, False, worlds.PENDING),
    ("pending", COLD, True, worlds.PENDING),
    ("disabled", COLD, True, worlds.DISABLED),
    ("failed", COLD, True, worlds.FAILED),
    ("bounced", COLD, True, worlds.BOUNCED),
    ("active", ARCHIVE, True, worlds.DISABLED),
    ("paused", ARCHIVE, True, worlds.DISABLED),
    ("pending", ARCHIVE, True, worlds.DISABLED),
    ("active", ARCHIVE, False, worlds.PENDING),
    ("paused", ARCHIVE, False, worlds.PENDING),
    ("finished", ARCHIVE, True, worlds.FINISHED),
    ("bounced", ARCHIVE, True, worlds.BOUNCED),
    ("failed", ARCHIVE, False, worlds.FAILED),
    ("active", NOTICES, True, worlds.RUNNING),
]


def test_one_state_decides_the_label(stage: Stage) -> None:
    """Each word of Outreach, in an enabled, a disabled and a transactional sequence, gives the label of section 5."""
    made = []
    for n, (word, sequence, was_active, expected) in enumerate(SINGLE):
        prospect = stage.prospect(f"p{n}@example.com")
        stage.state(prospect, sequence, word, active_at="2026-01-02T09:00:00.000Z" if was_active else None)
        made.append((prospect, expected))
    stage.sync()
    assert [stage.person_of(prospect)[STATE] for prospect, _ in made] == [expected for _, expected in made]


def test_in_no_sequence_is_not_active(stage: Stage) -> None:
    """A person in the CRM whose prospect is in no sequence reads Not Active, the other four fields blank."""
    prospect = stage.prospect("ada@example.com")
    stage.person(first="Ada", last="Ashby", email="ada@example.com")
    stage.sync()
    person = stage.person_of(prospect)
    assert [person.get(name) for name in worlds.FIVE] == [worlds.NOT_ACTIVE, None, None, None, None]


def test_a_state_opted_out_opts_the_person_out(stage: Stage) -> None:
    """The literal state opted_out, even in a transactional sequence, makes the person Opted Out with No Email."""
    prospect = stage.prospect("ada@example.com")
    stage.state(prospect, NOTICES, "opted_out")
    stage.sync()
    person = stage.person_of(prospect)
    assert (person[STATE], person[NO_EMAIL]) == (worlds.OPTED_OUT, True)
    assert stage.of_prospect(prospect)["emailOptedOut"] is True
    stage.settled()


def test_the_five_fields_of_one_sequence(stage: Stage) -> None:
    """State, when it was reached, sequence, step's order and the line of the list are written as the contract has them."""
    prospect = stage.prospect("ada@example.com")
    stage.state(prospect, COLD, "paused", step=3)
    stage.sync()
    person = stage.person_of(prospect)
    assert [person.get(name) for name in worlds.FIVE] == [
        "Active – Paused",
        JAN_5,
        "Cold outreach",
        3,
        "Cold outreach: Active – Paused (step 3)",
    ]


ROLL_UPS = [
    (("finished", "active"), worlds.RUNNING),
    (("paused", "active"), worlds.RUNNING),
    (("pending", "paused"), worlds.PAUSED),
    (("failed", "pending"), worlds.PENDING),
    (("bounced", "failed"), worlds.FAILED),
    (("disabled", "bounced"), worlds.BOUNCED),
    (("finished", "disabled"), worlds.DISABLED),
    (("finished", "finished"), worlds.FINISHED),
]


def test_of_several_sequences_the_first_label_of_the_order_shows(stage: Stage) -> None:
    """Each label goes before those after it in the order, whichever of the two changed later."""
    made = []
    for n, ((one, other), expected) in enumerate(ROLL_UPS):
        prospect = stage.prospect(f"p{n}@example.com")
        stage.state(prospect, COLD, one, at="2026-02-01T10:00:00.000Z")
        stage.state(prospect, INBOUND, other, at="2026-01-05T10:00:00.000Z")
        made.append((prospect, expected))
    stage.sync()
    assert [stage.person_of(prospect)[STATE] for prospect, _ in made] == [expected for _, expected in made]


def test_equal_labels_are_decided_by_the_latest_change_then_by_the_highest_id(stage: Stage) -> None:
    """Two running sequences: the one changed last shows; changed at the same moment, the state with the higher id."""
    later = stage.prospect("later@example.com")
    stage.state(later, COLD, "active", at="2026-02-01T10:00:00.000Z", step=2)
    stage.state(later, INBOUND, "active", at="2026-01-05T10:00:00.000Z", step=1)
    tied = stage.prospect("tied@example.com")
    stage.state(tied, COLD, "active", step=2)
    stage.state(tied, INBOUND, "active", step=3)
    stage.sync()
    told = [[stage.person_of(one)[name] for name in (worlds.NAME, worlds.STEP)] for one in (later, tied)]
    assert told == [["Cold outreach", 2], ["Inbound follow-up", 3]]


def test_the_list_of_sequences_is_sorted_and_has_finished_ones_too(stage: Stage) -> None:
    """A line a sequence, by name regardless of case and then by id; without a step the bracket is left out."""
    zebra, apple, twin = stage.sequence("zebra"), stage.sequence("Apple"), stage.sequence("apple")
    prospect = stage.prospect("ada@example.com")
    stage.state(prospect, zebra, "finished", step=3)
    stage.state(prospect, twin, "active", step=1)
    stage.state(prospect, apple, "pending", step=None, active_at=None)
    stage.sync()
    assert stage.person_of(prospect)[worlds.ALL].split("\n") == [
        "Apple: Pending",
        "apple: Active – Running (step 1)",
        "zebra: Finished (step 3)",
    ]


def test_of_several_states_in_one_sequence_the_latest_counts(stage: Stage) -> None:
    """By stateChangedAt, then by id: an older running state does not show beside a newer finished one."""
    prospect = stage.prospect("ada@example.com")
    stage.state(prospect, COLD, "active", at="2026-01-05T10:00:00.000Z", step=1)
    stage.state(prospect, COLD, "finished", at="2026-02-01T10:00:00.000Z", step=2)
    stage.sync()
    person = stage.person_of(prospect)
    assert person[STATE] == worlds.FINISHED
    assert person[worlds.ALL] == "Cold outreach: Finished (step 2)"


def test_a_sequence_that_may_not_be_seen_counts_as_enabled(stage: Stage) -> None:
    """It is called by its number and its prospects read as running, not opted out when they are not."""
    prospect = stage.prospect("ada@example.com")
    made = stage.state(prospect, COLD, "active", step=None)
    stage.tell({"op": "set", "type": "sequenceState", "id": made, "relations": {"sequence": 18}})
    stage.sync()
    person = stage.person_of(prospect)
    assert [person.get(name) for name in (STATE, worlds.NAME, worlds.ALL)] == [
        worlds.RUNNING,
        "Sequence 18",
        "Sequence 18: Active – Running",
    ]
    stage.settled()


def test_an_opted_out_person_shows_the_latest_sequence(stage: Stage) -> None:
    """Opted out beats whatever runs; name and step are those of the latest state, the list tells each by its own rule."""
    prospect = stage.prospect("ada@example.com", emailOptedOut=True, emailsOptedAt="2026-03-02T08:30:00.000Z")
    stage.state(prospect, COLD, "finished", at="2026-01-05T10:00:00.000Z", step=2)
    stage.state(prospect, NOTICES, "active", at="2026-02-01T10:00:00.000Z", step=1)
    stage.sync()
    person = stage.person_of(prospect)
    assert [person.get(name) for name in worlds.FIVE] == [
        "Opted Out",
        "Mon Mar 02 08:30:00 UTC 2026",
        "Service notices",
        1,
        "Cold outreach: Opted Out (step 2)\nService notices: Active – Running (step 1)",
    ]
    assert person[NO_EMAIL] is True


def test_latest_change_wins_if_the_mapping_says_so(stage: Stage) -> None:
    """With `roll_up: latest_change` the newest state shows, though another one still runs."""
    stage.mapping(("roll_up: [active, paused, pending, failed, bounced, disabled, finished]", "roll_up: latest_change"))
    prospect = stage.prospect("ada@example.com")
    stage.state(prospect, COLD, "active", at="2026-01-05T10:00:00.000Z")
    stage.state(prospect, INBOUND, "finished", at="2026-02-01T10:00:00.000Z")
    stage.sync()
    assert stage.person_of(prospect)[STATE] == worlds.FINISHED


def test_a_moved_state_reaches_the_crm(stage: Stage) -> None:
    """Paused, resumed, moved a step on, finished: each pass shows just that, and writes one person once."""
    prospect = stage.prospect("ada@example.com")
    state = stage.state(prospect)
    stage.sync()
    for edit, expected in (
        ("pause", ["Active – Paused", 1]),
        ("resume", ["Active – Running", 1]),
        ("advance", ["Active – Running", 2]),
        ("finish", ["Finished", 2]),
    ):
        stage.tell({"op": edit, "state": state})
        told = stage.sync()
        assert told.crm == {"updated": 1}
        assert [stage.person_of(prospect)[name] for name in (STATE, worlds.STEP)] == expected
    stage.settled()


CREATION = [
    ("create_people: in_sequence", [True, False, True]),
    ("create_people: all", [True, True, True]),
    ("create_people: never", [False, False, False]),
]


@pytest.mark.parametrize("line, expected", CREATION)
def test_who_is_created(stage: Stage, line: str, expected: list[bool]) -> None:
    """In a sequence now or once, everybody with an address, or nobody, as `create_people` says; the rest is excluded."""
    if line != "create_people: in_sequence":
        stage.mapping(("create_people: in_sequence", line))
    people = [stage.enrolled("a@example.com"), stage.prospect("b@example.com")]
    people.append(stage.enrolled("c@example.com", word="finished"))
    told = stage.sync()
    assert [str(one) in {person.get(worlds.ID) for person in stage.people()} for one in people] == expected
    assert told.report["excluded"] == expected.count(False)
    assert told.crm.get("created", 0) == expected.count(True)
    stage.settled()


def test_a_new_person_bears_every_field(stage: Stage) -> None:
    """Created with names, title, address, phones, reference and the five; nothing is an error and No Email is off."""
    prospect = stage.enrolled(
        "Ada.Ashby@example.com",
        "second@example.com",
        title="Buyer",
        workPhones=["+44 20 7946 0018", "+44 20 7946 0019"],
        mobilePhones=["+44 7700 900123"],
    )
    stage.sync()
    person = stage.person_of(prospect)
    assert [person.get(name) for name in ("person_first_name", "person_last_name", worlds.TITLE)] == [
        "Ada",
        "Ashby",
        "Buyer",
    ]
    assert [person.get(name) for name in (worlds.EMAIL, worlds.PHONE, worlds.MOBILE)] == [
        "Ada.Ashby@example.com",
        "+44 20 7946 0018",
        "+44 7700 900123",
    ]
    assert [person.get(name) for name in worlds.FIVE] == [
        "Active – Running",
        JAN_5,
        "Cold outreach",
        1,
        "Cold outreach: Active – Running (step 1)",
    ]
    assert not person.get(NO_EMAIL)
    assert person.get(ERROR) is None
    creates = [one for one in stage.crm_writes("person") if one["op"] == "create"]
    assert len(creates) == 1


def test_without_a_name_the_address_is_the_name(stage: Stage) -> None:
    """A prospect with an address and no name is called by the address in the CRM."""
    prospect = stage.enrolled("nameless@example.com", first=None, last=None)
    stage.sync()
    person = stage.person_of(prospect)
    assert person["name"] == "nameless@example.com"
    stage.settled()
    assert stage.of_prospect(prospect).get("lastName") in {None, "nameless@example.com"}


def test_without_an_address_nobody_is_created(stage: Stage) -> None:
    """A prospect without e-mail is excluded and counted; given an address later, the person appears."""
    prospect = stage.enrolled()
    told = stage.sync()
    assert (told.crm, told.report["excluded"], stage.people()) == ({}, 1, [])
    stage.set_prospect(prospect, emails=["ada@example.com"])
    told = stage.sync()
    assert (told.crm, told.report["excluded"]) == ({"created": 1}, 0)
    assert stage.person_of(prospect)[worlds.EMAIL] == "ada@example.com"


def test_in_a_sequence_later_created_later(stage: Stage) -> None:
    """Somebody left out for being in no sequence is created as soon as in one."""
    prospect = stage.prospect("ada@example.com")
    assert stage.sync().report["excluded"] == 1
    stage.tell({"op": "enrol", "prospect": prospect, "sequence": INBOUND})
    told = stage.sync()
    assert (told.crm, told.report["excluded"]) == ({"created": 1}, 0)
    assert stage.person_of(prospect)[STATE] == worlds.PENDING
