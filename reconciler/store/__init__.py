"""Where leases, rollouts, judge ticks and the ledger are kept: SQLite by default, PostgreSQL for a team."""
