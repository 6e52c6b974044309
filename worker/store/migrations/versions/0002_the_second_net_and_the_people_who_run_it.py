"""The second net and the people who run it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables to this version."""
    op.create_table(
        "alert",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("firing", sa.Boolean(), nullable=False),
        sa.Column("since", sa.DateTime(), nullable=True),
        sa.Column("told", sa.String(), nullable=False),
        sa.Column("told_at", sa.DateTime(), nullable=True),
        sa.Column("lease_until", sa.DateTime(), nullable=True),
        sa.Column("words", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_alert")),
    )
    op.create_table(
        "counter",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("labels", sa.String(), nullable=False),
        sa.Column("total", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", "labels", name=op.f("pk_counter")),
    )
    op.create_table(
        "exchange",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("record_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=True),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "record_id", "system", name=op.f("pk_exchange")),
    )
    op.create_table(
        "forgotten",
        sa.Column("key_kind", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("key_kind", "key", name=op.f("pk_forgotten")),
    )
    op.create_table(
        "mapping",
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("applied_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_mapping")),
    )
    op.create_table(
        "pause",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("since", sa.DateTime(), nullable=True),
        sa.Column("words", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_pause")),
    )
    op.create_table(
        "round",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("place_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("began_at", sa.DateTime(), nullable=True),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.Column("next_at", sa.DateTime(), nullable=True),
        sa.Column("lease_until", sa.DateTime(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("last", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_round")),
    )
    op.create_table(
        "sight",
        sa.Column("stream", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("day", sa.DateTime(), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("stream", "channel", "day", name=op.f("pk_sight")),
    )
    op.create_table(
        "webhook",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("lease_until", sa.DateTime(), nullable=True),
        sa.Column("done_at", sa.DateTime(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
        sa.UniqueConstraint("event", name=op.f("uq_webhook_event")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("webhook", schema=None) as batch_op:
        batch_op.create_index("ix_webhook_waiting", ["done_at", "id"], unique=False)

    with op.batch_alter_table("change", schema=None) as batch_op:
        batch_op.add_column(sa.Column("failed_at", sa.DateTime(), nullable=True))

    with op.batch_alter_table("cursor", schema=None) as batch_op:
        batch_op.add_column(sa.Column("moved_at", sa.DateTime(), nullable=True))
        batch_op.add_column(sa.Column("late_at", sa.DateTime(), nullable=True))

    with op.batch_alter_table("exclusion", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_exclusion_reason"), ["reason"], unique=False)

    with op.batch_alter_table("history", schema=None) as batch_op:
        batch_op.add_column(sa.Column("caused_at", sa.DateTime(), nullable=True))
        batch_op.create_index("ix_history_at", ["at"], unique=False)
        batch_op.create_index(
            "ix_history_caused",
            ["system", "at", "caused_at"],
            unique=False,
            sqlite_where=sa.text("caused_at IS NOT NULL"),
            postgresql_where=sa.text("caused_at IS NOT NULL"),
        )

    with op.batch_alter_table("hold", schema=None) as batch_op:
        batch_op.add_column(sa.Column("login", sa.String(), nullable=True))

    with op.batch_alter_table("latch", schema=None) as batch_op:
        batch_op.create_index("ix_latch_since", ["key_kind", "since"], unique=False)

    with op.batch_alter_table("link", schema=None) as batch_op:
        batch_op.create_index(
            "ix_link_gone", ["kind"], unique=False, sqlite_where=sa.text("gone = 1"), postgresql_where=sa.text("gone")
        )

    with op.batch_alter_table("mirror", schema=None) as batch_op:
        batch_op.add_column(sa.Column("seen_at", sa.DateTime(), nullable=True))


def downgrade() -> None:
    """Bring the tables back to the version before."""
    with op.batch_alter_table("mirror", schema=None) as batch_op:
        batch_op.drop_column("seen_at")

    with op.batch_alter_table("link", schema=None) as batch_op:
        batch_op.drop_index("ix_link_gone", sqlite_where=sa.text("gone = 1"), postgresql_where=sa.text("gone"))

    with op.batch_alter_table("latch", schema=None) as batch_op:
        batch_op.drop_index("ix_latch_since")

    with op.batch_alter_table("hold", schema=None) as batch_op:
        batch_op.drop_column("login")

    with op.batch_alter_table("history", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_history_caused",
            sqlite_where=sa.text("caused_at IS NOT NULL"),
            postgresql_where=sa.text("caused_at IS NOT NULL"),
        )
        batch_op.drop_index("ix_history_at")
        batch_op.drop_column("caused_at")

    with op.batch_alter_table("exclusion", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_exclusion_reason"))

    with op.batch_alter_table("cursor", schema=None) as batch_op:
        batch_op.drop_column("late_at")
        batch_op.drop_column("moved_at")

    with op.batch_alter_table("change", schema=None) as batch_op:
        batch_op.drop_column("failed_at")

    with op.batch_alter_table("webhook", schema=None) as batch_op:
        batch_op.drop_index("ix_webhook_waiting")

    op.drop_table("webhook")
    op.drop_table("sight")
    op.drop_table("round")
    op.drop_table("pause")
    op.drop_table("mapping")
    op.drop_table("forgotten")
    op.drop_table("exchange")
    op.drop_table("counter")
    op.drop_table("alert")
