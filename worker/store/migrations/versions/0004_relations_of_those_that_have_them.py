"""Relations are indexed for those records alone that have them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

RELATED = ("prospect", "sequence", "step", "state")


def upgrade() -> None:
    """Bring the tables to this version."""
    for name in RELATED:
        told = sa.text(f"{name}_id IS NOT NULL")
        op.drop_index(f"ix_mirror_kind_{name}", "mirror")
        op.create_index(f"ix_mirror_{name}", "mirror", ["kind", f"{name}_id"], sqlite_where=told, postgresql_where=told)


def downgrade() -> None:
    """Bring the tables back to the version before."""
    for name in RELATED:
        op.drop_index(f"ix_mirror_{name}", "mirror")
        op.create_index(f"ix_mirror_kind_{name}", "mirror", ["kind", f"{name}_id"])
