"""The three-way merge of one field: laws, then the cases that users would notice."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.makers import QUARTER, at
from worker.core.mapping import Direction, Field, FirstSight, Winner
from worker.core.merge import Merged, Sides, merge
from worker.core.transforms import ABSENT, Absent, Compare, same

OTHER = {Winner.CRM: Winner.OUTREACH, Winner.OUTREACH: Winner.CRM}
NOTHING = (ABSENT, ABSENT)

TEXTS = st.sampled_from([None, "", " ", "x", "y", "X ", "z"])
SIDE = TEXTS | st.just(ABSENT)


def field(
    direction: Direction = Direction.BOTH,
    *,
    compare: Compare = Compare.TEXT,
    wins: Winner = Winner.CRM,
    outreach: str = "title",
) -> Field:
    """Return a line of the mapping."""
    return Field("person_job_title", direction, compare, outreach=outreach, on_conflict=wins)


def merged(
    then: tuple[object, object],
    now: tuple[object, object],
    of: Field | None = None,
    *,
    first_sight: FirstSight = FirstSight.FILL_BLANKS,
) -> Merged:
    """Merge one field, each pair being Outreach's value and the CRM's."""
    return merge(of or field(), Sides(then[0], then[1], now[0], now[1]), first_sight)  # type: ignore[arg-type]


def writes(result: Merged) -> tuple[object, object]:
    """Return what is written to Outreach and to the CRM."""
    return (result.to_outreach, result.to_crm)


# ---- laws


@given(
    then=st.tuples(SIDE, SIDE),
    value=SIDE,
    direction=st.sampled_from(Direction),
    compare=st.sampled_from(Compare),
    first_sight=st.sampled_from(FirstSight),
)
@QUARTER
def test_sides_that_agree_are_left_alone(
    then: tuple[object, object], value: object, direction: Direction, compare: Compare, first_sight: FirstSight
) -> None:
    """Whatever they held before, two sides that hold the same now are not written."""
    of = field(direction, compare=compare)
    if isinstance(value, Absent) and direction is not Direction.BOTH:
        return  # what nobody told is no agreement
    assert writes(merged(then, (value, value), of, first_sight=first_sight)) == NOTHING


@given(
    half=st.tuples(TEXTS, TEXTS),
    value=TEXTS,
    wins=st.sampled_from(Winner),
    outreach_moves=st.booleans(),
    first_sight=st.sampled_from(FirstSight),
)
@QUARTER
def test_the_only_side_that_changed_is_taken(
    half: tuple[str | None, str | None], value: str | None, wins: Winner, outreach_moves: bool, first_sight: FirstSight
) -> None:
    """One side still holds its half of the shadow, the other changed: its value is taken, whoever wins conflicts."""
    now = (value, half[1]) if outreach_moves else (half[0], value)
    moved = not same(Compare.TEXT, value, half[0] if outreach_moves else half[1])
    result = writes(merged(half, now, field(wins=wins), first_sight=first_sight))
    if not moved or same(Compare.TEXT, *now):
        assert result == NOTHING
    elif outreach_moves:
        assert result == (ABSENT, None if value is None else value.strip())
    else:
        assert result == ((value or "").strip() or None, ABSENT)


@given(
    then=st.tuples(SIDE, SIDE),
    now=st.tuples(TEXTS, TEXTS),
    wins=st.sampled_from([Winner.CRM, Winner.OUTREACH]),
    first_sight=st.sampled_from(FirstSight),
)
@QUARTER
def test_a_mirrored_policy_gives_the_mirrored_result(
    then: tuple[object, object], now: tuple[object, object], wins: Winner, first_sight: FirstSight
) -> None:
    """With the sides swapped and the other one winning, the same value goes the other way."""
    one = merged(then, now, field(wins=wins), first_sight=first_sight)
    other = merged(then[::-1], now[::-1], field(wins=OTHER[wins]), first_sight=first_sight)
    blank = {None, ""}  # the CRM may be sent an empty text where Outreach is sent null

    def told(value: object) -> object:
        return "blank" if not isinstance(value, Absent) and value in blank else value

    assert [told(one.to_crm), told(one.to_outreach)] == [told(other.to_outreach), told(other.to_crm)]


@given(
    then=st.tuples(SIDE, SIDE),
    now=st.tuples(SIDE, SIDE),
    wins=st.sampled_from(Winner),
    first_sight=st.sampled_from(FirstSight),
)
@QUARTER
def test_a_merge_settles_in_one_step(
    then: tuple[object, object], now: tuple[object, object], wins: Winner, first_sight: FirstSight
) -> None:
    """Once the writes are done and remembered, the same merge finds nothing to do; and no field is written on both sides."""
    of = field(wins=wins)
    result = merged(then, now, of, first_sight=first_sight)
    to_outreach, to_crm = writes(result)
    assert isinstance(to_outreach, Absent) or isinstance(to_crm, Absent)
    after = (
        now[0] if isinstance(to_outreach, Absent) else to_outreach,
        now[1] if isinstance(to_crm, Absent) else to_crm,
    )
    assert writes(merged(after, after, of, first_sight=first_sight)) == NOTHING


@given(
    then=st.tuples(SIDE, SIDE),
    now=SIDE,
    direction=st.sampled_from([Direction.BOTH, Direction.TO_CRM]),
    first_sight=st.sampled_from(FirstSight),
)
@QUARTER
def test_what_outreach_did_not_tell_decides_nothing(
    then: tuple[object, object], now: object, direction: Direction, first_sight: FirstSight
) -> None:
    """A value that Outreach's answer leaves out is neither taken nor overwritten."""
    assert writes(merged(then, (ABSENT, now), field(direction), first_sight=first_sight)) == NOTHING


@given(
    then=st.tuples(SIDE, SIDE),
    now=SIDE,
    direction=st.sampled_from([Direction.BOTH, Direction.TO_OUTREACH]),
    first_sight=st.sampled_from(FirstSight),
)
@QUARTER
def test_what_the_crm_did_not_tell_decides_nothing(
    then: tuple[object, object], now: object, direction: Direction, first_sight: FirstSight
) -> None:
    """A value that the CRM's answer leaves out is neither taken nor overwritten."""
    assert writes(merged(then, (now, ABSENT), field(direction), first_sight=first_sight)) == NOTHING


@given(then=st.tuples(SIDE, SIDE), now=st.tuples(SIDE, SIDE), direction=st.sampled_from(Direction))
@QUARTER
def test_no_edit_goes_against_its_direction(
    then: tuple[object, object], now: tuple[object, object], direction: Direction
) -> None:
    """A one-way field is never written at its source."""
    result = merged(then, now, field(direction))
    if direction is Direction.TO_CRM:
        assert result.to_outreach is ABSENT
    if direction is Direction.TO_OUTREACH:
        assert result.to_crm is ABSENT


# ---- two ways: then (Outreach, CRM), now (Outreach, CRM), winner → to Outreach, to the CRM

TWO_WAY = [
    (("a", "a"), ("b", "a"), Winner.CRM, (ABSENT, "b")),
    (("a", "a"), ("a", "b"), Winner.OUTREACH, ("b", ABSENT)),
    (("a", "a"), ("b", "c"), Winner.CRM, ("c", ABSENT)),
    (("a", "a"), ("b", "c"), Winner.OUTREACH, (ABSENT, "b")),
    (("a", "a"), ("b", "b"), Winner.CRM, NOTHING),
    # a cleared value travels too
    (("a", "a"), (None, "a"), Winner.CRM, (ABSENT, None)),
    (("a", "a"), ("a", None), Winner.CRM, (None, ABSENT)),
    (("a", "a"), ("a", ""), Winner.CRM, (None, ABSENT)),
    (("a", "a"), ("b", None), Winner.CRM, (None, ABSENT)),
    (("a", "a"), ("b", None), Winner.OUTREACH, (ABSENT, "b")),
    ((None, None), ("", None), Winner.CRM, NOTHING),
    # the CRM made something else of our value on save: nobody's edit, until somebody makes one
    (("a long title", "a long"), ("a long title", "a long"), Winner.CRM, NOTHING),
    (("a long title", "a long"), ("a long title", "short"), Winner.CRM, ("short", ABSENT)),
    (("a long title", "a long"), ("new", "a long"), Winner.CRM, (ABSENT, "new")),
    (("a long title", "a long"), ("a long title", ""), Winner.CRM, (None, ABSENT)),
]


@pytest.mark.parametrize("then, now, wins, written", TWO_WAY)
def test_two_way(then: tuple[object, object], now: tuple[object, object], wins: Winner, written: object) -> None:
    """Each side is measured against its own half of the shadow."""
    assert writes(merged(then, now, field(wins=wins))) == written


# ---- first sight

FIRST = [
    (("a", None), Winner.CRM, (ABSENT, "a"), (ABSENT, "a")),
    (("a", ""), Winner.CRM, (ABSENT, "a"), (ABSENT, "a")),
    ((None, "b"), Winner.OUTREACH, ("b", ABSENT), ("b", ABSENT)),
    (("", "b"), Winner.OUTREACH, ("b", ABSENT), ("b", ABSENT)),
    ((None, ""), Winner.CRM, NOTHING, NOTHING),
    (("a", "a "), Winner.CRM, NOTHING, NOTHING),
    (("a", "b"), Winner.CRM, NOTHING, ("b", ABSENT)),
    (("a", "b"), Winner.OUTREACH, NOTHING, (ABSENT, "a")),
]


@pytest.mark.parametrize("then", [(ABSENT, ABSENT), ("a", ABSENT), (ABSENT, "b")])
@pytest.mark.parametrize("now, wins, filling, deciding", FIRST)
def test_first_sight(
    then: tuple[object, object], now: tuple[object, object], wins: Winner, filling: object, deciding: object
) -> None:
    """Of a pair never agreed upon, blanks are filled; differing values stay, or go by on_conflict if the mapping says so."""
    of = field(wins=wins)
    assert writes(merged(then, now, of, first_sight=FirstSight.FILL_BLANKS)) == filling
    assert writes(merged(then, now, of, first_sight=FirstSight.ON_CONFLICT)) == deciding


# ---- one way

ONE_WAY = [
    # then (source, target), now (source, target) → written to the target, counted as overwritten
    (("a", "a"), ("a", "a"), ABSENT, False),
    (("a", "a"), ("b", "a"), "b", False),
    (("a", "a"), ("a", "by hand"), "a", True),
    (("a", "a"), ("a", ""), "a", True),
    (("a", "a"), (None, "a"), None, False),
    (("a", "a"), ("b", "b"), ABSENT, False),
    (("a long one", "a long"), ("a long one", "a long"), ABSENT, False),
    (("a long one", "a long"), ("a long one", "by hand"), "a long one", True),
    ((ABSENT, ABSENT), ("a", "b"), "a", False),
    ((ABSENT, ABSENT), ("a", None), "a", False),
    ((ABSENT, ABSENT), (None, "old"), None, False),
    ((ABSENT, ABSENT), (None, None), ABSENT, False),
    (("a", ABSENT), ("a", "b"), "a", False),
    (("a", "a"), ("a", ABSENT), ABSENT, False),
    (("a", "a"), ("b", ABSENT), "b", False),
]


@pytest.mark.parametrize("then, now, written, overwritten", ONE_WAY)
def test_one_way_to_the_crm(
    then: tuple[object, object], now: tuple[object, object], written: object, overwritten: bool
) -> None:
    """The source rules; a hand edit at the target is put back and counted, what was made of our value on save is not."""
    result = merged(then, now, field(Direction.TO_CRM))
    assert (result.to_crm, result.to_outreach, result.overwritten) == (written, ABSENT, overwritten)


@pytest.mark.parametrize("then, now, written, overwritten", ONE_WAY)
def test_one_way_to_outreach(
    then: tuple[object, object], now: tuple[object, object], written: object, overwritten: bool
) -> None:
    """The same the other way about."""
    result = merged(then[::-1], now[::-1], field(Direction.TO_OUTREACH))
    assert (result.to_outreach, result.to_crm, result.overwritten) == (written, ABSENT, overwritten)


def test_a_list_that_was_not_told_is_not_written() -> None:
    """One element of a list is never written without the others, which would be lost."""
    of = field(Direction.TO_OUTREACH, outreach="emails[0]")
    assert writes(merged((ABSENT, ABSENT), (ABSENT, "a@example.com"), of)) == NOTHING
    assert writes(merged((ABSENT, ABSENT), (None, "a@example.com"), of)) == ("a@example.com", ABSENT)


def test_values_travel_in_the_other_sides_form() -> None:
    """A moment goes to the CRM as the CRM prints it, and to Outreach as ISO 8601, in every direction."""
    iso, printed = "2026-03-02T10:00:00.000Z", "Mon Mar 02 10:00:00 UTC 2026"
    for direction in (Direction.BOTH, Direction.TO_CRM):
        assert merged((ABSENT, ABSENT), (iso, None), field(direction, compare=Compare.DATETIME)).to_crm == printed
    for direction in (Direction.BOTH, Direction.TO_OUTREACH):
        assert merged((ABSENT, ABSENT), (None, printed), field(direction, compare=Compare.DATETIME)).to_outreach == iso


def test_equal_is_as_the_line_compares() -> None:
    """Another way of writing the same number or address is no change, and a real change still travels."""
    phone, email = field(compare=Compare.PHONE), field(compare=Compare.EMAIL)
    assert writes(merged(("020 7946 0000", "020 7946 0000"), ("020 7946 0000", "+44 20 7946 0000"), phone)) == NOTHING
    assert writes(merged(("a@example.com", "a@example.com"), ("A@EXAMPLE.COM", "a@example.com"), email)) == NOTHING
    moved = merged(("020 7946 0000", "+44 20 7946 0000"), ("020 7946 0000", "020 7946 0001"), phone)
    assert writes(moved) == ("020 7946 0001", ABSENT)


A, B, BIG_A = "a@example.com", "b@example.com", "A@EXAMPLE.COM"


@pytest.mark.parametrize(
    "then, now, written, overwritten",
    [
        ((B, B), (BIG_A, A), ABSENT, False),  # both sides moved to the same: nothing to write
        ((A, A), (BIG_A, B), BIG_A, True),  # the source stayed: the other side was edited by hand
        ((B, A), (B, BIG_A), ABSENT, False),  # what was made of our value is still there
    ],
)
@pytest.mark.parametrize("direction", [Direction.TO_CRM, Direction.TO_OUTREACH])
def test_another_spelling_is_no_edit_one_way(
    direction: Direction, then: tuple[object, object], now: tuple[object, object], written: object, overwritten: bool
) -> None:
    """An address in capitals is the same address, as what is to be written, at its source and where it is only shown."""
    swapped = direction is Direction.TO_OUTREACH
    halves = (then[::-1], now[::-1]) if swapped else (then, now)
    result = merged(*halves, field(direction, compare=Compare.EMAIL))
    assert writes(result) == ((written, ABSENT) if swapped else (ABSENT, written))
    assert result.overwritten is overwritten


def test_another_spelling_is_no_edit_two_ways() -> None:
    """Capitals on one side and an edit on the other are no conflict: the edit travels, whoever wins conflicts."""
    assert writes(merged((A, A), (BIG_A, B), field(compare=Compare.EMAIL, wins=Winner.OUTREACH))) == (B, ABSENT)
    assert writes(merged((A, A), (B, BIG_A), field(compare=Compare.EMAIL, wins=Winner.CRM))) == (ABSENT, B)


def test_every_result_says_why() -> None:
    """The explanation names the side that changed, or the policy that decided."""
    assert merged(("a", "a"), ("b", "a")).why == "changed in Outreach"
    assert merged(("a", "a"), ("a", "b")).why == "changed in the CRM"
    assert merged(("a", "a"), ("b", "c")).why == "both sides changed it; crm wins"
    assert merged(("a", "b"), ("a", "b")).why == "neither side changed it since they last agreed"


@pytest.mark.parametrize(
    "outreach_at, crm_at, wins",
    [
        (4.0, 1.0, "outreach"),
        (3.1, 1.0, "outreach"),
        (3.0, 1.0, "crm"),  # within two seconds nobody can tell
        (1.0, 1.0, "crm"),
        (1.0, 9.0, "crm"),
        (None, 1.0, "crm"),
        (9.0, None, "crm"),
        (None, None, "crm"),
    ],
)
def test_the_newer_edit(outreach_at: float | None, crm_at: float | None, wins: str) -> None:
    """With `newest` Outreach's edit is taken only if it is known to be more than two seconds newer."""

    def moment(seconds: float | None) -> datetime | None:
        return None if seconds is None else at(9) + timedelta(seconds=seconds)

    sides = Sides("a", "a", "b", "c", outreach_at=moment(outreach_at), crm_at=moment(crm_at))
    result = merge(field(wins=Winner.NEWEST), sides, FirstSight.FILL_BLANKS)
    assert writes(result) == ((ABSENT, "b") if wins == "outreach" else ("c", ABSENT))
    assert not result.asks


def test_a_conflict_that_is_asked_about() -> None:
    """With `ask` neither side is written, and the result says so; an edit on one side alone asks nobody."""
    asked = merged(("a", "a"), ("b", "c"), field(wins=Winner.ASK))
    assert (writes(asked), asked.asks) == (NOTHING, True)
    alone = merged(("a", "a"), ("b", "a"), field(wins=Winner.ASK))
    assert (writes(alone), alone.asks) == ((ABSENT, "b"), False)
