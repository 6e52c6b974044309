"""Our own writes, urgent webhooks, what caused a write, and claims in order."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables to this version."""
    with op.batch_alter_table("change", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_change_due"))
        batch_op.create_index("ix_change_next", ["state", "kind", "lane", "next_at", "id"], unique=False)

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

    with op.batch_alter_table("change", schema=None) as batch_op:
        batch_op.drop_index("ix_change_next")
        batch_op.create_index(batch_op.f("ix_change_due"), ["state", "lane", "next_at"], unique=False)
