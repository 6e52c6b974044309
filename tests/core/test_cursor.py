"""Cursors: repeated runs over a list that moves while it is read lose nothing and end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.makers import SOME, at
from worker.core import cursor

START = at(6)


def after(seconds: float) -> datetime:
    """Return a moment of the server's time, so many seconds after six."""
    return START + timedelta(seconds=seconds)


# ---- where a run begins


@pytest.mark.parametrize(
    "polls, back",
    [(0, 90), (1, 90), (8, 90), (9, 600), (10, 90), (18, 90), (19, 600), (99, 600), (100, 90)],
)
def test_a_run_begins_before_the_watermark(polls: int, back: int) -> None:
    """Each poll reads the last 90 seconds again, every tenth the last ten minutes."""
    assert cursor.begin(after(0), polls) == after(-back)


@pytest.mark.parametrize(
    "polls, waited, back",
    [(0, 60, -15), (1, 60, 90), (1, 600, 630), (9, 60, 600), (9, 600, 630), (8, 60, -15), (11, None, 90)],
)
def test_where_a_crowded_run_begins(polls: int, waited: int | None, back: int) -> None:
    """Every second one 45 s before the last run began, a minute after the watermark; the others make up for that.

    So the run after a short one begins 90 s before the one that was before both, however long it waited.
    """
    short_from = None if waited is None else after(-waited)
    assert cursor.begin_crowded(after(0), polls, short_from) == after(-back)


def test_which_runs_tell_whether_the_overlap_is_crowded() -> None:
    """Those that are never short and look back no further than usual."""
    assert [polls for polls in range(20) if cursor.judges(polls)] == [1, 3, 5, 7, 11, 13, 15, 17]


def test_the_first_run_reads_everything() -> None:
    """Without a watermark there is no beginning."""
    assert cursor.begin(None, 0) is None
    assert cursor.begin(None, 9) is None


# ---- where the watermark goes


@pytest.mark.parametrize(
    "watermark, newest, server, moved",
    [
        (None, None, 1000, None),
        (None, 500, 1000, 500),
        (None, 990, 1000, 940),  # not into the server's last minute
        (None, 10**9, 1000, 940),  # a record dated decades ahead
        (300, None, 1000, 300),  # nothing new
        (300, 500, 1000, 500),
        (300, 200, 1000, 300),  # only the overlap was read
        (300, 999, 1000, 940),
        (950, 999, 1000, 950),  # never back
        (300, 301, 300, 300),
        (300, 400, 299, 239),  # a server whose clock was put back: what is edited now is dated so
        (300, None, 100, 40),
        (200_000, None, 100, 113_600),  # but by a day at most
    ],
)
def test_where_the_watermark_goes(watermark: int | None, newest: int | None, server: int, moved: int | None) -> None:
    """It follows the newest record seen, stays a minute behind the server's own time, and goes back only with that."""

    def moment(seconds: int | None) -> datetime | None:
        return None if seconds is None else after(seconds)

    assert cursor.advance(moment(watermark), moment(newest), after(server)) == moment(moved)


MOMENTS = st.integers(0, 10**6).map(after)


@given(watermark=st.none() | MOMENTS, newest=st.none() | MOMENTS, server=MOMENTS)
def test_the_watermark_goes_with_the_servers_clock(
    watermark: datetime | None, newest: datetime | None, server: datetime
) -> None:
    """It goes back only where the server's clock has, by a day at most, and on only to what that passed a minute ago."""
    moved = cursor.advance(watermark, newest, server)
    if watermark is not None:
        assert moved is not None
        assert moved >= watermark - timedelta(days=server < watermark)
    if moved is not None and (watermark is None or moved > watermark):
        assert moved <= server - timedelta(seconds=60)


# ---- a remote list that moves while it is read

FAR_FUTURE = 10**9


@dataclass
class Server:
    """A vendor's list: records with the time of their last change, and a clock.

    A change becomes visible up to ``lag`` seconds after the time that it carries, as with a vendor whose transactions
    commit late.
    """

    records: dict[int, float] = field(default_factory=dict)
    hidden: list[tuple[float, int, float]] = field(default_factory=list)
    clock: float = 1000.0

    def change(self, record: int, *, stamp: float | None = None, lag: float = 0.0) -> None:
        """Change a record, or make it."""
        time = self.clock if stamp is None else stamp
        self.hidden.append((self.clock + lag, record, time))
        self.show()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock += seconds
        self.show()

    def show(self) -> None:
        """Let what is due be seen."""
        for shown, record, time in [one for one in self.hidden if one[0] <= self.clock]:
            self.records[record] = max(time, self.records.get(record, 0.0))
            self.hidden.remove((shown, record, time))

    def page(self, since: float | None, place: tuple[float, int] | None, size: int) -> list[tuple[float, int]]:
        """Return records sorted by time and id: from ``since``, inclusive, or what comes after a place."""
        rows = sorted((time, record) for record, time in self.records.items())
        if place is not None:
            return [row for row in rows if row > place][:size]
        return [row for row in rows if since is None or row[0] >= since][:size]


@dataclass
class Poller:
    """Reads a server run by run, with no more memory between the runs than a watermark and a count."""

    server: Server
    size: int
    watermark: datetime | None = None
    polls: int = 0
    known: dict[int, float] = field(default_factory=dict)
    read: int = 0
    crowded: bool = False
    short_from: datetime | None = None

    def begin(self) -> datetime | None:
        """Return where a run begins, and keep what the next one has to know of a short one."""
        if not self.crowded or self.watermark is None:
            return cursor.begin(self.watermark, self.polls)
        since = cursor.begin_crowded(self.watermark, self.polls, self.short_from)
        if cursor.is_short(self.polls):
            self.short_from = self.watermark
        return since

    def run(self, moves: list[int] | None = None) -> int:
        """Read to the end, while ``moves`` change one record after each page; return the number of pages."""
        began, since = self.server.clock, self.begin()
        start = None if since is None else (since - START).total_seconds()
        place, newest, pages, moving = None, None, 0, list(moves or [])
        while True:
            rows = self.server.page(start, place, self.size)
            pages += 1
            assert pages < 500, "the run does not end"
            for time, record in rows:
                self.known[record] = time
            self.read += len(rows)
            if rows:
                place, newest = rows[-1], after(rows[-1][0])
            if moving:
                self.server.wait(0.5)
                self.server.change(moving.pop())
            if len(rows) < self.size:
                break
        self.watermark = cursor.advance(self.watermark, newest, after(began))
        self.polls += 1
        return pages


IDS = st.integers(1, 12)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), IDS, st.sampled_from([0.0, 0.0, 5.0, 59.0, 89.0])),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 7.0, 61.0, 700.0]), st.just(0)),
        st.tuples(st.just("poll"), st.lists(IDS, max_size=6), st.just(0)),
    ),
    max_size=25,
)


@given(
    steps=STEPS,
    size=st.integers(1, 4),
    same=st.integers(0, 9),
    poisoned=st.booleans(),
    crowded=st.integers(0, 9) | st.none(),
)
@SOME
def test_no_change_is_ever_lost(
    steps: list[tuple[str, int | float | list[int], float]], size: int, same: int, poisoned: bool, crowded: int | None
) -> None:
    """Once the last change is old enough to be seen, one more run knows every record as it stands; two where it is crowded.

    However small the pages, however many equal times, whatever moves while it is read, commits late or is dated ahead.
    """
    server = Server()
    for record in range(20, 20 + same):  # equal times over the edges of pages
        server.change(record)
    if poisoned:
        server.change(99, stamp=float(FAR_FUTURE))
    poller = Poller(server, size, polls=crowded or 0, crowded=crowded is not None)
    for what, value, lag in steps:
        before = poller.watermark
        if what == "change" and isinstance(value, int):
            server.change(value, lag=lag)
        elif what == "wait" and isinstance(value, float):
            server.wait(value)
        elif isinstance(value, list):
            poller.run(value)
        assert before is None or (poller.watermark is not None and poller.watermark >= before)
    server.wait(90)
    for _ in range(1 if crowded is None else 2):
        poller.run()
    assert poller.known == server.records


def test_a_list_of_equal_times_ends() -> None:
    """A hundred records saved in one second are read in pages of seven, once, though `from` is inclusive."""
    server = Server()
    for record in range(100):
        server.change(record)
    poller = Poller(server, 7)
    assert poller.run() == 15
    assert (len(poller.known), poller.read) == (100, 100)


def test_a_record_dated_far_ahead_does_not_blind_the_stream() -> None:
    """After a record dated decades ahead was seen, an ordinary change is still found by the next poll."""
    server = Server()
    server.change(1, stamp=float(FAR_FUTURE))
    poller = Poller(server, 10)
    poller.run()
    server.wait(3600)
    server.change(2)
    poller.run()
    assert poller.known == {1: float(FAR_FUTURE), 2: 4600.0}


def test_a_quiet_stream_reads_no_more_than_its_overlap() -> None:
    """Nothing happens: each poll reads again only what lies within the overlap."""
    server = Server()
    for record in range(50):
        server.change(record)
        server.wait(60)
    server.wait(7200)
    poller = Poller(server, 10)
    poller.run()
    assert poller.read == 50
    poller.run()
    assert poller.read == 52  # the newest, and the one a minute older


def test_a_commit_that_came_late_is_found() -> None:
    """A change that became visible 59 seconds after the time it carries is read, though the stream had moved on."""
    server = Server()
    server.change(1, lag=59)
    poller = Poller(server, 10)
    server.wait(58)
    server.change(2)
    poller.run()
    server.wait(1)
    poller.run()
    assert set(poller.known) == {1, 2}
