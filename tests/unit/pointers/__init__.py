"""Unit tests of the flag documents."""
