"""Alembic migrations of the store. `reconciler.store.connect` runs them; nobody needs an alembic.ini."""
