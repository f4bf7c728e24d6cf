"""Rules over plans and infrastructure: one catalog, pure functions, and a thin CrossGuard shell.

Imports `environments` and `reconciler.core`; acts on nothing.
"""
