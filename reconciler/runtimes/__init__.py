"""Runtimes: one file for each kind of server that can run in a slot. Adapters of the `Runtime` port."""
