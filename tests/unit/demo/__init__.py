"""Tests of what the demo installs and makes."""
