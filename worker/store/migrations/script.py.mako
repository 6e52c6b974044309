<%
    def clean(body):  # without alembic's own banners
        return "\n".join(line for line in (body or "pass").splitlines() if "###" not in line).strip()
%>\
"""${message}."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision).replace("'", '"')}
down_revision = ${repr(down_revision).replace("'", '"')}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables to this version."""
    ${clean(upgrades)}


def downgrade() -> None:
    """Bring the tables back to the version before."""
    ${clean(downgrades)}
