"""The data share's export: which row holds now, whose it is, and what of it cannot be read."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.remote.shares import BLANK, Fields, as_csv, as_parquet, row
from worker.core.records import Kind, Ref, Snapshot
from worker.remote import share
from worker.remote.share import Organisation, Row, Share, ShareInvalid

Export = Callable[..., Path]


@pytest.fixture(params=["csv", "parquet"])
def export(request: pytest.FixtureRequest, tmp_path: Path) -> Export:
    """Write an export, once in each format."""

    def write(*rows: Fields, name: str = "states") -> Path:
        write_as = as_csv if request.param == "csv" else as_parquet
        return write_as(tmp_path / f"{name}.{request.param}", *rows)

    return write


def rows_of(*files: Path) -> list[Row]:
    """What the files' only organisation, or their largest, holds now."""
    with Share(files, files[0].parent / "scratch") as opened:
        opened.choose(opened.organisations()[0])
        return [one for page in opened.pages() for one in page]


def test_a_row_is_told_as_the_api_tells_it(export: Export) -> None:
    """Ids are numbers, times UTC to the second, whatever the columns' order and the ones nobody asks for."""
    found = rows_of(export(row(7, MAILBOX_ID="3", ACTIVE_AT=None, UPDATED_AT="2026-01-05 10:00:00.9")))
    told = {
        "activeAt": None,
        "state": "active",
        "stateChangedAt": "2026-01-05T10:00:00.000Z",
        "updatedAt": "2026-01-05T10:00:00.000Z",
    }
    at = datetime(2026, 1, 5, 10, tzinfo=UTC)
    related = {"prospect": 11, "sequence": 1, "sequenceStep": 1}
    assert [one.snapshot() for one in found] == [Snapshot(Ref(Kind.STATE, 7), told, at, relations=related)]


def test_of_several_rows_of_an_id_the_one_last_changed_holds(export: Export) -> None:
    """The latest DML_AT decides, across files too, and not UPDATED_AT or the order of rows."""
    first = export(
        row(7, DML_AT="2026-01-06 05:00:00", STATE="finished"),
        row(7, DML_AT="2026-01-05 05:00:00", UPDATED_AT="2026-01-09 00:00:00"),
    )
    second = export(row(7, DML_AT="2026-01-04 05:00:00"), row(8, STATE="paused"), name="more")
    assert [(one.id, one.state) for one in rows_of(first, second)] == [(7, "finished"), (8, "paused")]


@pytest.mark.parametrize(
    "told, deleted",
    [
        ({"DML_TYPE": "delete"}, True),
        ({"DML_TYPE": "BACKFILL-DELETE"}, True),
        ({"IS_DELETED_IN_APP": "true"}, True),
        ({"DML_TYPE": "update"}, False),
        ({"DML_TYPE": "backfill", "IS_DELETED_IN_APP": None}, False),
    ],
)
def test_either_column_tells_a_deletion(export: Export, told: Fields, deleted: bool) -> None:
    """A record is gone when its latest row says so by its type or by the flag."""
    assert [one.deleted for one in rows_of(export(row(7, **told)))] == [deleted]


def test_a_record_that_came_back_lives(export: Export) -> None:
    """A deletion that a later row takes back is none."""
    gone = row(7, DML_TYPE="backfill-delete", IS_DELETED_IN_APP="true", DML_AT="2026-01-05 05:00:00")
    back = row(7, DML_TYPE="backfill", DML_AT="2026-01-05 06:00:00")
    assert [one.deleted for one in rows_of(export(gone, back))] == [False]


def test_organisations_are_told_apart(export: Export) -> None:
    """BENTO and O_ID together say whose a row is; the most rows first, and only the chosen one's are handed out."""
    path = export(row(1), row(2), row(1, BENTO="app2b"), row(3, O_ID="43"), row(4, O_ID="43"), row(5, O_ID="43"))
    with Share([path], path.parent / "scratch") as opened:
        every = opened.organisations()
        opened.choose(every[1])
        found = [one.id for page in opened.pages() for one in page]
    assert every == [Organisation("app1a", "43", 3), Organisation("app1a", "42", 2), Organisation("app2b", "42", 1)]
    assert found == [1, 2]


@pytest.mark.parametrize(
    "told, why",
    [
        ({"PROSPECT_ID": None}, "tells no prospect"),
        ({"SEQUENCE_ID": None}, "tells no sequence"),
        ({"UPDATED_AT": None}, "tells no UPDATED_AT"),
        ({"STATE": " "}, "tells no state"),
        ({"SEQUENCE_STEP_ID": None}, None),
        ({"SEQUENCE_STEP_ID": "first"}, "SEQUENCE_STEP_ID cannot be read"),
    ],
)
def test_a_row_says_what_of_it_is_missing(export: Export, told: Fields, why: str | None) -> None:
    """What a state needs to be of use is missed by name; being on no step is fine."""
    assert [one.why for one in rows_of(export(row(7, **told)))] == [why]


def test_a_row_without_a_usable_id_is_counted(export: Export) -> None:
    """No id, a word or nought: nobody can tell what such a row is about, and no other suffers by it."""
    path = export(row(None), row("seven"), row(0), row(7))
    with Share([path], path.parent / "scratch") as opened:
        opened.choose(opened.organisations()[0])
        assert (opened.nameless(), [one.id for page in opened.pages() for one in page]) == (3, [7])


@pytest.mark.parametrize("delimiter", [";", "|", "\t"])
def test_columns_may_be_divided_otherwise(tmp_path: Path, delimiter: str) -> None:
    """Semicolons, bars and tabs are told by the first line."""
    path = as_csv(tmp_path / "a.csv", row(7))
    path.write_text(path.read_text().replace(",", delimiter))
    assert [one.prospect for one in rows_of(path)] == [11]


@pytest.mark.parametrize(
    "text, at",
    [
        ("2026-01-05T10:00:00Z", "2026-01-05T10:00:00.000Z"),
        ("2026-01-05 10:00:00.123456789", "2026-01-05T10:00:00.000Z"),
        ("2026-01-05 10:00:00.000 -0800", "2026-01-05T18:00:00.000Z"),
        ("2026-01-05T10:00:00+02:00", "2026-01-05T08:00:00.000Z"),
        ("05/01/2026", None),
    ],
)
def test_times_in_text_are_utc_unless_they_say_otherwise(tmp_path: Path, text: str, at: str | None) -> None:
    """A time without a zone is UTC, one with an offset is turned into it, and one in another form is not guessed."""
    found = rows_of(as_csv(tmp_path / "a.csv", row(7, UPDATED_AT=text)))[0]
    assert (found.updated_text, found.why) == (at, None if at else "UPDATED_AT cannot be read")


def test_parquet_times_may_know_their_zone(tmp_path: Path) -> None:
    """A column of times with a zone is read as UTC, as is one without."""
    found = rows_of(as_parquet(tmp_path / "a.parquet", row(7, UPDATED_AT="2026-01-05 10:00:00+02"), zone=True))
    assert found[0].updated_text == "2026-01-05T08:00:00.000Z"


def test_columns_are_found_regardless_of_case_and_order(tmp_path: Path) -> None:
    """Some warehouses write names in lower case, some a mark before them; nobody promises an order."""
    lower = {name.lower(): value for name, value in reversed(row(7).items())}
    path = as_csv(tmp_path / "a.csv", lower)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [one.id for one in rows_of(path)] == [7]


def test_a_packed_file_is_read(tmp_path: Path) -> None:
    """A CSV may be packed with gzip, whatever it is called, and write its nulls as a backslash and N."""
    plain = as_csv(tmp_path / "a.csv", row(7, SEQUENCE_STEP_ID="\\N"))
    packed = tmp_path / "a [1] it's.csv"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert [(one.id, one.step, one.why) for one in rows_of(packed)] == [(7, None, None)]


def _no_file(path: Path) -> None:
    path.unlink(missing_ok=True)


def _broken_parquet(path: Path) -> None:
    path.write_bytes(b"PAR1 and then nothing")


def _two_lines_run_together(path: Path) -> None:
    text = ",".join(BLANK) + "\n" + "secret," * 40 + "\n"
    path.write_text(text, encoding="utf-8")


def _broken_gzip(path: Path) -> None:
    path.write_bytes(b"\x1f\x8b and then nothing")


def _other_columns(path: Path) -> None:
    path.write_text("ID,BENTO,O_ID,STATE\n1,a,b,active\n", encoding="utf-8")


@pytest.mark.parametrize(
    "make, words",
    [
        (_no_file, "cannot be read: No such file"),
        (Path.touch, "is empty"),
        (_broken_parquet, "cannot be read as CSV or Parquet"),
        (_broken_gzip, "cannot be read"),
        (_two_lines_run_together, "cannot be read as CSV or Parquet"),
        (_other_columns, "it has no column PROSPECT_ID, SEQUENCE_ID, SEQUENCE_STEP_ID, ACTIVE_AT, STATE_CHANGED_AT"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, make: Callable[[Path], Any], words: str) -> None:
    """The sentence names the file and the fault, quotes no row, and nothing is left behind."""
    path = tmp_path / "states.csv"
    make(path)
    with pytest.raises(ShareInvalid) as caught, Share([path], tmp_path / "scratch"):
        pass
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_many_rows_come_in_pages_each_id_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the ids are spread over slices and pages, each comes exactly once and in order, the latest row of it."""
    monkeypatch.setattr(share, "SLICE", 50)
    monkeypatch.setattr(share, "PAGE", 20)
    ids = [*range(1, 300), *range(10**9, 10**9 + 200), 10**18]
    old = [row(id, DML_AT="2025-01-01 00:00:00", STATE="paused") for id in ids[::3]]
    path = as_csv(tmp_path / "a.csv", *(row(id) for id in reversed(ids)), *old)
    with Share([path], tmp_path / "scratch") as opened:
        opened.choose(opened.organisations()[0])
        pages = list(opened.pages())
    assert [one.id for page in pages for one in page] == ids
    assert {one.state for page in pages for one in page} == {"active"}
    assert max(len(page) for page in pages) <= 20
