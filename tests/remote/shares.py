"""Exports of the data share as a customer gets them: rows of SEQUENCE_STATES in CSV or Parquet."""

from __future__ import annotations

import csv
from pathlib import Path

import duckdb

Fields = dict[str, object]
BLANK: Fields = {
    "ID": "1",
    "BENTO": "app1a",
    "O_ID": "42",
    "SURROGATE_ID": "0123456789abcdef0123456789abcdef",
    "STATE": "active",
    "STATE_CHANGED_AT": "2026-01-05 10:00:00",
    "PROSPECT_ID": "11",
    "SEQUENCE_ID": "1",
    "SEQUENCE_STEP_ID": "1",
    "ACTIVE_AT": "2026-01-02 09:00:00",
    "UPDATED_AT": "2026-01-05 10:00:00",
    "DML_AT": "2026-01-05 05:00:00",
    "DML_TYPE": "insert",
    "IS_DELETED_IN_APP": "false",
}
TIMES = ("STATE_CHANGED_AT", "ACTIVE_AT", "UPDATED_AT", "DML_AT")


def row(id: object, **told: object) -> Fields:
    """One row, as it is unless told otherwise."""
    return {**BLANK, "ID": None if id is None else str(id), **told}


def as_csv(path: Path, *rows: Fields) -> Path:
    """An export as CSV; what is None is empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_parquet(path: Path, *rows: Fields, zone: bool = False) -> Path:
    """An export as Parquet, with the types of the dictionary; its times know their zone if wanted."""
    plain = as_csv(path.with_suffix(".plain"), *rows)
    kind = "TIMESTAMPTZ" if zone else "TIMESTAMP"
    cast = {name: f"CAST({name} AS {kind}) AS {name}" for name in TIMES}
    cast["IS_DELETED_IN_APP"] = "CAST(IS_DELETED_IN_APP AS BOOLEAN) AS IS_DELETED_IN_APP"
    columns = ", ".join(cast.get(name, name) for name in rows[0])
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        read = f"read_csv('{plain}', header = true, all_varchar = true)"
        db.execute(f"COPY (SELECT {columns} FROM {read}) TO '{path}' (FORMAT parquet)")
    plain.unlink()
    return path
