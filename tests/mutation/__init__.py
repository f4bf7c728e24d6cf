"""Mutation testing of the core: changes one thing at a time in `reconciler/core` and sees whether a test notices."""
