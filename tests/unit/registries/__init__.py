"""Tests of what registries keep."""
