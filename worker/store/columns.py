"""What columns are made of: ids, moments, texts, and the names that constraints get."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

if TYPE_CHECKING:
    from collections.abc import Callable

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
SQLModel.metadata.naming_convention = NAMING
metadata = SQLModel.metadata

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite numbers rows by itself only in a column whose type is exactly INTEGER."""


class Moment(sa.TypeDecorator[datetime]):
    """An aware UTC time, stored without zone; a naive one is refused at the door."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Turn an aware time into the stored form."""
        if value is None:
            return None
        if value.tzinfo is None:
            msg = "a time without a zone"
            raise ValueError(msg)
        return value.astimezone(UTC).replace(tzinfo=None)

    def bind_processor(self, dialect: sa.Dialect) -> Callable[[Any], Any] | None:
        """Return what makes of a moment the driver's own value; for SQLite in one go, for a page has thousands of them."""
        return _as_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Turn the stored form into an aware time."""
        return value.replace(tzinfo=UTC) if value is not None else None


def _as_text(value: datetime | None) -> str | None:
    """Return a moment as SQLAlchemy stores it in SQLite: to the microsecond, without a zone."""
    if value is None:
        return None
    if value.tzinfo is None:
        msg = "a time without a zone"
        raise ValueError(msg)
    return value.astimezone(UTC).isoformat(" ", "microseconds")[:_UNTIL_ZONE]


_UNTIL_ZONE = len("2026-01-31 12:00:00.000000")


def number(**options: Any) -> Any:  # noqa: ANN401 - SQLModel's Field is untyped too
    """Return a column of 64-bit numbers."""
    return Field(sa_type=Id, **options)


def moment(**options: Any) -> Any:  # noqa: ANN401 - see number
    """Return a column of moments that may be unknown."""
    return Field(default=None, sa_type=Moment, **options)


def text(**options: Any) -> Any:  # noqa: ANN401 - see number
    """Return a column of texts of any length."""
    return Field(sa_type=sa.Text, **options)
