"""The store's tables. Imports SQLAlchemy, so only the writing half and the migrations import this module.

A migration never imports it: what a past revision did must not change with the tables of today.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)

metadata = MetaData()
_NUMBER = BigInteger().with_variant(Integer, "sqlite")

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", Double, nullable=False),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("environment", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)

ledger = Table(
    "ledger",
    metadata,
    Column("environment", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("rollout", Text),
    Column("summary", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("prev", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index("ledger_newest", "environment", "kind", "address", "seq"),
)

heads = Table(
    "ledger_heads",
    metadata,
    Column("environment", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
)

ticks = Table(
    "ticks",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("rollout", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("ticks_of_rollout", "rollout", "region", "number"),
)


def with_partial_indexes() -> MetaData:
    """Return the tables with the index that is made for one kind of rows only, for comparing with a database.

    Nothing that writes needs it, and declaring it imports every dialect of SQLAlchemy.
    """
    if not any(index.name == "rollouts_one_active" for index in rollouts.indexes):
        active = text("active")
        columns = (rollouts.c.environment, rollouts.c.endpoint)
        Index("rollouts_one_active", *columns, unique=True, sqlite_where=active, postgresql_where=active)
    return metadata
