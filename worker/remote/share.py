"""Outreach's data share: an export of the table SEQUENCE_STATES, CSV or Parquet, as the rows that hold now.

The files are read once into a scratch database on disk and then handed out by ranges of ids, so that memory stays the same
however many rows there are (facts, data share).
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import itertools
import operator
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import duckdb

from worker.core.records import Kind, Ref, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from types import TracebackType

IDS = ("ID", "PROSPECT_ID", "SEQUENCE_ID", "SEQUENCE_STEP_ID")
TIMES = ("ACTIVE_AT", "STATE_CHANGED_AT", "UPDATED_AT", "DML_AT")
TEXTS = ("BENTO", "O_ID", "STATE", "DML_TYPE", "IS_DELETED_IN_APP")
COLUMNS = (*IDS, *TIMES, *TEXTS)
"""What is read; the other columns of the table may be there or not."""

MEMORY_MB = (30, 60, 128, 512)
"""What reading the files in may use. Large row groups need more than most."""
LATER_MB = (14, 40, 128, 512)
"""What handing them out may use."""
SLICE = 20_000
"""About how many rows are looked at together when the latest one of each id is picked."""
PAGE = 1_000
SLICES = 120
"""At most so many slices, each of which looks through all ids, however many rows there are."""
_ID = operator.itemgetter(0)
_PARQUET, _GZIP = b"PAR1", b"\x1f\x8b"
_DELETED = "('delete', 'backfill-delete')"
_TRUE = "('true', 't', '1', 'yes', 'y')"
_OFFSET = r" ?([+-]\d\d):?(\d\d)$"


class ShareInvalid(Exception):
    """The files cannot be loaded as they are; ``problems`` are sentences that hold no value of a row."""

    def __init__(self, *problems: str) -> None:
        """Keep every problem."""
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Organisation:
    """One organisation of an export: its machines, its id, and how many rows are of it."""

    bento: str
    o_id: str
    rows: int

    def __str__(self) -> str:
        """Return it as a person reads it."""
        return f"BENTO {self.bento}, O_ID {self.o_id}: {self.rows} rows"


class Row(NamedTuple):
    """The row of one sequence state that holds now. ``why`` says what of it cannot be read; None if it is whole."""

    id: int
    state: str | None
    prospect: int | None
    sequence: int | None
    step: int | None
    active_at: str | None
    state_changed_at: str | None
    updated_text: str | None
    updated_naive: datetime | None
    deleted: bool
    why: str | None

    @property
    def updated_at(self) -> datetime | None:
        """When the record was last updated, aware UTC."""
        return self.updated_naive.replace(tzinfo=UTC) if self.updated_naive else None

    def snapshot(self) -> Snapshot:
        """Return it as the API would tell it."""
        fields = {
            "activeAt": self.active_at,
            "state": self.state,
            "stateChangedAt": self.state_changed_at,
            "updatedAt": self.updated_text,
        }
        relations = {"prospect": self.prospect, "sequence": self.sequence, "sequenceStep": self.step}
        return Snapshot(Ref(Kind.STATE, self.id), fields, self.updated_at, deleted=self.deleted, relations=relations)


class Share:
    """One export of one or several files, staged under a directory that is emptied again."""

    def __init__(self, files: Sequence[Path], directory: Path) -> None:
        """Read nothing yet."""
        self._files = files
        self._directory = directory
        self._stack = contextlib.ExitStack()
        self._chosen = Organisation("", "", 0)
        self._db: Any = None

    def __enter__(self) -> Self:
        """Read the files; raise :class:`ShareInvalid` with what is wrong with them."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            scratch = tempfile.TemporaryDirectory(prefix="share-", dir=self._directory)
            place = Path(stack.enter_context(scratch))
            stack.callback(lambda: self._db and self._db.close())
            for number, memory_mb in enumerate(MEMORY_MB):
                self._db = _scratch(place / f"{number}.duckdb", memory_mb)
                if self._stage(place):
                    self._allow(LATER_MB[0])
                    break
                self._db.close()
            else:
                raise ShareInvalid("the files do not fit into memory even in parts; split them")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing behind."""
        self._stack.close()

    def _stage(self, place: Path) -> bool:
        """Read all files into one table; False if that takes more memory than there is leave to use."""
        parts = []
        try:
            for number, path in enumerate(self._files):
                source, columns = _opened(self._db, path, place / str(number))
                parts.append((path, f"SELECT {_picked(path, columns)} FROM {source}"))  # noqa: S608 - names are quoted
            for number, (path, query) in enumerate(parts):
                how = "INSERT INTO share" if number else "CREATE TABLE share AS"
                with _in_words(path):
                    self._db.execute(f"{how} {query}")
        except duckdb.OutOfMemoryException:
            return False
        return True

    def organisations(self) -> list[Organisation]:
        """Return whose rows these are, the most first."""
        query = "SELECT bento, o_id, count(*) FROM share GROUP BY ALL ORDER BY count(*) DESC, bento, o_id"
        return [Organisation(*row) for row in self._db.execute(query).fetchall()]

    def choose(self, one: Organisation) -> None:
        """Hand out the rows of this organisation from now on."""
        self._chosen = one

    def nameless(self) -> int:
        """Return how many rows have no usable id: nobody can tell what they are about."""
        query = "SELECT count(*) FROM share WHERE bento = ? AND o_id = ? AND id IS NULL"
        return int(self._db.execute(query, [self._chosen.bento, self._chosen.o_id]).fetchone()[0])

    def illegible(self) -> str | None:
        """Return what is wrong with the first row if not one of them can be used, else None."""
        which = "FROM share WHERE bento = ? AND o_id = ?"
        whose = [self._chosen.bento, self._chosen.o_id]
        usable = "count(*) FILTER (id IS NOT NULL AND (why IS NULL OR deleted AND updated IS NOT NULL))"
        if self._db.execute(f"SELECT {usable} {which}", whose).fetchone()[0]:
            return None
        told = self._db.execute(f"SELECT why {which} AND why IS NOT NULL LIMIT 1", whose).fetchone()
        return str(told[0]) if told else "has no usable ID"

    def pages(self) -> Iterator[list[Row]]:
        """Return the latest row of each id, in the order of ids, a few thousand at a time."""
        whose = [self._chosen.bento, self._chosen.o_id]
        for low, high in self._slices(whose):
            last = 0
            rows = self._first_rows([*whose, low, high])
            while rows:
                # Of several rows of an id the first is the latest.
                page = [Row._make(next(group)) for id, group in itertools.groupby(rows, _ID) if id != last]
                last = rows[-1][0]
                yield page
                rows = self._db.fetchmany(PAGE)

    def _first_rows(self, which: list[Any]) -> list[Any]:
        """Begin to hand out a slice; a slice that takes more memory than most may use more."""
        for memory_mb in LATER_MB[1:]:
            try:
                return list(self._db.execute(_IN_ORDER, which).fetchmany(PAGE))
            except duckdb.OutOfMemoryException:
                self._allow(memory_mb)
        return list(self._db.execute(_IN_ORDER, which).fetchmany(PAGE))

    def _allow(self, memory_mb: int) -> None:
        self._db.execute(f"SET memory_limit = '{memory_mb}MB'")

    def _slices(self, whose: list[str]) -> list[tuple[int, int]]:
        """Return ranges of ids, each with about as many rows: (low, high], all together all of them."""
        which = "FROM share WHERE bento = ? AND o_id = ? AND id IS NOT NULL"
        rows, first, last = self._db.execute(f"SELECT count(*), min(id), max(id) {which}", whose).fetchone()
        if not rows:
            return []
        count = min(rows // SLICE + 1, SLICES)
        parts = [number / count for number in range(1, count)]
        inner: list[int] = []
        if parts:
            inner = self._db.execute(f"SELECT approx_quantile(id, {parts}) {which}", whose).fetchone()[0]
        marks = sorted({first - 1, *(one for one in inner if first <= one < last), last})
        return list(itertools.pairwise(marks))


_IN_ORDER = """
SELECT id, state, prospect, sequence, step, active_at, changed_at,
  strftime(updated, '%Y-%m-%dT%H:%M:%S.000Z'), updated, deleted, why
FROM share WHERE bento = ? AND o_id = ? AND id > ? AND id <= ?
ORDER BY id, dml DESC NULLS LAST, updated DESC NULLS LAST, deleted DESC
"""


def _scratch(path: Path, memory_mb: int) -> Any:  # noqa: ANN401 - the driver's own class
    db = duckdb.connect(str(path))
    for name, value in (
        ("memory_limit", f"'{memory_mb}MB'"),
        ("threads", "1" if memory_mb < MEMORY_MB[2] else "2"),
        ("temp_directory", f"'{_quoted(path.parent / 'spill')}'"),
        ("preserve_insertion_order", "false"),
        ("TimeZone", "'UTC'"),
    ):
        db.execute(f"SET {name} = {value}")
    return db


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _opened(db: Any, path: Path, alias: Path) -> tuple[str, dict[str, tuple[str, str]]]:  # noqa: ANN401 - see _scratch
    """Return what a file is read with, and its columns: upper-case name → (name as written, type).

    It is read under an alias: a path may hold what the reader takes for a pattern.
    """
    try:
        magic, header = _beginning(path)
    except OSError as error:
        raise ShareInvalid(f"{path} cannot be read: {error.strerror or 'it is no gzip file'}") from None
    if not header:
        raise ShareInvalid(f"{path} is empty")
    alias.unlink(missing_ok=True)
    alias.symlink_to(path.absolute())
    name = _quoted(alias)
    source = f"read_parquet('{name}')"
    if magic != _PARQUET:
        source = _csv(name, header, packed=magic.startswith(_GZIP))
    with _in_words(path):
        told = db.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()  # noqa: S608 - a path of our own, quoted
    return source, {row[0].strip().upper(): (row[0], row[1]) for row in told}


def _csv(name: str, header: str, *, packed: bool) -> str:
    """Return how a CSV is read. Everything is told and nothing guessed: a broken row must not look like another format."""
    delimiter = max(",;|\t", key=header.count)
    names = [text.replace("'", "''") for text in next(csv.reader([header], delimiter=delimiter))]
    columns = ", ".join(f"'{text}': 'VARCHAR'" for text in names)
    return (
        f"read_csv('{name}', header = true, auto_detect = false, columns = {{{columns}}}, delim = '{delimiter}', "
        f"compression = '{'gzip' if packed else 'none'}', quote = '\"', escape = '\"', "
        "nullstr = ['', '\\N', 'NULL'], buffer_size = 2097152)"
    )


def _beginning(path: Path) -> tuple[bytes, str]:
    """Return a file's first bytes, and its first line once it is unpacked."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == _PARQUET:
        return magic, "Parquet"
    opener = gzip.open if magic.startswith(_GZIP) else open
    with opener(path, "rb") as file:
        return magic, file.readline(65_536).decode("utf-8-sig", "replace").strip("\r\n")


def _picked(path: Path, columns: dict[str, tuple[str, str]]) -> str:
    """Return the columns of the staging table in terms of a file's own; raise ShareInvalid naming what is missing."""
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise ShareInvalid(f"{path} is no export of SEQUENCE_STATES: it has no column {', '.join(missing)}")
    raw = {name: '"' + columns[name][0].replace('"', '""') + '"' for name in COLUMNS}
    cast: dict[str, str] = {}
    for name in IDS:
        cast[name] = f"TRY_CAST({raw[name]} AS BIGINT)"
    for name in TIMES:
        cast[name] = f"date_trunc('second', {_time(raw[name], columns[name][1])})"
    illegible = [
        f"WHEN {cast[name]} IS NULL AND {raw[name]} IS NOT NULL THEN '{name} cannot be read'" for name in (*IDS, *TIMES)
    ]
    needed = (("PROSPECT_ID", "prospect"), ("SEQUENCE_ID", "sequence"), ("UPDATED_AT", "UPDATED_AT"))
    lacking = [f"WHEN {cast[name]} IS NULL THEN 'tells no {what}'" for name, what in needed]
    state = f"nullif(trim(CAST({raw['STATE']} AS VARCHAR)), '')"
    flag = f"lower(CAST({raw['IS_DELETED_IN_APP']} AS VARCHAR)) IN {_TRUE}"
    deleted = f"coalesce({flag}, false) OR coalesce(lower(trim({raw['DML_TYPE']})) IN {_DELETED}, false)"
    told = {
        "bento": f"coalesce(CAST({raw['BENTO']} AS VARCHAR), '')",
        "o_id": f"coalesce(CAST({raw['O_ID']} AS VARCHAR), '')",
        "id": f"CASE WHEN {cast['ID']} > 0 THEN {cast['ID']} END",
        "state": state,
        "prospect": cast["PROSPECT_ID"],
        "sequence": cast["SEQUENCE_ID"],
        "step": cast["SEQUENCE_STEP_ID"],
        "active_at": f"strftime({cast['ACTIVE_AT']}, '%Y-%m-%dT%H:%M:%S.000Z')",
        "changed_at": f"strftime({cast['STATE_CHANGED_AT']}, '%Y-%m-%dT%H:%M:%S.000Z')",
        "updated": cast["UPDATED_AT"],
        "dml": _time(raw["DML_AT"], columns["DML_AT"][1]),
        "deleted": deleted,
        "why": f"CASE {' '.join((*illegible, *lacking))} WHEN {state} IS NULL THEN 'tells no state' END",
    }
    return ", ".join(f"{expression} AS {name}" for name, expression in told.items())


def _time(column: str, kind: str) -> str:
    """Return a time in UTC without a zone: one that says none is UTC already (facts, data share)."""
    if kind == "VARCHAR":
        return f"timezone('UTC', TRY_CAST(regexp_replace({column}, '{_OFFSET}', '\\1:\\2') AS TIMESTAMPTZ))"
    return f"timezone('UTC', {column})" if "ZONE" in kind else f"CAST({column} AS TIMESTAMP)"


@contextlib.contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Turn what the reader complains of into a sentence about the file, without the rows that it quotes."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ShareInvalid(f"{path} cannot be read as CSV or Parquet: {_told(first)}") from None


def _told(words: str) -> str:
    """Return a complaint up to where it begins to quote."""
    return re.split("[\"'`]", words, maxsplit=1)[0].strip() or "not understood"
