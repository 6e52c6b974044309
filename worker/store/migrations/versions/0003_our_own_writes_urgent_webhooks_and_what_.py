"""Our own writes, urgent webhooks, and what caused a write."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables to this version."""
    with op.batch_alter_table("history", schema=None) as batch_op:
        batch_op.add_column(sa.Column("caused_by", sa.String(), nullable=True))

    with op.batch_alter_table("mirror", schema=None) as batch_op:
        batch_op.add_column(sa.Column("ours", sa.Boolean(), nullable=True))

    with op.batch_alter_table("webhook", schema=None) as batch_op:
        batch_op.add_column(sa.Column("urgent", sa.Boolean(), nullable=True))
        batch_op.create_index(
            "ix_webhook_urgent",
            ["id"],
            unique=False,
            sqlite_where=sa.text("urgent = 1 AND done_at IS NULL"),
            postgresql_where=sa.text("urgent AND done_at IS NULL"),
        )


def downgrade() -> None:
    """Bring the tables back to the version before."""
    with op.batch_alter_table("webhook", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_webhook_urgent",
            sqlite_where=sa.text("urgent = 1 AND done_at IS NULL"),
            postgresql_where=sa.text("urgent AND done_at IS NULL"),
        )
        batch_op.drop_column("urgent")

    with op.batch_alter_table("mirror", schema=None) as batch_op:
        batch_op.drop_column("ours")

    with op.batch_alter_table("history", schema=None) as batch_op:
        batch_op.drop_column("caused_by")
