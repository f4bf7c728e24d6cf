"""Tests of Sluice, from pure units to the whole command line over real servers."""
