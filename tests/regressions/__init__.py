"""Deliberate regressions of what once stopped `up` or serving, each with the test that must catch it."""
