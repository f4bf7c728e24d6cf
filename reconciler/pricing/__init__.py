"""Adapters that read what machines cost; the snapshot's types are in `environments.prices`."""
