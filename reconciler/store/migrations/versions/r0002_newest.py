"""Find the newest ledger entry of a kind for each address without reading the others."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index("ledger_newest", "ledger", ["environment", "kind", "address", "seq"])
