"""Tests of the pure half of the runtimes."""
