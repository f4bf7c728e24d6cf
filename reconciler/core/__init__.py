"""The pure core: no I/O, no clock, no ids drawn. Imports `environments` and nothing else of this repository."""
