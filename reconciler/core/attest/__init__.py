"""Signed statements: DSSE envelopes, what they say, and whether they are enough. Pure."""
